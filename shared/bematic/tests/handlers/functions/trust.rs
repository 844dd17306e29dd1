//! Agents are not trusted with cost: what they send is bounded, whatever they say of it.

use std::time::Duration;

use bematic::{
    command::Command,
    task::{ChunkPosition, OutputChunk, ProgressReport},
};
use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::{CloudMessage, StepKind},
    time::{Clock as _, Timestamp},
};
use serde_json::{Value, json};

use crate::world::{AGENT, WS_MESSAGE, World, execute};

fn status(tasks: &[TaskId]) -> Value {
    json!({ "agentId": AGENT, "status": "busy", "activeTasks": tasks })
}

fn heartbeat(tasks: &[TaskId]) -> Value {
    json!({ "agentId": AGENT, "serverTime": 1, "activeTasks": 0, "cpuUsage": 0, "memoryUsage": 0,
        "tasks": tasks })
}

fn unknown_tasks(count: u128) -> Vec<TaskId> {
    let ids = (0..count).map(|n| TaskId::new(uuid::Uuid::from_u128(1 << 64 | n)));
    // An agent may name one twice, which DynamoDB refuses.
    ids.chain([TaskId::new(uuid::Uuid::from_u128(1 << 64))])
        .collect()
}

#[tokio::test]
async fn unknown_tasks_cost_one_call_and_not_with_every_message() {
    const LOOKUP: &str = "BatchGetItem TasksTable";
    for (kind, payload) in [
        ("AGENT_STATUS", status as fn(&[TaskId]) -> Value),
        ("HEARTBEAT_PONG", heartbeat),
    ] {
        let world = World::new().await;
        world.connect("c").await;
        let router = world.router();
        for count in [1, 900, 900] {
            world.calls.take();
            let payload = payload(&unknown_tasks(count));
            let answers = world.say_to(&router, "c", kind, payload.clone()).await;
            assert_eq!(answers, [], "{kind}");
            let calls = world.calls.take();
            let lookups = calls.iter().filter(|call| *call == LOOKUP).count();
            assert_eq!(lookups, 1, "{kind} {calls:?}");
            assert!(calls.len() <= 3, "{kind} {calls:?}");
            world.say_to(&router, "c", kind, payload).await;
            assert!(!world.calls.take().contains(&LOOKUP.to_owned()), "{kind}");
            world.time.pass(Duration::from_secs(20));
        }
    }
}

#[tokio::test]
async fn a_task_to_be_stopped_is_found_among_unknown_ones() {
    let world = World::new().await;
    let task = world.dispatched().await;
    execute(&world, Command::Cancel(task.id)).await;
    let mut named = unknown_tasks(900);
    named.push(task.id);
    // The task is still held: it is looked up however many others are named.
    let answers = world.say("c", "AGENT_STATUS", status(&named)).await;
    assert!(matches!(&answers[..], [CloudMessage::TaskCancel(it)] if it.task_id == task.id));
}

/// Stores output at these positions, and returns the largest number of chunks that were ever kept.
async fn most_kept(positions: impl Iterator<Item = ChunkPosition>) -> usize {
    let world = World::new().await;
    let task_id = world.dispatched().await.id;
    let ports = world.ports(WS_MESSAGE);
    let mut most = 0;
    for (n, position) in positions.enumerate() {
        // Ids whose hash never has the trim done that an honest agent's ids have done.
        let chunk = OutputChunk {
            task_id,
            attempt: Attempt::FIRST,
            message_id: "m".parse().unwrap(),
            position,
            text: "x".into(),
        };
        ports
            .reports
            .add_chunk(&chunk, world.time.now())
            .await
            .unwrap();
        if n % 500 == 499 {
            most = most.max(world.store.whole_output(task_id, Attempt::FIRST).len());
        }
    }
    most
}

