use std::time::Duration;

use async_trait::async_trait;
use bematic::{
    breaker::State,
    ports::{DispatchMessage, LeaseAcquisition, NotifyMessage},
    task::{Task, TaskState},
};
use bematic_protocol::{ids::ConnectionId, messages::CloudMessage, time::Clock};
use fake_aws::{Call, FailurePoint, FakeAws, Hook};
use futures::future::{join, join_all};
use serde_json::json;

use crate::world::{AGENT, World, agent_id, connection, event, new_task, wire};

fn submitted(sent: &[(ConnectionId, CloudMessage)]) -> Vec<String> {
    sent.iter()
        .filter_map(|(_, message)| match message {
            CloudMessage::TaskSubmit(submit) => Some(submit.prompt.clone()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_task_is_sent_once_its_agent_connects() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await;
    world.dispatch_all().await;
    assert!(world.out.take_sent().is_empty());
    world.connect("c").await;
    world.say("c", "task:ack", json!({})).await;
    world.dispatch_queue().await;
    let sent = world.out.take_sent();
    assert_eq!(submitted(&sent), ["fix it"]);
    assert_eq!(
        world.store.task(task.id).unwrap().state.name(),
        "dispatched"
    );
}

#[tokio::test]
async fn sending_a_task_costs_three_calls_and_two_messages_beside_those_of_the_dispatch() {
    let world = World::new().await;
    world.connect("c").await;
    world.run("fix it", "r").await;
    world.calls.take();
    world.dispatch_queue().await;
    assert_eq!(
        world.calls.take(),
        [
            "UpdateItem AgentsTable",
            "Query TasksTable",
            "TransactWriteItems TasksTable AgentsTable TasksTable",
            "GetItem TasksTable",
            "PostToConnection c",
            "SendMessage NotificationsQueue",
            // The deadline of its acknowledgement.
            "SendMessage DispatchQueue",
            "UpdateItem AgentsTable",
        ]
    );
}

#[tokio::test]
async fn a_dispatch_of_an_empty_queue_costs_three_calls() {
    let world = World::new().await;
    world.connect("c").await;
    world.calls.take();
    world.dispatch_queue().await;
    assert_eq!(
        world.calls.take(),
        [
            "UpdateItem AgentsTable",
            "Query TasksTable",
            "UpdateItem AgentsTable"
        ]
    );
}

#[tokio::test]
async fn tasks_are_sent_in_order_of_creation_up_to_the_capacity() {
    let world = World::new().await;
    world.connect("c").await;
    for n in 0..8 {
        world.run(&format!("work {n}"), &format!("r{n}")).await;
        world.time.pass(Duration::from_millis(1));
    }
    world.dispatch_all().await;
    let sent = submitted(&world.out.take_sent());
    assert_eq!(sent, ["work 0", "work 1", "work 2", "work 3", "work 4"]);
    let first = world.store.all_tasks()[0].id;
    world
        .say(
            "c",
            "TASK_COMPLETE",
            json!({ "taskId": first, "result": "" }),
        )
        .await;
    world.dispatch_all().await;
    assert_eq!(submitted(&world.out.take_sent()), ["work 5"]);
}

#[tokio::test]
async fn a_long_queue_is_sent_ten_at_a_time_until_the_agent_is_full() {
    let world = World::new().await;
    world.connect("c").await;
    let status = json!({ "agentId": "box", "status": "online", "activeTasks": [], "capacity": 24 });
    world.say("c", "AGENT_STATUS", status).await;
    for n in 0..30 {
        world.run("work", &format!("r{n}")).await;
    }
    world.out.take_dispatched();
    let mut sent = Vec::new();
    for _ in 0..3 {
        world.dispatch_queue().await;
        sent.push(submitted(&world.out.take_sent()).len());
    }
    assert_eq!(sent, [10, 10, 4]);
    // It asked for the next pass itself.
    let again = world.out.take_dispatched();
    let dispatches = again.iter();
    let dispatches = dispatches.filter(|(it, _)| matches!(it, DispatchMessage::AgentQueue { .. }));
    assert_eq!(dispatches.count(), 2);
}

#[tokio::test]
async fn a_connection_that_is_gone_marks_the_agent_offline_and_the_task_waits() {
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await;
    world.out.gone("c");
    world.dispatch_all().await;
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(
        (agent.connection, agent.held.len(), agent.dispatch_lease),
        (None, 0, None)
    );
    assert!(matches!(
        world.store.task(task.id).unwrap().state,
        TaskState::Pending { attempts: 0, .. }
    ));
    world.connect("c2").await;
    world.dispatch_queue().await;
    assert_eq!(submitted(&world.out.take_sent()), ["fix it"]);
}

#[tokio::test]
async fn a_failure_at_any_call_loses_nothing_once_the_message_comes_again() {
    /// The claim follows the agent's lease and its queue; the post follows the specification.
    const CLAIM: usize = 2;
    const POST: usize = 4;
    let attempt = |(_, message): &(ConnectionId, CloudMessage)| match message {
        CloudMessage::TaskSubmit(submit) => {
            submit.attempt.map(bematic_protocol::ids::Attempt::number)
        }
        _ => None,
    };
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.connect("c").await;
            let task = world.run("fix it", "r").await;
            world.out.take_dispatched();
            world.calls.fail(n, when);
            let first = world
                .dispatcher()
                .handle(DispatchMessage::agent_queue(agent_id()))
                .await;
            if world.calls.unused_failure() {
                break;
            }
            // Longer than the lease on the queue, which a failure to give it back leaves behind.
            world.time.pass(Duration::from_secs(90));
            world.dispatch_queue().await;
            let attempts: Vec<_> = world.out.sent().iter().filter_map(attempt).collect();
            // A claim whose answer was lost is as a task that its agent did not hear of.
            let unheard = (n, when) == (CLAIM, FailurePoint::After);
            let expected = match (n, when) {
                _ if unheard => &[][..],
                // An agent runs an attempt once, however often it is sent.
                (POST, FailurePoint::After) => &[1, 1],
                _ => &[1],
            };
            assert_eq!(attempts, expected, "call {n} ({when:?}): {first:?}");
            if unheard {
                let router = world.router();
                while submitted(&world.out.sent()).is_empty() {
                    world.pass(Duration::from_secs(20)).await;
                    world.beat(&router, "c").await;
                }
                let passed = world.time.now().since(task.created_at);
                assert!(passed < Duration::from_mins(3), "after {passed:?}");
                assert_eq!(submitted(&world.out.take_sent()), ["fix it"]);
            }
            let held = world.store.agent(&agent_id()).unwrap().held;
            assert_eq!(held.len(), 1, "call {n} ({when:?})");
            assert_eq!(
                world.store.task(task.id).unwrap().state.name(),
                "dispatched",
                "call {n} ({when:?})"
            );
        }
    }
}

/// A dispatch of the agent's queue that refreshes the task's card.
fn dispatch_and_refresh(task: &Task) -> DispatchMessage {
    DispatchMessage::AgentQueue {
        agent_id: agent_id(),
        refresh: Some(task.id),
    }
}

#[tokio::test]
async fn a_refresh_is_enqueued_though_its_task_was_sent_before_by_another_message() {
    let world = World::new().await;
    world.connect("c").await;
    let task_id = world.run("fix it", "r").await.id;
    let messages = world.out.take_dispatched();
    // In the same flush interval.
    world.time.pass(Duration::from_millis(500));
    let dispatcher = world.dispatcher();
    let first = DispatchMessage::agent_queue(agent_id());
    dispatcher.handle(first).await.unwrap();
    assert_eq!(world.out.take_sent().len(), 1);
    for (message, _) in messages {
        dispatcher.handle(message).await.unwrap();
    }
    assert_eq!(
        world.out.take_notified(),
        [NotifyMessage::Refresh { task_id }]
    );
}

#[tokio::test]
async fn the_refresh_is_enqueued_whatever_the_outcome_of_the_dispatch() {
    // How many calls there are is known once a failure is not used.
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.connect("c").await;
            let task = world.run("fix it", "r").await;
            world.out.take_dispatched();
            world.calls.take();
            world.calls.fail(n, when);
            let handled = world.dispatcher().handle(dispatch_and_refresh(&task)).await;
            if world.calls.unused_failure() {
                break;
            }
            if handled.is_err() && world.calls.take()[n] == "SendMessage NotificationsQueue" {
                // SQS gives the message again.
                world.time.pass(Duration::from_secs(90));
                let again = dispatch_and_refresh(&task);
                world.dispatcher().handle(again).await.unwrap();
            }
            assert!(
                world.out.to_show().contains(&task.id),
                "call {n} ({when:?}): {handled:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_refresh_does_not_wait_for_another_dispatch() {
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await;
    world.out.take_dispatched();
    let lease = bematic::agent::DispatchLease {
        holder: "another".into(),
        until: world.time.now() + Duration::from_mins(1),
    };
    let (agent, now) = (agent_id(), world.time.now());
    let dispatch = world
        .unobserved
        .dispatch_leases
        .acquire(&agent, &lease, now)
        .await
        .unwrap();
    assert!(matches!(dispatch, LeaseAcquisition::Acquired(_)));
    world.calls.take();
    let message = dispatch_and_refresh(&task);
    world.dispatcher().handle(message).await.unwrap();
    // One to see that the right is taken, one to have its holder look again.
    let asked = ["UpdateItem AgentsTable"; 2];
    let told = ["SendMessage NotificationsQueue"];
    assert_eq!(world.calls.take(), [&told[..], &asked].concat());
    assert_eq!(world.out.to_show(), [task.id]);
}

#[test]
fn the_dispatch_message_keeps_its_format_and_may_name_a_task_to_refresh() {
    let plain = json!({ "kind": "drain", "agentId": "box" });
    let dispatch = DispatchMessage::agent_queue(agent_id());
    assert_eq!(serde_json::to_value(&dispatch).unwrap(), plain);
    assert_eq!(
        serde_json::from_value::<DispatchMessage>(plain).unwrap(),
        dispatch
    );
    let task = new_task("box");
    let message = dispatch_and_refresh(&task);
    let sent = json!({ "kind": "drain", "agentId": "box", "refresh": task.id });
    assert_eq!(serde_json::to_value(&message).unwrap(), sent);
    assert_eq!(
        serde_json::from_value::<DispatchMessage>(sent).unwrap(),
        message
    );
}

#[tokio::test]
async fn a_second_dispatcher_requests_another_dispatch_from_the_first() {
    let world = World::new().await;
    world.connect("c").await;
    let lease = bematic::agent::DispatchLease {
        holder: "first".into(),
        until: world.time.now() + Duration::from_mins(1),
    };
    let now = world.time.now();
    let dispatch = world
        .unobserved
        .dispatch_leases
        .acquire(&agent_id(), &lease, now)
        .await
        .unwrap();
    let LeaseAcquisition::Acquired(agent) = dispatch else {
        panic!("{dispatch:?}")
    };
    world.run("came meanwhile", "r").await;
    world.dispatch_all().await;
    assert!(world.out.take_sent().is_empty(), "one dispatch at a time");
    let released = world
        .unobserved
        .dispatch_leases
        .release(&agent_id(), &lease, agent.dispatch_requests)
        .await
        .unwrap();
    assert!(
        matches!(released, bematic::ports::LeaseRelease::RequestedAgain(_)),
        "{released:?}"
    );
    // Should the first die instead, its lease ends.
    world.time.pass(Duration::from_secs(61));
    world.dispatch_queue().await;
    assert_eq!(submitted(&world.out.take_sent()), ["came meanwhile"]);
}

#[tokio::test]
async fn a_refused_task_is_sent_again_when_it_is_due() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let refusal = json!({ "taskId": task.id, "accepted": false, "reason": "full" });
    world.say("c", "TASK_ACK", refusal).await;
    let dispatches = world.out.take_dispatched().into_iter();
    let dispatches: Vec<_> = dispatches
        .map(|(message, delay)| match message {
            DispatchMessage::AgentQueue { refresh, .. } => (delay.as_secs(), refresh.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    // For the next in line, for this one, which is not shown only then, and for whoever says
    // something first.
    assert_eq!(dispatches, [(0, true), (5, false), (0, false)]);
    world.dispatch_queue().await;
    assert!(world.out.take_sent().is_empty(), "not due yet");
    world.time.pass(Duration::from_secs(5));
    world.dispatch_queue().await;
    let sent = world.out.take_sent();
    assert!(matches!(&sent[..], [(_, CloudMessage::TaskSubmit(submit))]
        if submit.attempt.map(bematic_protocol::ids::Attempt::number) == Some(2)));
}

#[tokio::test]
async fn a_connection_that_does_not_authenticate_in_time_is_sent_a_refusal_and_closed() {
    let world = World::new().await;
    world.add_unbound("c").await;
    let told = world.out.take_dispatched();
    let [(deadline @ DispatchMessage::AuthDeadline { .. }, delay)] = &told[..] else {
        panic!("no deadline was set: {told:?}")
    };
    assert_eq!(*delay, Duration::from_secs(10));
    world.dispatcher().handle(deadline.clone()).await.unwrap();
    let sent = world.out.take_sent();
    assert!(matches!(&sent[..], [(_, CloudMessage::AuthResponse(answer))] if !answer.success));
    assert!(world.out.closed().contains(&connection("c")));
    assert!(world.store.connection_of(&connection("c")).is_none());
}

#[tokio::test]
async fn a_connection_that_does_not_authenticate_is_closed_though_any_call_fails() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.add_unbound("c").await;
            let deadline = DispatchMessage::AuthDeadline {
                connection_id: connection("c"),
            };
            world.calls.fail(n, when);
            let first = world.dispatcher().handle(deadline.clone()).await;
            if world.calls.unused_failure() {
                break;
            }
            assert!(first.is_err(), "call {n} ({when:?}): SQS would forget it");
            world.dispatcher().handle(deadline).await.unwrap();
            assert!(world.out.closed().contains(&connection("c")));
            assert!(world.store.connection_of(&connection("c")).is_none());
        }
    }
}

#[tokio::test]
async fn a_deadline_during_authentication_leaves_no_agent_on_a_removed_connection() {
    for seed in 0..15 {
        let world = World::new().await;
        world.add_unbound("c").await;
        let deadline = DispatchMessage::AuthDeadline {
            connection_id: connection("c"),
        };
        let request = json!({ "agentId": AGENT, "apiKey": world.key.expose(), "version": "1" });
        let body = wire("AUTH_REQUEST", &request, world.time.now());
        world.calls.interleave(seed);
        let (dispatcher, router) = (world.dispatcher(), world.router());
        let both = join(
            dispatcher.handle(deadline),
            router.handle(event("c", false, body)),
        );
        both.await.0.unwrap();
        let record = world.store.connection_of(&connection("c"));
        let ended = world.out.closed().contains(&connection("c"));
        let is_bound = record.is_some_and(|record| record.agent_id.is_some());
        assert!(is_bound || ended, "seed {seed}");
        // So that its end is known to be the agent's.
        let agent = world.store.agent(&agent_id()).unwrap();
        assert_eq!(agent.connection.is_some(), is_bound, "seed {seed}");
    }
}

#[tokio::test]
async fn a_deadline_after_authentication_does_nothing() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    let deadline = DispatchMessage::AuthDeadline {
        connection_id: connection("c"),
    };
    world.dispatcher().handle(deadline).await.unwrap();
    assert!(world.out.closed().is_empty());
    assert!(world.store.agent(&agent_id()).unwrap().connection.is_some());
}

