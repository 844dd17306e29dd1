//! What an agent says of a task that was moved away from it.

use std::time::Duration;

use bematic::task::{Task, TerminalMessage};
use bematic_protocol::{ids::Attempt, messages::CloudMessage};
use serde_json::{Value, json};

use super::{id, move_from, submitted};
use crate::world::World;

const SECOND: Attempt = Attempt::after_attempts(1);

/// A task that `box` did not take, and that `b` got instead, as its second attempt.
async fn moved() -> (World, Task) {
    let world = World::new().await;
    world.connect("c").await;
    world.set_route("box,b").await;
    let task = world.run("one", "one").await;
    world.dispatch_all().await;
    // Nobody hears its acknowledgement.
    world.time.pass(Duration::from_secs(31));
    world.dispatch_all().await;
    world.time.pass(Duration::from_secs(6));
    world.join("b", "cb").await;
    assert_eq!(move_from(&world, "box").await, 1);
    world.dispatch_all().await;
    let sent = submitted(&world);
    assert_eq!(sent.last().unwrap(), &("cb".into(), "one".into(), 2));
    let stored = world.store.task(task.id).unwrap();
    assert_eq!(stored.agent_id, id("b"));
    assert_eq!(stored.earlier[&id("box")], Attempt::FIRST);
    (world, stored)
}

fn error_code(answers: &[CloudMessage]) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        CloudMessage::SystemError(error) => Some(&*error.code),
        _ => None,
    })
}

fn is_confirmed(answers: &[CloudMessage]) -> bool {
    let mut answers = answers.iter();
    answers.any(|answer| matches!(answer, CloudMessage::MessageAck(_)))
}

fn is_stopped(answers: &[CloudMessage]) -> bool {
    let mut answers = answers.iter();
    answers.any(|answer| matches!(answer, CloudMessage::TaskCancel(_)))
}

fn numbered(mut payload: Value, task: &Task, attempt: Option<u32>) -> Value {
    payload["taskId"] = json!(task.id);
    if let Some(attempt) = attempt {
        payload["attempt"] = json!(attempt);
    }
    payload
}

#[tokio::test]
async fn a_report_of_the_earlier_agent_is_about_its_own_attempt_and_changes_nothing() {
    for attempt in [Some(1), None] {
        let (world, task) = moved().await;
        for (kind, payload) in [
            ("TASK_ACK", json!({ "accepted": true })),
            ("TASK_PROGRESS", json!({ "message": "on it" })),
            ("TASK_STREAM", json!({ "delta": "x", "seq": 0 })),
            ("TASK_ACK", json!({ "accepted": false, "reason": "no" })),
        ] {
            let payload = numbered(payload, &task, attempt);
            let answers = world.say_as("box", "c", kind, payload).await;
            assert_eq!(error_code(&answers), None, "{kind}");
            assert_eq!(world.store.task(task.id).unwrap(), task, "{kind}");
        }
        assert_eq!(world.store.whole_output(task.id, SECOND), "");
        for (kind, payload) in [
            ("TASK_COMPLETE", json!({ "result": "done" })),
            ("TASK_ERROR", json!({ "error": "no", "recoverable": false })),
            ("TASK_CANCELLED", json!({})),
        ] {
            let payload = numbered(payload, &task, attempt);
            let answers = world.say_as("box", "c", kind, payload).await;
            assert!(is_confirmed(&answers), "{kind}: {answers:?}");
            assert_eq!(error_code(&answers), None, "{kind}");
            assert_eq!(world.store.task(task.id).unwrap().state, task.state);
        }
        let late = world.store.late(task.id);
        assert_eq!(late.len(), 1, "the first of an attempt is kept");
        assert_eq!(late[0].attempt, Attempt::FIRST);
        assert!(matches!(&late[0].outcome, TerminalMessage::Completed(it) if it.result == "done"));
        // The one that has it is heard, whether or not it numbers its attempts.
        let done = json!({ "taskId": task.id, "result": "all done" });
        world.say_as("b", "cb", "TASK_COMPLETE", done).await;
        let stored = world.store.task(task.id).unwrap();
        assert_eq!(stored.state.name(), "completed");
        assert_eq!(stored.state.last_attempt(), Some(SECOND));
        assert!(world.store.agent(&id("b")).unwrap().held.is_empty());
        world.notify_all().await;
        let shown = world.slack.text();
        assert!(shown.contains("all done"), "{shown}");
        assert!(shown.contains("attempt 1 completed: done"), "{shown}");
    }
}

