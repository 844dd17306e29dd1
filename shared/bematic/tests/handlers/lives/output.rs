//! Output of which there is more than is kept.

use bematic::{
    handlers::message::MessageRouter,
    task::{ChunkPosition, OutputChunk},
};
use bematic_protocol::{
    ids::{Attempt, TaskId},
    time::Timestamp,
};
use fake_aws::FailurePoint;
use serde_json::json;

use crate::world::{WS_MESSAGE, World};

const DELETION: &str = "BatchWriteItem TasksTable";

/// A task that the agent runs, and the environment that has seen it begin.
async fn running() -> (World, MessageRouter, TaskId) {
    let world = World::new().await;
    let task = world.dispatched().await.id;
    let router = world.router();
    let ack = json!({ "taskId": task, "attempt": 1, "accepted": true });
    world.say_to(&router, "c", "TASK_ACK", ack).await;
    (world, router, task)
}

async fn stream(world: &World, router: &MessageRouter, task: TaskId, seq: u64) {
    let delta = format!("{seq} ");
    let delta = json!({ "taskId": task, "attempt": 1, "delta": delta, "seq": seq });
    world.say_to(router, "c", "TASK_STREAM", delta).await;
}

fn output(world: &World, task: TaskId) -> String {
    world.store.whole_output(task, Attempt::FIRST)
}

#[tokio::test]
async fn numbered_output_keeps_the_newest_thousand_pieces() {
    let (world, router, task) = running().await;
    for seq in [0, 1, 98, 99, 100, 101, 1098] {
        stream(&world, &router, task, seq).await;
    }
    assert_eq!(output(&world, task), "0 1 98 99 100 101 1098 ");
    world.calls.take();
    stream(&world, &router, task, 1099).await;
    // A hundred pieces, 25 in a call.
    let deletions = world.calls.take().into_iter();
    assert_eq!(deletions.filter(|call| call == DELETION).count(), 4);
    assert_eq!(output(&world, task), "100 101 1098 1099 ");
    stream(&world, &router, task, 1100).await;
    assert!(!world.calls.take().contains(&DELETION.to_owned()));
}

#[tokio::test]
async fn output_whose_oldest_chunks_could_not_be_deleted_is_kept_and_they_are_deleted_on_repetition()
 {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let (world, router, task) = running().await;
            for seq in [0, 99, 100] {
                stream(&world, &router, task, seq).await;
            }
            world.calls.fail(n, when);
            stream(&world, &router, task, 1099).await;
            if world.calls.unused_failure() {
                assert!(n >= 5, "{n} calls were made to fail");
                break;
            }
            let is_there = output(&world, task).contains("1099");
            let expected = n > 0 || when == FailurePoint::After;
            assert_eq!(is_there, expected, "call {n} ({when:?})");
            stream(&world, &router, task, 1099).await;
            assert_eq!(output(&world, task), "100 1099 ", "call {n} ({when:?})");
        }
    }
}

#[tokio::test]
async fn output_without_numbers_keeps_at_least_the_newest_thousand_pieces_and_not_much_more() {
    const PIECES: u64 = 1500;
    let (world, _, task_id) = running().await;
    let ports = world.ports(WS_MESSAGE);
    world.calls.take();
    for n in 0..PIECES {
        let at = Timestamp::from_millis(n);
        let chunk = OutputChunk {
            task_id,
            attempt: Attempt::FIRST,
            message_id: format!("m{n}").parse().unwrap(),
            position: ChunkPosition::Time(at),
            text: format!("{n} "),
        };
        ports.reports.add_chunk(&chunk, at).await.unwrap();
    }
    assert!(world.calls.take().contains(&DELETION.to_owned()));
    let kept = output(&world, task_id);
    let kept: Vec<u64> = kept
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let newest: Vec<_> = (PIECES - OutputChunk::MAX_KEPT_PER_ATTEMPT..PIECES).collect();
    assert!(kept.ends_with(&newest), "{kept:?}");
    assert!(kept.len() < 1400, "{} pieces", kept.len());
}
