//! How long an agent may be silent about a task that it runs.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Offer, Test, eventually};

const LEASE: Duration = Duration::from_secs(16);

#[tokio::test]
async fn a_task_whose_agent_falls_silent_about_it_is_lost_and_can_be_retried() {
    let test = Test::with_lease("silent", 10).await;
    // Nor has it said which tasks it has: that would hold for a while.
    let mut agent = test.connect_without_status().await;
    let id = test.channel.run("never to be heard of").await;
    let lost = agent.accept_next_offer().await;
    agent.ping_and_expect_pong().await;
    let card = test.channel.card(&id, "AGENT_LOST").await;
    card.tells(&["Failed", "It may have had effects"]);
    agent.ping_and_expect_pong().await;
    assert!(agent.unread("TASK_SUBMIT").is_empty(), "run again unasked");

    test.channel.press(&card, "retry").await;
    let task = agent.accept_next_offer().await;
    assert_eq!((task.id.as_str(), task.attempt), (id.as_str(), 2));
    agent.complete(&task, "heard of again").await;
    test.channel.card(&id, "Completed").await;

    agent.complete(&lost, "heard of at last").await;
    let card = test.channel.card(&id, "Late:* attempt 1").await;
    card.tells(&["Completed", "*Result*\nheard of again"]);
}

/// What an agent can say that names a task.
fn signs_of_life(test: &Test, task: &Offer) -> Vec<(&'static str, Value)> {
    let (agent, tasks) = (&test.agent_id, [&task.id]);
    vec![
        ("HEARTBEAT_PING", json!({ "tasks": tasks })),
        (
            "HEARTBEAT_PONG",
            json!({ "agentId": agent, "serverTime": 1, "activeTasks": 1, "cpuUsage": 0,
                    "memoryUsage": 0, "tasks": tasks }),
        ),
        (
            "AGENT_STATUS",
            json!({ "agentId": agent, "status": "online", "activeTasks": tasks }),
        ),
        (
            "TASK_PROGRESS",
            task.reply_payload(json!({ "message": "still at it" })),
        ),
        (
            "TASK_STREAM",
            task.reply_payload(json!({ "delta": "still at it" })),
        ),
    ]
}

/// Half a lease of silence, a sign of life, and the end of the first lease.
async fn outlives_its_lease(which: usize) {
    let test = Test::with_lease("alive", LEASE.as_secs()).await;
    let mut agent = test.connect().await;
    let id = test.channel.run("this takes a while").await;
    let task = agent.accept_next_offer().await;
    let (kind, payload) = signs_of_life(&test, &task).swap_remove(which);
    sleep(LEASE / 2).await;
    agent.send(kind, payload).await;

    eventually(&format!("{kind} renews the lease"), async || {
        let lines = test.lines("dispatcher", &id).await;
        let renewed = |line: &String| line.contains(r#""from":"processing""#);
        lines
            .iter()
            .any(renewed)
            .then_some(())
            .ok_or(lines.join("\n"))
    })
    .await;
    agent.complete(&task, "it is done").await;
    let card = test.channel.card(&id, "it is done").await;
    card.tells(&["Completed"]);
    card.hides(&["Late"]);
}

#[tokio::test]
async fn a_sign_of_life_that_names_the_task_keeps_it_beyond_its_lease() {
    join_all((0..5).map(outlives_its_lease)).await;
}