#[tokio::test]
async fn the_sweeper_finds_waiting_tasks_whose_message_was_lost() {
    let world = World::new().await;
    world.connect("c").await;
    world.run("forgotten", "r").await;
    world.out.take_dispatched();
    assert_eq!(world.sweeper().sweep().await.unwrap().dispatched, 1);
    world.dispatch_all().await;
    assert_eq!(submitted(&world.out.take_sent()), ["forgotten"]);
    assert_eq!(world.sweeper().sweep().await.unwrap().dispatched, 0);
}

/// Ends the lease of every dispatch as soon as it is acquired, as if the dispatch had taken too long:
/// dispatches overlap.
struct NoLeaseLasts(FakeAws);

#[async_trait]
impl Hook for NoLeaseLasts {
    async fn after_call(&self, call: &Call) {
        let (table, key) = ("AgentsTable", ["AGENT#box", "AGENT"]);
        if call.operation == "UpdateItem"
            && let Some(mut agent) = self.0.tables().item(table, &key)
            && agent.remove("drain").is_some()
        {
            self.0.tables().put(table, &agent);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_claims_under_a_half_open_breaker_take_no_more_permits_than_it_has() {
    for seed in 0..15 {
        let world = World::new().await;
        world.connect("c").await;
        world.open_breaker(AGENT).await;
        for n in 0..8 {
            world.run("work", &format!("r{n}")).await;
        }
        world.out.take_dispatched();
        world.time.pass(Duration::from_mins(1));
        world.calls.interleave(seed);
        world.aws.add_hook(NoLeaseLasts(world.aws.clone()));
        let dispatchers: Vec<_> = (0..4).map(|_| world.dispatcher()).collect();
        let handled = dispatchers
            .iter()
            .map(|dispatcher| dispatcher.handle(DispatchMessage::agent_queue(agent_id())));
        for outcome in join_all(handled).await {
            outcome.unwrap();
        }
        let breaker = world.store.breaker_of(&agent_id());
        let State::HalfOpen { permits, .. } = &breaker.state else {
            panic!("{breaker:?}");
        };
        let claimed = submitted(&world.out.take_sent()).len();
        assert_eq!((claimed, permits.len()), (3, 3), "seed {seed}");
    }
}