#[tokio::test]
async fn output_is_trimmed_whatever_its_positions_say() {
    let apart = (0..3000).map(|n| ChunkPosition::Seq(n * 1_000_000));
    let never_the_hundredth = (0..3000_u64)
        .filter(|n| n % 100 != 99)
        .map(ChunkPosition::Seq);
    let backwards = (0..3000_u64).rev().map(|n| ChunkPosition::Seq(n * 100));
    let times = (0..3000).map(|n| ChunkPosition::Time(Timestamp::from_millis(n)));
    for most in [
        most_kept(apart).await,
        most_kept(never_the_hundredth).await,
        most_kept(backwards).await,
        most_kept(times).await,
    ] {
        assert!((1000..=2000).contains(&most), "{most} chunks were kept");
    }
}

#[tokio::test]
async fn steps_are_trimmed_and_the_newest_kept() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let ports = world.ports(WS_MESSAGE);
    for n in 0..1000 {
        let report = ProgressReport {
            message_id: format!("m{n}").parse().unwrap(),
            at: Timestamp::from_millis(n),
            percent: None,
            lines: vec![format!("step {n}")],
            kind: StepKind::Info,
        };
        let now = world.time.now();
        let stored = ports
            .reports
            .add_progress_report(task, Attempt::FIRST, &report, now);
        stored.await.unwrap();
        assert!(world.store.step_count() <= 500);
    }
    let newest = ports
        .reports
        .progress_reports(task, Attempt::FIRST, 1)
        .await;
    assert_eq!(newest.unwrap()[0].lines, ["step 999"]);
    assert!(world.store.step_count() >= 250);
}

#[tokio::test]
async fn output_of_a_task_that_ended_is_refused_after_5_min_in_every_environment() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let streaming = world.router();
    let delta =
        |text: &str, seq: u64| json!({ "taskId": task, "attempt": 1, "delta": text, "seq": seq });
    world
        .say_to(&streaming, "c", "TASK_STREAM", delta("1", 0))
        .await;
    // The task ends in another environment.
    let complete = json!({ "taskId": task, "attempt": 1, "result": "done" });
    world.say("c", "TASK_COMPLETE", complete).await;
    world.time.pass(Duration::from_secs(299));
    for (router, seq) in [(&streaming, 1), (&world.router(), 2)] {
        let answers = world
            .say_to(router, "c", "TASK_STREAM", delta("2", seq))
            .await;
        assert_eq!(answers, []);
    }
    world.time.pass(Duration::from_secs(2));
    world.calls.take();
    for router in [&streaming, &world.router()] {
        for (kind, payload) in [
            ("TASK_STREAM", delta("3", 3)),
            (
                "TASK_PROGRESS",
                json!({ "taskId": task, "message": "still at it" }),
            ),
        ] {
            let answers = world.say_to(router, "c", kind, payload).await;
            assert!(
                matches!(&answers[..], [CloudMessage::SystemError(it)] if it.code == "TASK_NOT_HELD"),
                "{answers:?}"
            );
        }
    }
    assert_eq!(world.store.whole_output(task, Attempt::FIRST), "122");
    assert_eq!(world.store.step_count(), 0);
    let calls = world.calls.take();
    assert!(!calls.iter().any(|call| call.contains("Put")), "{calls:?}");
}

#[tokio::test]
async fn output_of_a_task_that_runs_for_hours_costs_one_read_in_5_min() {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let router = world.router();
    let mut calls = Vec::new();
    for seq in 0..600 {
        let delta = json!({ "taskId": task, "attempt": 1, "delta": "x", "seq": seq });
        world.say_to(&router, "c", "TASK_STREAM", delta).await;
        calls.extend(world.calls.take());
        world.time.pass(Duration::from_secs(1));
    }
    let reads = calls
        .iter()
        .filter(|call| call.starts_with("BatchGetItem"))
        .count();
    assert_eq!(reads, 2, "at the beginning, and after 5 min");
    assert_eq!(world.store.whole_output(task, Attempt::FIRST).len(), 600);
}
