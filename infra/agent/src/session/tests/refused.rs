//! Messages that the cloud could not handle.

use super::*;

/// A session with a task that has reported output and progress, and the messages sent.
fn talking(task: &TaskSubmit) -> (Driver, Vec<Envelope<AgentMessage>>) {
    let mut driver = Driver::connected();
    driver.sent();
    driver.submit(task);
    driver.output(task, "one");
    let progress = Progress {
        percent: Some(10.0),
        ..Default::default()
    };
    driver.handle(Event::Run(RunKey::of(task), RunEvent::Progress(progress)));
    let sent = driver.sent();
    assert_eq!(kinds(&sent), ["TASK_ACK", "TASK_STREAM", "TASK_PROGRESS"]);
    (driver, sent)
}

/// A session with a task that has ended, and its terminal message, which was sent.
fn ended(task: &TaskSubmit) -> (Driver, Envelope<AgentMessage>) {
    let mut driver = Driver::connected();
    driver.submit(task);
    driver.end(task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    (driver, end)
}

fn problems(driver: &mut Driver) -> Vec<String> {
    let effects = driver.session.take_effects();
    let problems = effects.filter_map(|effect| match effect {
        Effect::Show(Notice::Error { message } | Notice::Warning { message }) => Some(message),
        _ => None,
    });
    problems.collect()
}

#[test]
fn a_message_that_could_not_be_handled_is_sent_again_after_growing_waits() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    for wait in [1, 2, 4] {
        for (message, code) in
            first
                .iter()
                .zip(["STORE_UNAVAILABLE", "QUEUE_UNAVAILABLE", "TASK_CONTENDED"])
        {
            driver.refuse(&message.id, code);
        }
        driver.pass(Duration::from_millis(wait * 1000 - 1));
        assert_eq!(driver.sent(), []);
        driver.pass(Duration::from_millis(1));
        assert_eq!(driver.sent(), first);
    }
    driver.pass(Duration::from_secs(10));
    assert_eq!(
        driver.sent(),
        [],
        "a message that is not refused is not repeated"
    );
}

#[test]
fn a_heartbeat_does_not_prove_a_message_that_is_refused_before_or_after() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    driver.pass(Duration::from_secs(20));
    driver.sent();
    driver.refuse(&first[0].id, "STORE_UNAVAILABLE");
    driver.pong();
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent(), first[..2]);
}

#[test]
fn a_refusal_over_a_connection_that_was_replaced_still_counts() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    driver.pass(Duration::from_secs(20));
    driver.sent();
    driver.pong();
    driver.up(LONG);
    assert_eq!(kinds(&driver.sent()), ["AGENT_STATUS"]);
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent(), first[1..2]);
}

#[test]
fn a_refused_message_goes_at_once_over_the_next_connection() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    driver.down();
    driver.up(LONG);
    assert_eq!(outputs(&driver.sent()), ["one"]);
    driver.pass(Duration::from_secs(5));
    assert_eq!(driver.sent(), []);
}

#[test]
fn output_that_can_never_be_handled_is_given_up_with_a_notice() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    let mut repeated = 0;
    let mut quiet = 0;
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    while quiet < 10 {
        driver.pass(Duration::from_secs(30));
        let is_quiet = outputs(&driver.sent()).is_empty();
        driver.pong();
        if is_quiet {
            quiet += 1;
        } else {
            repeated += 1;
            driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
        }
    }
    assert_eq!(repeated, 8);
    let problems = problems(&mut driver);
    assert!(
        problems
            .iter()
            .any(|text| text.contains("TASK_STREAM") && text.contains("given up")),
        "{problems:?}"
    );
}

#[test]
fn a_result_that_could_not_be_handled_is_sent_again_for_ever() {
    let (mut driver, end) = ended(&numbered(1, "x"));
    for wait in [1, 2, 4, 8, 16, 32].into_iter().chain([60; 20]) {
        driver.refuse(&end.id, "STORE_UNAVAILABLE");
        driver.pass(Duration::from_secs(wait) / 2);
        driver.pong();
        driver.pass(Duration::from_secs(wait) / 2);
        let again = driver.sent().into_iter().find(is_end);
        assert_eq!(again, Some(end.clone()), "after {wait} s");
    }
    driver.confirm(end.id);
    driver.pass(Duration::from_mins(10));
    assert!(!driver.sent().iter().any(is_end));
}

