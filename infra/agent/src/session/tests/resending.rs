//! Sending messages again until they have arrived.

use super::*;

#[test]
fn a_message_that_a_heartbeat_proved_to_have_arrived_is_not_sent_again() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.output(&task, "one");
    driver.sent();
    driver.pass(Duration::from_secs(20));
    assert_eq!(kinds(&driver.sent()), ["HEARTBEAT_PING"]);
    driver.output(&task, "two");
    driver.sent();
    driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    driver.down();
    driver.up(LONG);
    let again = driver.sent();
    assert_eq!(kinds(&again), ["AGENT_STATUS", "TASK_STREAM"]);
    let AgentMessage::TaskStream(stream) = &again[1].message else {
        panic!("{again:?}");
    };
    assert_eq!((stream.delta.as_str(), stream.seq), ("two", Some(1)));
}

#[test]
fn output_without_a_connection_is_bounded_and_replaced_by_a_note() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.sent();
    driver.down();
    let piece = "x".repeat(20_000);
    for _ in 0..300 {
        driver.output(&task, &piece);
    }
    driver.end(&task, Outcome::Succeeded);
    driver.up(LONG);
    let sent = driver.sent();
    let streams: Vec<_> = sent
        .iter()
        .filter_map(|envelope| match &envelope.message {
            AgentMessage::TaskStream(stream) => Some(stream),
            _ => None,
        })
        .collect();
    let bytes: usize = streams.iter().map(|stream| stream.delta.len()).sum();
    assert!(bytes <= outbox::MAX_KEPT_BYTES && bytes > outbox::MAX_KEPT_BYTES / 10 * 9);
    let dropped = 300 - (streams.len() - 1);
    assert!(streams[0].delta.contains(&format!(
        "{} bytes of output were dropped",
        dropped * 20_000
    )));
    assert!(streams.is_sorted_by_key(|stream| stream.seq));
    assert!(sent.last().is_some_and(is_end));
}

/// The notes about dropped output in these messages, each with its task.
fn notes(sent: &[Envelope<AgentMessage>]) -> Vec<(TaskId, &str)> {
    let streams = sent.iter().filter_map(|envelope| match &envelope.message {
        AgentMessage::TaskStream(stream) => Some((stream.task_id, stream.delta.as_str())),
        _ => None,
    });
    streams
        .filter(|(_, text)| text.contains("dropped"))
        .collect()
}

#[test]
fn each_task_has_a_note_of_the_output_that_was_dropped_of_it() {
    let mut driver = Driver::connected();
    let (one, two) = (numbered(1, "x"), numbered(2, "y"));
    driver.submit(&one);
    driver.sent();
    driver.down();
    for _ in 0..150 {
        driver.output(&one, &"x".repeat(10_000));
    }
    driver.end(&one, Outcome::Succeeded);
    driver.submit(&two);
    for _ in 0..400 {
        driver.output(&two, &"y".repeat(10_000));
    }
    driver.up(LONG);
    let sent = driver.sent();
    let notes = notes(&sent);
    assert_eq!(notes[0].0, one.task_id, "{notes:?}");
    assert_eq!(
        notes.len(),
        1,
        "only the oldest output is dropped: {notes:?}"
    );
    let kept = sent.iter().filter(|it| match &it.message {
        AgentMessage::TaskStream(stream) => stream.task_id == one.task_id,
        _ => false,
    });
    let dropped = 150 - (kept.count() - 1);
    assert!(
        notes[0].1.contains(&format!("{} bytes", dropped * 10_000)),
        "{notes:?}"
    );
}

#[test]
fn progress_without_a_connection_is_bounded() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.sent();
    driver.down();
    driver.output(&task, "first");
    for _ in 0..2_000 {
        let progress = Progress {
            steps: vec!["s".repeat(4_000)],
            ..Default::default()
        };
        driver.handle(Event::Run(RunKey::of(&task), RunEvent::Progress(progress)));
    }
    driver.end(&task, Outcome::Succeeded);
    driver.up(LONG);
    let sent = driver.sent();
    let steps = sent
        .iter()
        .filter(|it| matches!(it.message, AgentMessage::TaskProgress(_)));
    let kept = steps.count();
    assert!(kept > 900 && kept < 1_100, "{kept} reports");
    assert!(sent.last().is_some_and(is_end));
}

#[test]
fn what_was_sent_without_an_answer_is_kept_within_bounds_and_the_result_is_among_it() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    for _ in 0..600 {
        driver.output(&task, &"x".repeat(10_000));
        driver.sent();
    }
    driver.end(&task, Outcome::Succeeded);
    driver.sent();
    driver.down();
    driver.up(LONG);
    let again = driver.sent();
    let bytes = again.iter().map(|it| match &it.message {
        AgentMessage::TaskStream(stream) => stream.delta.len(),
        _ => 0,
    });
    let bytes: usize = bytes.sum();
    assert!(
        bytes <= outbox::MAX_KEPT_BYTES && bytes > outbox::MAX_KEPT_BYTES / 10 * 9,
        "{bytes}"
    );
    assert!(again.iter().any(is_end));
}

#[test]
fn a_slow_connection_makes_the_commands_wait() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    while driver.session.takes_run_events() {
        driver.output(&task, &"x".repeat(20_000));
    }
    driver.sent();
    assert!(driver.session.takes_run_events());
}

#[test]
fn a_result_is_sent_after_growing_waits_until_it_is_confirmed() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let first = driver.sent().into_iter().find(is_end).unwrap();
    driver.pass(Duration::from_secs(9));
    assert!(!driver.sent().iter().any(is_end));
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent().into_iter().find(is_end), Some(first.clone()));
    driver.pass(Duration::from_secs(19));
    assert!(!driver.sent().iter().any(is_end));
    driver.confirm(first.id);
    driver.pass(Duration::from_secs(30));
    assert!(!driver.sent().iter().any(is_end));
}

#[test]
fn a_cloud_that_never_confirms_is_not_sent_results_for_ever() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let mut ends = 0;
    for _ in 0..2000 {
        driver.pass(Duration::from_secs(10));
        driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
        ends += driver
            .sent()
            .iter()
            .filter(|envelope| is_end(envelope))
            .count();
    }
    assert_eq!(ends, 8);
}

#[test]
fn a_result_that_the_cloud_cannot_read_is_not_sent_again() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.refuse(&end.id, "INVALID_PAYLOAD");
    driver.pass(Duration::from_secs(15));
    assert!(!driver.sent().iter().any(is_end));
}
