//! What agents must not send: each is answered with its code, changes nothing, and leaves the
//! connection open.

use bematic_test_agent::RunKey;
use serde_json::{Value, json};

use crate::harness::{Test, TestAgent};

/// The messages about a task that end it: confirmed even when they are refused.
const TERMINAL: [&str; 3] = ["TASK_COMPLETE", "TASK_ERROR", "TASK_CANCELLED"];

/// One valid message of every kind that is about a task.
fn about(run: RunKey) -> Vec<(&'static str, Value)> {
    let kinds = [
        ("TASK_ACK", json!({ "accepted": true })),
        ("TASK_ACK", json!({ "accepted": false, "retryable": false })),
        (
            "TASK_PROGRESS",
            json!({ "steps": ["a step of an outsider"] }),
        ),
        (
            "TASK_STREAM",
            json!({ "delta": "output of an outsider", "seq": 0 }),
        ),
        (
            "TASK_COMPLETE",
            json!({ "result": "the result of an outsider" }),
        ),
        (
            "TASK_ERROR",
            json!({ "error": "the error of an outsider", "recoverable": false }),
        ),
        ("TASK_CANCELLED", json!({ "reason": "an outsider" })),
    ];
    kinds
        .into_iter()
        .map(|(kind, fields)| (kind, run.payload_with(fields)))
        .collect()
}

async fn all_are_refused(agent: &mut TestAgent, messages: Vec<(&str, Value)>, code: &str) {
    for (kind, payload) in messages {
        let id = agent.send(kind, payload).await;
        agent.expect_error(&id, code).await;
        if TERMINAL.contains(&kind) {
            agent.expect_confirmation(&id).await;
        }
    }
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("MESSAGE_ACK").is_empty());
}

#[tokio::test]
async fn text_that_is_no_message_is_answered_and_harmless() {
    let test = Test::new("no-message").await;
    let mut agent = test.connect().await;
    for (text, code, id) in [
        (r#"{"id": "m-1", "type""#, "INVALID_JSON", None),
        ("hello", "INVALID_JSON", None),
        ("[]", "INVALID_ENVELOPE", None),
        (
            r#"{"id": "m-2", "type": "HEARTBEAT_PING"}"#,
            "INVALID_ENVELOPE",
            Some("m-2"),
        ),
        (
            r#"{"id": "m-3", "type": "MAKE_COFFEE", "payload": {}, "timestamp": 1}"#,
            "UNKNOWN_MESSAGE_TYPE",
            Some("m-3"),
        ),
        (
            r#"{"id": "m-4", "type": "task:submit", "payload": {}, "timestamp": 1}"#,
            "UNKNOWN_MESSAGE_TYPE",
            Some("m-4"),
        ),
    ] {
        agent.send_text(text).await;
        let error = agent.expect("SYSTEM_ERROR").await;
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["messageId"].as_str(), id, "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
    agent.ping_and_expect_pong().await;
}

#[tokio::test]
async fn a_payload_that_does_not_validate_changes_nothing() {
    let test = Test::new("payload").await;
    let mut agent = test.connect().await;
    let id = test.channel.run("stay as it is").await;
    let task = agent.accept_next_offer().await;
    let before = test.channel.card(&id, "Running on agent").await;
    let messages = vec![
        (
            "TASK_PROGRESS",
            task.reply_payload(json!({ "progress": 101, "steps": ["beyond the end"] })),
        ),
        (
            "TASK_PROGRESS",
            task.reply_payload(json!({ "progress": -1 })),
        ),
        ("TASK_STREAM", task.reply_payload(json!({ "seq": 1 }))),
        ("TASK_ACK", task.reply_payload(json!({ "accepted": "yes" }))),
        (
            "TASK_COMPLETE",
            json!({ "taskId": "not an id", "result": "x" }),
        ),
        (
            "AGENT_STATUS",
            json!({ "agentId": test.agent_id, "status": "asleep", "activeTasks": [] }),
        ),
        ("AUTH_REQUEST", json!({ "agentId": test.agent_id })),
    ];
    for (kind, payload) in messages {
        let id = agent.send(kind, payload).await;
        agent.expect_error(&id, "INVALID_PAYLOAD").await;
    }
    let status = test.channel.command(&format!("/bm status {id}")).await;
    assert!(
        status.contains("Running on agent") && !status.contains("beyond the end"),
        "{status}"
    );
    agent.complete(&task, "as it was").await;
    assert_eq!(test.channel.card(&id, "Completed").await.ts, before.ts);
}

#[tokio::test]
async fn an_agent_speaks_only_for_itself() {
    let (test, other) = (Test::new("impostor").await, Test::new("victim").await);
    let mut agent = test.connect().await;
    let claimed = &other.agent_id;
    let id = agent.send_status(claimed, 5, &[]).await;
    agent.expect_error(&id, "AGENT_MISMATCH").await;
    let pong = json!({
        "agentId": claimed, "serverTime": 1, "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0,
    });
    let id = agent.send("HEARTBEAT_PONG", pong).await;
    agent.expect_error(&id, "AGENT_MISMATCH").await;
    let login = json!({ "agentId": claimed, "apiKey": other.api_key, "version": "1" });
    let id = agent.send("AUTH_REQUEST", login).await;
    agent.expect_error(&id, "ALREADY_AUTHENTICATED").await;
    agent.ping_and_expect_pong().await;
    assert!(!other.is_online().await);
}

#[tokio::test]
async fn a_task_of_another_agent_cannot_be_touched() {
    let (owner, other) = (Test::new("owner").await, Test::new("thief").await);
    let (mut agent, mut thief) = (owner.connect().await, other.connect().await);
    let id = owner.channel.run("mine").await;
    let sent = agent.expect_offer().await;
    all_are_refused(&mut thief, about(sent.run_key()), "NOT_YOUR_TASK").await;
    agent
        .send("TASK_ACK", sent.reply_payload(json!({ "accepted": true })))
        .await;
    owner.channel.card(&id, "Running on agent").await;
    all_are_refused(&mut thief, about(sent.run_key()), "NOT_YOUR_TASK").await;

    agent.complete(&sent, "still mine").await;
    let card = owner.channel.card(&id, "Completed").await;
    card.tells(&["still mine"]);
    card.hides(&["outsider"]);
}

#[tokio::test]
async fn a_task_that_does_not_exist_or_is_not_held_is_refused() {
    let test = Test::new("no-task").await;
    let mut agent = test.connect().await;
    let unknown = RunKey {
        task_id: "0198c0de-0000-7000-8000-000000000000".parse().unwrap(),
        attempt: 1.try_into().unwrap(),
    };
    all_are_refused(&mut agent, about(unknown), "UNKNOWN_TASK").await;

    let id = test.channel.run("only the first attempt").await;
    let task = agent.accept_next_offer().await;
    let later = RunKey {
        attempt: 7.try_into().unwrap(),
        ..task.run_key()
    };
    all_are_refused(&mut agent, about(later), "TASK_NOT_HELD").await;
    agent.complete(&task, "of the first").await;
    test.channel
        .card(&id, "Completed")
        .await
        .hides(&["outsider"]);
}
