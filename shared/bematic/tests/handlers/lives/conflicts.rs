//! Transactions that meet in an item: DynamoDB cancels one of them, and the store tries it again.

use std::time::Duration;

use bematic_protocol::messages::CloudMessage;
use fake_aws::{Call, Failure, FailurePoint};
use serde_json::{Value, json};

use crate::world::{World, agent_id};

/// A task's whole life, in which nothing may fail and nothing may take place twice.
async fn life(world: &World, at: &str) {
    world.handshake("c").await;
    world.say("c", "HEARTBEAT_PING", json!({})).await;
    let task = world.run("fix it", "r").await.id;
    world.dispatch_all().await;
    let sent = world.out.take_sent();
    assert!(
        matches!(&sent[..], [(_, CloudMessage::TaskSubmit(submit))] if submit.task_id == task),
        "{at}: {sent:?}"
    );
    let said: [(&str, Value); 4] = [
        ("TASK_ACK", json!({ "accepted": true })),
        ("TASK_PROGRESS", json!({ "message": "on it" })),
        ("TASK_STREAM", json!({ "delta": "x", "seq": 0 })),
        ("TASK_ERROR", json!({ "error": "broken" })),
    ];
    for (kind, mut payload) in said {
        payload["taskId"] = json!(task);
        payload["attempt"] = json!(1);
        let answers = world.say("c", kind, payload).await;
        let confirmed = matches!(&answers[..], [CloudMessage::MessageAck(_)]);
        assert!(confirmed || answers.is_empty(), "{at}: {answers:?}");
        assert_eq!(confirmed, kind == "TASK_ERROR", "{at}");
    }
    world.dispatch_all().await;
    world.notify_all().await;
    let task = world.store.task(task).unwrap();
    assert_eq!(task.state.name(), "failed", "{at}");
    assert_eq!(task.shown, task.version, "{at}");
    assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
    let breaker = world.store.breaker_of(&agent_id());
    assert_eq!(breaker.window.kept_outcomes().count(), 1, "{at}");
    assert_eq!(world.slack.messages().len(), 1, "{at}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_conflicts_with_a_transaction_is_repeated_without_an_error() {
    // Parts of a transaction: the task or its request, what is beside it, the agent.
    for part in [0, 2, 3] {
        for n in 0.. {
            let world = World::new().await;
            let conflict = Failure::TransactionConflict(part);
            world
                .aws
                .planned_failures()
                .arm(n, FailurePoint::Before, conflict);
            life(&world, &format!("part {part} of write {n}")).await;
            if !world.aws.planned_failures().take_unused().is_empty() {
                assert!(n > 8, "{n} writes met a transaction");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_does_not_end_is_an_error_and_the_message_is_retried() {
    /// How often the store tries.
    const TRIES: usize = 11;
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await.id;
    let claims = |call: &Call| call.operation == "TransactWriteItems";
    for _ in 0..TRIES {
        let conflict = Failure::TransactionConflict(1);
        let failures = world.aws.planned_failures();
        failures.arm_matching(0, FailurePoint::Before, conflict, claims);
    }
    let fed = world.feed_dispatcher().await;
    assert_eq!((fed.done, fed.failed.len()), (0, 1));
    assert_eq!(world.aws.planned_failures().take_unused(), []);
    assert_eq!(world.store.task(task).unwrap().state.name(), "pending");
    assert!(world.out.take_sent().is_empty());
    world.time.pass(Duration::from_secs(2));
    assert_eq!(world.feed_dispatcher().await.done, 1);
    assert_eq!(world.out.take_sent().len(), 1);
}
