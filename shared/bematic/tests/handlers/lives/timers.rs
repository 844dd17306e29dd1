//! Deadlines and leases, by the clock.

use std::time::Duration;

use bematic::task::{FailureCode, Task, TaskState};
use bematic_protocol::messages::CloudMessage;
use serde_json::json;

use crate::world::{World, agent_id};

fn failure(world: &World, task: &Task) -> FailureCode {
    match world.store.task(task.id).unwrap().state {
        TaskState::Failed { failure, .. } => failure.code,
        state => panic!("not failed: {state:?}"),
    }
}

fn submitted(world: &World) -> Vec<u32> {
    let sent = world.out.take_sent().into_iter();
    sent.filter_map(|(_, message)| match message {
        CloudMessage::TaskSubmit(submit) => {
            submit.attempt.map(bematic_protocol::ids::Attempt::number)
        }
        _ => None,
    })
    .collect()
}

fn state(world: &World, task: &Task) -> &'static str {
    world.store.task(task.id).unwrap().state.name()
}

/// Heartbeats, every 20 s, without a word of tasks.
async fn alive_for(world: &World, time: Duration) {
    let router = world.router();
    for _ in 0..time.as_secs() / 20 {
        world.pass(Duration::from_secs(20)).await;
        world.beat(&router, "c").await;
    }
}

#[tokio::test]
async fn an_unacknowledged_task_is_sent_again_as_the_next_attempt_and_fails_after_the_last() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.pass(Duration::from_secs(29)).await;
    assert_eq!(submitted(&world), [0_u32; 0]);
    let router = world.router();
    world.pass(Duration::from_secs(2)).await;
    // It is asked whether it hears us, and does.
    world.beat(&router, "c").await;
    // 5 s of backoff.
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(submitted(&world), [2]);
    assert_eq!(world.store.agent(&agent_id()).unwrap().held.len(), 1);
    for _ in 0..30 {
        world.pass(Duration::from_secs(20)).await;
        world.beat(&router, "c").await;
    }
    assert_eq!(failure(&world, &task), FailureCode::AttemptsExhausted);
    assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
}

#[tokio::test]
async fn a_running_task_without_signs_of_life_fails_with_agent_lost() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let ack = json!({ "taskId": task.id, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    alive_for(&world, Duration::from_mins(29)).await;
    assert_eq!(state(&world, &task), "processing");
    alive_for(&world, Duration::from_mins(3)).await;
    assert_eq!(failure(&world, &task), FailureCode::AgentLost);
    assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
}

#[tokio::test]
async fn any_sign_of_life_that_names_the_task_renews_its_lease() {
    let named = [
        (
            "TASK_PROGRESS",
            json!({ "taskId": "ID", "message": "on it" }),
        ),
        ("TASK_STREAM", json!({ "taskId": "ID", "delta": "x" })),
        ("HEARTBEAT_PING", json!({ "tasks": ["ID"] })),
        (
            "HEARTBEAT_PONG",
            json!({ "agentId": "box", "serverTime": 1, "activeTasks": 1, "cpuUsage": 0.1,
                    "memoryUsage": 0.1, "tasks": ["ID"] }),
        ),
        (
            "AGENT_STATUS",
            json!({ "agentId": "box", "status": "online", "activeTasks": ["ID"] }),
        ),
    ];
    for (kind, payload) in named {
        let world = World::new().await;
        let task = world.dispatched().await;
        let payload = payload.to_string().replace("ID", &task.id.to_string());
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        let ack = json!({ "taskId": task.id, "accepted": true });
        world.say("c", "TASK_ACK", ack).await;
        alive_for(&world, Duration::from_mins(20)).await;
        world.say("c", kind, payload).await;
        alive_for(&world, Duration::from_mins(20)).await;
        assert_eq!(state(&world, &task), "processing", "{kind}");
        alive_for(&world, Duration::from_mins(13)).await;
        assert_eq!(failure(&world, &task), FailureCode::AgentLost, "{kind}");
    }
}

#[tokio::test]
async fn a_task_waits_a_day_for_its_agent() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await;
    world.time.pass(Duration::from_mins(24 * 60 - 1));
    world.pass(Duration::from_secs(50)).await;
    assert_eq!(state(&world, &task), "pending");
    world.pass(Duration::from_secs(90)).await;
    assert_eq!(failure(&world, &task), FailureCode::Expired);
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(shown.contains("EXPIRED"), "{shown}");
}

#[tokio::test]
async fn an_agent_that_no_longer_names_a_task_has_lost_it() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.time.pass(Duration::from_secs(1));
    let ack = json!({ "taskId": task.id, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.time.pass(Duration::from_secs(1));
    world.connect("c2").await;
    let status = json!({ "agentId": "box", "status": "online", "activeTasks": [] });
    world.say("c2", "AGENT_STATUS", status).await;
    assert_eq!(
        state(&world, &task),
        "processing",
        "its result may be under way"
    );
    world.pass(Duration::from_secs(31)).await;
    assert_eq!(failure(&world, &task), FailureCode::AgentLost);
    // It was.
    let late = json!({ "taskId": task.id, "attempt": 1, "result": "done" });
    let answers = world.say("c2", "TASK_COMPLETE", late).await;
    assert!(matches!(&answers[..], [CloudMessage::MessageAck(_)]));
    assert_eq!(failure(&world, &task), FailureCode::AgentLost);
    assert_eq!(world.store.late(task.id).len(), 1);
    world.notify_all().await;
    let shown = world.slack.text();
    assert!(
        shown.contains("*Late:* attempt 1 completed: done"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_agent_whose_heartbeats_do_not_name_a_task_has_lost_it() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.time.pass(Duration::from_secs(1));
    let ack = json!({ "taskId": task.id, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.time.pass(Duration::from_secs(10));
    let none = json!({ "tasks": [] });
    world.say("c", "HEARTBEAT_PING", none).await;
    assert_eq!(state(&world, &task), "processing");
    world.pass(Duration::from_secs(31)).await;
    assert_eq!(failure(&world, &task), FailureCode::AgentLost);
}

#[tokio::test]
async fn one_that_comes_back_and_names_its_task_keeps_it() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let ack = json!({ "taskId": task.id, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.pass(Duration::from_mins(10)).await;
    world.connect("c2").await;
    let status = json!({ "agentId": "box", "status": "online", "activeTasks": [task.id] });
    world.say("c2", "AGENT_STATUS", status).await;
    world.pass(Duration::from_secs(80)).await;
    assert_eq!(state(&world, &task), "processing");
    let done = json!({ "taskId": task.id, "attempt": 1, "result": "done" });
    world.say("c2", "TASK_COMPLETE", done).await;
    assert_eq!(state(&world, &task), "completed");
}