#[test]
fn output_that_was_refused_is_not_forgotten_with_its_confirmed_result() {
    let task = numbered(1, "x");
    let (mut driver, first) = talking(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    driver.confirm(end.id);
    driver.refuse(&first[2].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent(), first[1..]);
}

#[test]
fn an_unwanted_message_is_not_sent_again() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    for (message, code) in first
        .iter()
        .zip(["TASK_NOT_HELD", "UNKNOWN_TASK", "INVALID_PAYLOAD"])
    {
        driver.refuse(&message.id, code);
    }
    driver.gateway_error();
    driver.pass(Duration::from_secs(10));
    assert_eq!(kinds(&driver.sent()), ["AGENT_STATUS"]);
}

#[test]
fn a_result_is_sent_until_confirmed_even_if_the_task_is_not_the_agents() {
    let (mut driver, end) = ended(&numbered(1, "x"));
    driver.refuse(&end.id, "TASK_NOT_HELD");
    driver.pass(Duration::from_secs(10));
    assert_eq!(driver.sent().into_iter().find(is_end), Some(end));
}

#[test]
fn a_status_that_could_not_be_handled_is_replaced_by_the_present_one() {
    let mut driver = Driver::connected();
    let first = driver.sent();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.sent();
    driver.refuse(&first[0].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    let second = driver.sent();
    let AgentMessage::AgentStatus(status) = &second[0].message else {
        panic!("{second:?}");
    };
    assert_eq!(status.active_tasks, [task.task_id]);
    assert_ne!(second[0].id, first[0].id);
    driver.refuse(&second[0].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent(), [], "the second wait is longer");
    driver.pass(Duration::from_secs(1));
    assert_eq!(kinds(&driver.sent()), ["AGENT_STATUS"]);
}

#[test]
fn of_the_answers_to_heartbeats_only_the_latest_is_repeated() {
    let mut driver = Driver::connected();
    driver.sent();
    driver.ping(1);
    let first = driver.sent();
    driver.refuse(&first[0].id, "STORE_UNAVAILABLE");
    driver.pass(Duration::from_secs(1));
    let again = driver.sent();
    assert_eq!((echoes(&again), again.len()), (vec![1], 1));
    driver.refuse(&again[0].id, "STORE_UNAVAILABLE");
    driver.ping(2);
    let second = driver.sent();
    assert_eq!(echoes(&second), [2]);
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.sent(), [], "an answered question is not asked again");
}

#[test]
fn an_answer_is_repeated_over_the_connection_that_asked_only() {
    let mut driver = Driver::connected();
    driver.ping(1);
    driver.sent();
    driver.pass(Duration::from_secs(20));
    driver.sent();
    driver.pong();
    driver.up(LONG);
    driver.gateway_error();
    driver.pass(Duration::from_secs(1));
    assert!(echoes(&driver.sent()).is_empty());
}

#[test]
fn an_error_of_the_gateway_repeats_all_messages_that_may_have_failed() {
    let task = numbered(1, "x");
    let (mut driver, first) = talking(&task);
    driver.gateway_error();
    driver.gateway_error();
    driver.pass(Duration::from_secs(1));
    let again = driver.sent();
    assert_eq!(
        kinds(&again),
        ["TASK_ACK", "AGENT_STATUS", "TASK_STREAM", "TASK_PROGRESS"]
    );
    for message in &first {
        assert!(again.contains(message), "{again:?}");
    }
    driver.pass(Duration::from_secs(10));
    assert_eq!(driver.sent(), [], "many errors at once are one");
}

#[test]
fn a_message_that_seems_to_have_arrived_is_repeated_once_for_the_gateways_error() {
    let (mut driver, first) = talking(&numbered(1, "x"));
    for repeated in [first.len() + 1, 0] {
        driver.pass(Duration::from_secs(20));
        driver.sent();
        driver.pong();
        driver.gateway_error();
        driver.pass(Duration::from_secs(2));
        assert_eq!(driver.sent().len(), repeated);
    }
}

#[test]
fn the_gateways_error_is_not_about_messages_sent_long_ago() {
    let (mut driver, _) = talking(&numbered(1, "x"));
    for _ in 0..2 {
        driver.pass(Duration::from_secs(20));
        driver.sent();
        driver.pong();
    }
    driver.gateway_error();
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.sent(), []);
}

#[test]
fn an_agent_that_stops_waits_for_messages_to_be_sent_again() {
    let task = numbered(1, "x");
    let (mut driver, first) = talking(&task);
    driver.handle(Event::Signal("SIGTERM"));
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.refuse(&first[1].id, "STORE_UNAVAILABLE");
    driver.confirm(end.id);
    assert_eq!(driver.sent(), []);
    driver.pass(Duration::from_secs(1));
    let last = driver.sent();
    assert_eq!(last[0], first[1]);
    driver.handle(Event::Tick);
    assert_eq!(kinds(&driver.sent()), ["AGENT_STATUS"]);
}
