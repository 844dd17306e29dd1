//! Accepting, refusing and cancelling tasks.

use super::*;

#[test]
fn a_refusal_is_repeated_even_when_there_would_be_room_now() {
    let mut driver = Driver::connected();
    let tasks: Vec<_> = (1..=3).map(|n| numbered(n, "x")).collect();
    for task in &tasks {
        driver.submit(task);
    }
    assert_eq!(driver.started(), [RunKey::of(&tasks[0])]);
    driver.end(&tasks[0], Outcome::Succeeded);
    driver.sent();
    driver.submit(&tasks[2]);
    let acks = driver.acks();
    assert!(!acks[0].accepted && acks[0].retryable);
    assert_eq!(driver.started(), [RunKey::of(&tasks[1])]);
}

#[test]
fn a_later_attempt_waits_until_the_earlier_one_has_ended() {
    let mut driver = Driver::connected();
    let first = numbered(1, "x");
    let mut second = first.clone();
    second.attempt = Some(Attempt::after_attempts(1));
    driver.submit(&first);
    driver.started();
    driver.submit(&second);
    let effects: Vec<Effect> = driver.session.take_effects().collect();
    let stopped =
        |effect: &Effect| matches!(effect, Effect::Stop { run, .. } if *run == RunKey::of(&first));
    assert!(effects.iter().any(stopped));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Start { .. }))
    );
    driver.end(&first, Outcome::Stopped);
    assert_eq!(driver.started(), [RunKey::of(&second)]);
    let ends: Vec<_> = driver.sent().into_iter().filter(is_end).collect();
    let AgentMessage::TaskCancelled(cancelled) = &ends[0].message else {
        panic!("{ends:?}");
    };
    assert_eq!(cancelled.attempt, first.attempt);
}

#[test]
fn an_earlier_attempt_that_comes_late_is_refused() {
    let mut driver = Driver::connected();
    let mut second = numbered(1, "x");
    second.attempt = Some(Attempt::after_attempts(1));
    driver.submit(&second);
    driver.sent();
    driver.submit(&numbered(1, "x"));
    assert!(!driver.acks()[0].accepted);
    assert_eq!(driver.started(), [RunKey::of(&second)]);
}

#[test]
fn cancelling_a_task_that_has_ended_brings_its_result() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.cancel(&task);
    assert_eq!(driver.sent().into_iter().find(is_end), Some(end));
}

#[test]
fn an_offer_to_a_full_agent_is_not_spent_and_the_next_attempt_may_be_accepted() {
    let mut driver = Driver::connected();
    let mut tasks: Vec<_> = (1..=3).map(|n| numbered(n, "x")).collect();
    for task in &tasks {
        driver.submit(task);
    }
    let acks = driver.acks();
    let spent: Vec<_> = acks.iter().map(|ack| (ack.accepted, ack.spent)).collect();
    assert_eq!(spent, [(true, true), (true, true), (false, false)]);
    driver.end(&tasks[0], Outcome::Succeeded);
    tasks[2].attempt = Some(Attempt::after_attempts(1));
    driver.submit(&tasks[2]);
    assert!(driver.acks()[0].accepted);
}

#[test]
fn a_task_handed_back_is_named_until_that_has_arrived_and_not_run_again() {
    let mut driver = Driver::connected();
    let (running, waiting) = (numbered(1, "x"), numbered(2, "x"));
    driver.submit(&running);
    driver.submit(&waiting);
    driver.started();
    driver.sent();
    driver.handle(Event::Signal("SIGTERM"));
    let sent = driver.sent();
    assert_eq!(kinds(&sent), ["TASK_ACK", "AGENT_STATUS"]);
    let AgentMessage::AgentStatus(status) = &sent[1].message else {
        panic!("{sent:?}");
    };
    assert_eq!(status.status, Availability::Draining);
    assert_eq!(status.active_tasks, [running.task_id, waiting.task_id]);
    driver.pass(Duration::from_secs(20));
    driver.sent();
    driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    driver.submit(&waiting);
    let acks = driver.acks();
    assert!(!acks[0].accepted && !acks[0].spent);
    assert_eq!(driver.started(), []);
}

#[test]
fn a_completion_that_is_faster_than_its_cancellation_stands() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.cancel(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    assert!(matches!(end.message, AgentMessage::TaskComplete(_)));
    driver.confirm(end.id);
    driver.cancel(&task);
    assert!(!driver.sent().iter().any(is_end));
}

#[test]
fn a_repeated_cancellation_neither_prolongs_the_end_nor_ends_a_task_twice() {
    let mut driver = Driver::connected();
    let (running, waiting) = (numbered(1, "x"), numbered(2, "x"));
    driver.submit(&running);
    driver.submit(&waiting);
    driver.sent();
    for task in [&running, &waiting, &running, &waiting, &numbered(3, "x")] {
        driver.cancel(task);
    }
    let effects = driver.session.take_effects();
    let stops: Vec<_> = effects
        .filter(|effect| matches!(effect, Effect::Stop { .. }))
        .collect();
    assert_eq!(stops.len(), 1, "{stops:?}");
    driver.end(&running, Outcome::Stopped);
    let ends: Vec<_> = driver.sent().into_iter().filter(is_end).collect();
    assert_eq!(kinds(&ends), ["TASK_CANCELLED", "TASK_CANCELLED"]);
    for (task, end) in [&waiting, &running].into_iter().zip(ends) {
        driver.cancel(task);
        assert_eq!(driver.sent(), std::slice::from_ref(&end));
        driver.confirm(end.id);
        driver.cancel(task);
        assert_eq!(driver.sent(), []);
    }
}

#[test]
fn the_cloud_is_answered_at_once_while_the_agent_stops() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.handle(Event::Signal("SIGTERM"));
    driver.sent();
    driver.ping(1);
    assert_eq!(echoes(&driver.sent()), [1]);
    driver.handle(Event::Signal("SIGTERM"));
    driver.ping(2);
    assert_eq!(echoes(&driver.sent()), [2]);
    driver.end(&task, Outcome::Stopped);
    driver.sent();
    driver.ping(3);
    assert_eq!(echoes(&driver.sent()), [3]);
}

fn run(number: u128) -> RunKey {
    RunKey::of(&numbered(number, "x"))
}

#[test]
fn the_latest_acknowledgements_are_remembered_and_the_oldest_forgotten() {
    let mut session = Driver::connected().session;
    for number in 0..=MAX_REMEMBERED_ACKS as u128 {
        session.acknowledge(run(number), accepting_ack(run(number), None));
    }
    assert_eq!(session.acks.len(), MAX_REMEMBERED_ACKS);
    assert_eq!(session.acks[0], (run(1), accepting_ack(run(1), None)));
}

#[test]
fn the_last_of_two_acknowledgements_of_a_run_counts() {
    let mut session = Driver::connected().session;
    let refused = rejecting_ack(run(0), "handed back".to_owned(), true, false);
    for (number, ack) in [
        (0, accepting_ack(run(0), None)),
        (1, accepting_ack(run(1), None)),
        (0, refused.clone()),
    ] {
        session.acknowledge(run(number), ack);
    }
    let acks = [(run(1), accepting_ack(run(1), None)), (run(0), refused)];
    assert_eq!(session.acks, acks);
}