#[tokio::test]
async fn the_earlier_agent_cannot_report_on_another_agents_attempt() {
    let (world, task) = moved().await;
    for (kind, payload) in [
        ("TASK_ACK", json!({ "accepted": true })),
        ("TASK_PROGRESS", json!({ "message": "on it" })),
        ("TASK_STREAM", json!({ "delta": "x", "seq": 0 })),
        ("TASK_COMPLETE", json!({ "result": "done" })),
    ] {
        let payload = numbered(payload, &task, Some(2));
        let answers = world.say_as("box", "c", kind, payload).await;
        assert_eq!(error_code(&answers), Some("TASK_NOT_HELD"), "{kind}");
        assert_eq!(world.store.task(task.id).unwrap(), task, "{kind}");
    }
    assert!(world.store.late(task.id).is_empty());
    assert_eq!(world.store.whole_output(task.id, SECOND), "");
    // Nor can one that never had it.
    world.join("thief", "t").await;
    let done = json!({ "taskId": task.id, "result": "done" });
    let answers = world.say_as("thief", "t", "TASK_COMPLETE", done).await;
    assert_eq!(error_code(&answers), Some("NOT_YOUR_TASK"));
}

#[tokio::test]
async fn the_earlier_agent_is_sent_task_cancel_once_another_has_the_task_and_the_new_agent_never() {
    let (world, task) = moved().await;
    let named = json!({ "tasks": [task.id] });
    let status =
        |agent: &str| json!({ "agentId": agent, "status": "online", "activeTasks": [task.id] });
    let heartbeat = || named.clone();
    let said = [
        ("HEARTBEAT_PING", heartbeat(), heartbeat()),
        ("AGENT_STATUS", status("box"), status("b")),
    ];
    for (kind, by_box, by_b) in said {
        let answers = world.say_as("box", "c", kind, by_box).await;
        assert!(is_stopped(&answers), "{kind}: {answers:?}");
        let answers = world.say_as("b", "cb", kind, by_b).await;
        assert!(!is_stopped(&answers), "{kind}: {answers:?}");
    }
    let accepted = numbered(json!({ "accepted": true }), &task, Some(1));
    let answers = world.say_as("box", "c", "TASK_ACK", accepted).await;
    assert!(is_stopped(&answers), "{answers:?}");
    let done = json!({ "taskId": task.id, "result": "done" });
    world.say_as("b", "cb", "TASK_COMPLETE", done).await;
    let answers = world.say_as("box", "c", "HEARTBEAT_PING", named).await;
    assert!(is_stopped(&answers), "what it does is for nothing");
}

#[tokio::test]
async fn a_task_that_was_moved_back_to_an_agent_accepts_its_reports() {
    let (world, task) = moved().await;
    let refused = json!({ "taskId": task.id, "attempt": 2, "accepted": false, "reason": "no" });
    world.say_as("b", "cb", "TASK_ACK", refused).await;
    world.open_breaker("b").await;
    world.time.pass(Duration::from_secs(20));
    let echo = json!({ "agentId": "box", "serverTime": u64::MAX >> 12, "activeTasks": 0,
        "cpuUsage": 0, "memoryUsage": 0 });
    world.say("c", "HEARTBEAT_PONG", echo).await;
    assert_eq!(move_from(&world, "b").await, 1);
    // Before it is sent anew, what its agent says without a number is of the first attempt.
    let done = json!({ "taskId": task.id, "result": "the first" });
    world.say("c", "TASK_COMPLETE", done).await;
    let late = world.store.late(task.id);
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].attempt, Attempt::FIRST);
    world.dispatch_all().await;
    let sent = submitted(&world);
    assert_eq!(sent, [("c".into(), "one".into(), 3)]);
    let named = json!({ "tasks": [task.id] });
    let answers = world
        .say_as("box", "c", "HEARTBEAT_PING", named.clone())
        .await;
    assert!(!is_stopped(&answers), "{answers:?}");
    let answers = world.say_as("b", "cb", "HEARTBEAT_PING", named).await;
    assert!(is_stopped(&answers), "{answers:?}");
    let done = json!({ "taskId": task.id, "result": "done" });
    world.say("c", "TASK_COMPLETE", done).await;
    let stored = world.store.task(task.id).unwrap();
    assert_eq!(stored.state.name(), "completed");
    assert_eq!(
        stored.state.last_attempt(),
        Some(Attempt::after_attempts(2))
    );
}
