//! A failure at any call of any handler: its sender repeats, or the sweeper finds what was left,
//! within two minutes.

use std::time::Duration;

use bematic::{batch::BatchKind, command::Command, ports::DispatchMessage};
use bematic_protocol::ids::TaskId;
use fake_aws::FailurePoint;
use serde_json::json;

use crate::world::{World, agent_id, connection, event, states, try_execute};

const WITHIN: Duration = Duration::from_mins(2);

/// A task that the agent runs.
async fn running(world: &World) -> TaskId {
    let task = world.dispatched().await.id;
    let ack = json!({ "taskId": task, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.out.take_dispatched();
    task
}

/// Every timer at its end: what is prepared, how long that takes, and what is to come of it.
const TIMERS: [(&str, u64, &str); 4] = [
    ("acknowledgement", 31, "pending"),
    ("lease", 30 * 60 + 1, "failed"),
    ("cancellation", 31, "cancelled"),
    ("expiry", 24 * 3600 + 1, "failed"),
];

async fn prepared(timer: &str) -> (World, TaskId) {
    let world = World::new().await;
    let task = match timer {
        "acknowledgement" => world.dispatched().await.id,
        "expiry" => world.run("fix it", "r").await.id,
        _ => running(&world).await,
    };
    if timer == "cancellation" {
        try_execute(&world, Command::Cancel(task)).await.unwrap();
    }
    world.out.take_dispatched();
    world.out.take_notified();
    (world, task)
}

#[tokio::test]
async fn a_timer_that_fails_at_any_call_ends_all_the_same() {
    for (timer, after, end) in TIMERS {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let (world, task_id) = prepared(timer).await;
                world.time.pass(Duration::from_secs(after));
                world.calls.fail(n, when);
                let look = DispatchMessage::task(task_id, agent_id());
                let first = world.dispatcher().handle(look).await;
                if world.calls.unused_failure() {
                    break;
                }
                assert!(
                    first.is_err(),
                    "{timer}, call {n} ({when:?}): SQS would forget it"
                );
                // Not even repeated: the sweeper finds it.
                world.pass(WITHIN).await;
                let state = world.store.task(task_id).unwrap().state;
                assert_eq!(state.name(), end, "{timer}, call {n} ({when:?})");
                assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
                world.notify_all().await;
                assert!(
                    world
                        .store
                        .task(task_id)
                        .is_some_and(|it| it.shown == it.version)
                );
            }
        }
    }
}

#[tokio::test]
async fn a_command_that_fails_at_any_call_is_executed_when_it_is_repeated() {
    let words = |task| {
        [
            (Command::Cancel(task), [("cancelled", 1)]),
            (Command::Bulk(BatchKind::Cancel), [("cancelled", 1)]),
        ]
    };
    for which in 0..2 {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let world = World::new().await;
                let task = running(&world).await;
                let (command, end) = words(task)[which].clone();
                world.calls.fail(n, when);
                let first = try_execute(&world, command.clone()).await;
                if world.calls.unused_failure() {
                    break;
                }
                assert!(
                    first.is_err(),
                    "{command:?}, call {n} ({when:?}): the operator was not told"
                );
                try_execute(&world, command.clone()).await.unwrap();
                world.work_on_batches().await;
                world.pass(WITHIN).await;
                assert_eq!(states(&world), end, "{command:?}, call {n} ({when:?})");
            }
        }
    }
}

#[tokio::test]
async fn a_sweep_that_fails_at_any_call_is_made_up_for_by_the_next() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            let task = world.dispatched().await.id;
            world.out.open("unbound");
            let handshake = event("unbound", false, String::new());
            world.on_connect(&handshake).await.unwrap();
            try_execute(&world, Command::Bulk(BatchKind::Archive))
                .await
                .unwrap();
            // No message is left for any of it.
            world.out.take_dispatched();
            world.out.take_batches();
            world.time.pass(Duration::from_mins(2));
            world.calls.fail(n, when);
            let _ = world.sweeper().sweep().await;
            if world.calls.unused_failure() {
                break;
            }
            world.pass(WITHIN).await;
            world.work_on_batches().await;
            world.notify_all().await;
            assert_eq!(
                world.store.task(task).unwrap().state.name(),
                "pending",
                "call {n} ({when:?})"
            );
            assert_eq!(
                world.store.agent(&agent_id()).unwrap().connection,
                None,
                "call {n} ({when:?})"
            );
            for closed in ["c", "unbound"] {
                let closed = connection(closed);
                assert!(world.out.closed().contains(&closed), "call {n} ({when:?})");
            }
            assert_eq!(
                world.store.all_batches()[0].due_at(),
                None,
                "call {n} ({when:?})"
            );
        }
    }
}

#[tokio::test]
async fn a_handshake_that_fails_at_any_call_is_made_up_for_by_the_next() {
    for authorized in [true, false] {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let world = World::new().await;
                world.calls.fail(n, when);
                world.out.open("c1");
                let first = event("c1", authorized, String::new());
                let refused = world.on_connect(&first).await.is_err();
                if world.calls.unused_failure() {
                    break;
                }
                assert!(refused, "call {n} ({when:?})");
                world.time.pass(Duration::from_secs(1));
                world.out.open("c2");
                let second = event("c2", authorized, String::new());
                world.on_connect(&second).await.unwrap();
                world.pass(Duration::from_mins(1)).await;
                let agent = world.store.agent(&agent_id()).unwrap();
                let bound = agent.connection.map(|binding| binding.id);
                assert_eq!(
                    bound,
                    authorized.then(|| connection("c2")),
                    "call {n} ({when:?})"
                );
                let closed = world.out.closed().contains(&connection("c2"));
                assert_eq!(
                    closed, !authorized,
                    "call {n} ({when:?}): an unbound connection has 10 s"
                );
            }
        }
    }
}
