//! Losing the connection, and replacing it.

use super::*;

#[test]
fn silence_ends_a_connection() {
    let mut driver = Driver::connected();
    driver.pass(Duration::from_secs(59));
    assert!(driver.session.connection.is_some());
    driver.pass(Duration::from_secs(1));
    let reconnects = |effect: &Effect| matches!(effect, Effect::Reconnect);
    assert!(
        driver
            .session
            .take_effects()
            .any(|effect| reconnects(&effect))
    );
    assert!(!driver.session.has_outgoing());
}

#[test]
fn an_agent_that_stops_without_connection_waits_for_one_and_then_gives_up() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.down();
    driver.end(&task, Outcome::Succeeded);
    driver.handle(Event::Signal("SIGTERM"));
    let exits = |driver: &mut Driver| {
        let exit = |effect| matches!(effect, Effect::Exit(Exit::Stopped));
        driver.session.take_effects().any(exit)
    };
    driver.pass(Duration::from_secs(29));
    assert!(!exits(&mut driver));
    driver.pass(Duration::from_secs(1));
    assert!(exits(&mut driver));
}

/// A session that has a message to send and is about to replace its connection.
fn about_to_renew(task: &TaskSubmit) -> Driver {
    let mut driver = Driver::connected();
    driver.down();
    driver.up(Duration::from_secs(10));
    driver.submit(task);
    driver.output(task, "one");
    driver.sent();
    driver.pass(Duration::from_secs(10));
    driver.output(task, "two");
    driver
}

fn renews(driver: &mut Driver) -> bool {
    let mut effects = driver.session.take_effects();
    effects.any(|effect| matches!(effect, Effect::Renew))
}

#[test]
fn a_connection_is_replaced_once_all_its_messages_have_arrived() {
    let task = numbered(1, "x");
    let mut driver = about_to_renew(&task);
    let held = driver.sent();
    let AgentMessage::HeartbeatPing(ping) = &held[0].message else {
        panic!("{held:?}");
    };
    assert_eq!(ping.tasks, Some(vec![task.task_id]));
    assert_eq!((held.len(), renews(&mut driver)), (1, false));
    driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    assert!(renews(&mut driver));
    assert_eq!(driver.sent(), []);
    driver.up(LONG);
    let sent = driver.sent();
    assert_eq!(kinds(&sent), ["AGENT_STATUS", "TASK_STREAM"]);
    assert_eq!(outputs(&sent), ["two"]);
}

#[test]
fn the_cloud_is_answered_at_once_while_a_connection_is_replaced() {
    let task = numbered(1, "x");
    let mut driver = about_to_renew(&task);
    driver.ping(1);
    let proving = driver.sent();
    assert_eq!(kinds(&proving), ["HEARTBEAT_PING", "HEARTBEAT_PONG"]);
    driver.ping(2);
    assert_eq!(echoes(&driver.sent()), [2]);
    driver.pong();
    assert!(renews(&mut driver));
    driver.ping(3);
    let opening = driver.sent();
    assert_eq!((echoes(&opening), opening.len()), (vec![3], 1));
    driver.up(LONG);
    driver.ping(4);
    assert_eq!(echoes(&driver.sent()), [4]);
}

#[test]
fn a_message_not_known_to_have_arrived_before_a_replacement_is_sent_again() {
    let task = numbered(1, "x");
    let mut driver = about_to_renew(&task);
    driver.sent();
    driver.pass(Duration::from_secs(4));
    assert!(!renews(&mut driver));
    driver.pass(Duration::from_secs(1));
    assert!(renews(&mut driver));
    driver.up(LONG);
    let sent = driver.sent();
    assert_eq!(
        kinds(&sent),
        ["AGENT_STATUS", "TASK_ACK", "TASK_STREAM", "TASK_STREAM"]
    );
    assert_eq!(outputs(&sent), ["one", "two"]);
}

#[test]
fn a_failed_replacement_releases_all_messages_and_is_tried_again() {
    let task = numbered(1, "x");
    let mut driver = about_to_renew(&task);
    driver.sent();
    driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    assert!(renews(&mut driver));
    driver.handle(Event::Connection(ConnectionEvent::NotRenewed {
        reason: "test".to_owned(),
        retry_in: Duration::from_secs(3),
    }));
    assert_eq!(outputs(&driver.sent()), ["two"]);
    driver.pass(Duration::from_secs(3));
    assert_eq!(kinds(&driver.sent()), ["HEARTBEAT_PING"]);
    driver.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    assert!(renews(&mut driver));
}

#[test]
fn a_new_connection_begins_with_the_running_and_waiting_tasks() {
    let mut driver = Driver::connected();
    let (running, waiting) = (numbered(1, "x"), numbered(2, "x"));
    driver.submit(&running);
    driver.submit(&waiting);
    driver.sent();
    driver.down();
    driver.up(LONG);
    let sent = driver.sent();
    let AgentMessage::AgentStatus(status) = &sent[0].message else {
        panic!("{sent:?}");
    };
    assert_eq!(status.active_tasks, [running.task_id, waiting.task_id]);
}
