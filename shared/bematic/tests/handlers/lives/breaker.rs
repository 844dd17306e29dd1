//! The circuit breaker around whole tasks: what passes, what counts, and that it counts once.

use std::{collections::BTreeSet, time::Duration};

use bematic::{
    breaker::{FailureKind, IgnoredBecause, OutcomeKind, State, Trip},
    command::Command,
    ports::{ClaimConditions, ClaimOutcome, DispatchMessage, NotifyMessage},
    task::{TaskEvent, TaskPolicy},
};
use bematic_protocol::{ids::TaskId, messages::CloudMessage, time::Clock as _};
use fake_aws::FailurePoint;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, agent_id, connection, event, execute, wire};

/// The tasks that were sent to the agent since the last time.
fn sent(world: &World) -> Vec<TaskId> {
    let sent = world.out.take_sent().into_iter();
    let submitted = sent.filter_map(|(_, message)| match message {
        CloudMessage::TaskSubmit(submit) => Some(submit.task_id),
        _ => None,
    });
    submitted.collect()
}

fn state(world: &World) -> State {
    world.store.breaker_of(&agent_id()).state
}

fn outcomes(world: &World) -> usize {
    world
        .store
        .breaker_of(&agent_id())
        .window
        .kept_outcomes()
        .count()
}

async fn run_many(world: &World, name: &str, count: usize) -> BTreeSet<TaskId> {
    let mut tasks = BTreeSet::new();
    for n in 0..count {
        tasks.insert(world.run("work", &format!("{name}{n}")).await.id);
    }
    world.dispatch_all().await;
    tasks
}

/// The agent takes its first attempt of the task.
async fn begin(world: &World, task: TaskId) {
    let ack = json!({ "taskId": task, "attempt": 1, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
}

async fn fail(world: &World, task: TaskId) {
    begin(world, task).await;
    let error = json!({ "taskId": task, "attempt": 1, "error": "command not found" });
    world.say("c", "TASK_ERROR", error).await;
    world.dispatch_all().await;
}

async fn complete(world: &World, task: TaskId) {
    begin(world, task).await;
    let result = json!({ "taskId": task, "attempt": 1, "result": "done" });
    world.say("c", "TASK_COMPLETE", result).await;
    world.dispatch_all().await;
}

/// Time passes while the agent gives signs of life.
async fn live(world: &World, time: Duration) {
    let router = world.router();
    let until = world.time.now() + time;
    while world.time.now() < until {
        world.beat(&router, "c").await;
        world.pass(Duration::from_secs(20)).await;
    }
}

/// Ten tasks that failed, and nothing else.
async fn broken() -> World {
    let world = World::new().await;
    world.connect("c").await;
    for n in 0..10 {
        run_many(&world, &format!("broken{n}"), 1).await;
        for task in sent(&world) {
            fail(&world, task).await;
        }
    }
    world
}

#[tokio::test]
async fn an_agent_that_fails_ten_tasks_gets_no_more_until_probes_succeed() {
    let world = broken().await;
    let tripped = Trip::FailureRate {
        failures: 10,
        total: 10,
    };
    assert!(matches!(state(&world), State::Open { trip, .. } if trip == tripped));
    let waiting = run_many(&world, "waiting", 7).await;
    world.pass(Duration::from_secs(57)).await;
    assert_eq!(sent(&world), []);

    world.pass(Duration::from_secs(3)).await;
    let probes = sent(&world);
    assert_eq!(probes.len(), 3, "as many as it needs successes, of 5 slots");
    complete(&world, probes[0]).await;
    let more = sent(&world);
    assert_eq!(more.len(), 1, "a permit was given back");
    let mut all: BTreeSet<_> = probes.iter().chain(&more).copied().collect();
    for probe in &probes[1..] {
        complete(&world, *probe).await;
        all.extend(sent(&world));
    }
    assert_eq!(state(&world), State::Closed);
    assert_eq!(all, waiting, "the others follow at once");
}

#[tokio::test]
async fn a_probe_that_fails_keeps_the_others_waiting_for_another_minute() {
    let world = broken().await;
    run_many(&world, "waiting", 5).await;
    world.pass(Duration::from_mins(1)).await;
    let probes = sent(&world);
    fail(&world, probes[0]).await;
    let kind = FailureKind::Error;
    assert!(matches!(state(&world), State::Open { trip, .. } if trip == Trip::Probe { kind }));
    for probe in &probes[1..] {
        complete(&world, *probe).await;
        assert!(matches!(state(&world), State::Open { .. }), "overtaken");
    }
    let router = world.router();
    world.beat(&router, "c").await;
    world.pass(Duration::from_secs(57)).await;
    assert_eq!(sent(&world), []);
    world.beat(&router, "c").await;
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(sent(&world).len(), 2);
}

#[tokio::test]
async fn the_message_for_the_end_of_the_recovery_timeout_may_be_lost() {
    let world = broken().await;
    run_many(&world, "waiting", 1).await;
    world.lose_dispatched();
    live(&world, Duration::from_mins(3)).await;
    assert_eq!(sent(&world).len(), 1, "found by the sweeper");
}

#[tokio::test]
async fn ten_dispatchers_at_once_let_no_more_than_three_probes_through() {
    for seed in 0..15 {
        let world = broken().await;
        run_many(&world, "waiting", 8).await;
        world.time.pass(Duration::from_mins(1));
        world.calls.interleave(seed);
        let dispatchers: Vec<_> = (0..10).map(|_| world.dispatcher()).collect();
        let handled = dispatchers.iter().map(|dispatcher| {
            let agent_id = agent_id();
            dispatcher.handle(DispatchMessage::agent_queue(agent_id))
        });
        for outcome in join_all(handled).await {
            outcome.unwrap();
        }
        assert_eq!(sent(&world).len(), 3, "seed {seed}");
    }
}

#[tokio::test]
async fn a_breaker_that_opens_between_reading_the_agent_and_claiming_prevents_the_claim() {
    let world = broken().await;
    let before = world.run("work", "r").await;
    let claimed = before.after(TaskEvent::Claimed, &TaskPolicy::default(), world.time.now());
    let connection = connection("c");
    let pass = |generation| ClaimConditions {
        connection: &connection,
        generation,
        change: None,
    };
    let claim = world
        .unobserved
        .tasks
        .claim(&before, claimed.clone().unwrap(), pass(0));
    assert_eq!(claim.await.unwrap(), ClaimOutcome::AgentUnavailable);
    let claim = world
        .unobserved
        .tasks
        .claim(&before, claimed.unwrap(), pass(1));
    assert!(
        matches!(claim.await.unwrap(), ClaimOutcome::Taken(_)),
        "the gate as it is"
    );
}

#[tokio::test]
async fn fifty_concurrent_terminal_messages_are_fifty_outcomes() {
    for seed in 0..4 {
        let world = World::new().await;
        world.connect("c").await;
        let status =
            json!({ "agentId": agent_id(), "status": "online", "activeTasks": [], "capacity": 50 });
        world.say("c", "AGENT_STATUS", status).await;
        for n in 0..50 {
            world.run("work", &format!("r{n}")).await;
        }
        world.dispatch_all().await;
        let tasks = sent(&world);
        assert_eq!(tasks.len(), 50);
        let router = world.router();
        world
            .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
            .await;
        // Some are seen to end before they are seen to begin.
        for task in tasks.iter().skip(10) {
            begin(&world, *task).await;
        }
        world.calls.interleave(seed);
        let said = tasks.iter().enumerate().map(|(n, task)| {
            let (kind, payload) = end(n, *task);
            router.handle(event("c", true, wire(kind, &payload, world.time.now())))
        });
        join_all(said).await;
        let breaker = world.store.breaker_of(&agent_id());
        assert_eq!(breaker.window.kept_outcomes().count(), 50, "seed {seed}");
        let failed = breaker
            .window
            .kept_outcomes()
            .filter(|it| it.kind.is_failure());
        assert_eq!(failed.count(), 10);
        assert!(world.store.agent(&agent_id()).unwrap().held.is_empty());
        assert!(
            world
                .store
                .all_tasks()
                .iter()
                .all(|task| task.state.is_terminal())
        );
    }
}

/// Every fifth fails.
fn end(n: usize, task: TaskId) -> (&'static str, Value) {
    let of = json!({ "taskId": task, "attempt": 1, "error": "no", "result": "done" });
    let fails = n.is_multiple_of(5);
    (if fails { "TASK_ERROR" } else { "TASK_COMPLETE" }, of)
}

#[tokio::test]
async fn a_terminal_message_that_is_repeated_after_a_failure_at_any_call_counts_once() {
    for begun in [false, true] {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let world = World::new().await;
                let task = world.dispatched().await.id;
                if begun {
                    begin(&world, task).await;
                }
                world.calls.fail(n, when);
                let error = json!({ "taskId": task, "attempt": 1, "error": "no" });
                world.say("c", "TASK_ERROR", error.clone()).await;
                let all_called = world.calls.unused_failure();
                world.say("c", "TASK_ERROR", error.clone()).await;
                world.say("c", "TASK_ERROR", error).await;
                assert_eq!(outcomes(&world), 1, "call {n} ({when:?}), begun: {begun}");
                if all_called {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_that_is_missed_is_a_failure_of_its_own_kind() {
    let world = World::new().await;
    world.dispatched().await;
    world.pass(Duration::from_secs(32)).await;
    let breaker = world.store.breaker_of(&agent_id());
    let counted: Vec<_> = breaker.window.kept_outcomes().map(|it| it.kind).collect();
    assert_eq!(counted, [OutcomeKind::Failure(FailureKind::AckMissed)]);
}

#[tokio::test]
async fn outcomes_that_are_not_the_agents_fault_do_not_count_and_are_listed() {
    let world = World::new().await;
    world.connect("c").await;
    run_many(&world, "r", 4).await;
    let tasks = sent(&world);
    let [cancelled, refused, faulty, stopped] = tasks[..] else {
        panic!("four were sent");
    };
    for task in [faulty, stopped] {
        begin(&world, task).await;
    }
    execute(&world, Command::Cancel(stopped)).await;
    let said = [
        ("TASK_CANCELLED", json!({ "taskId": cancelled })),
        (
            "TASK_ACK",
            json!({ "taskId": refused, "accepted": false, "reason": "busy" }),
        ),
        (
            "TASK_ERROR",
            json!({ "taskId": faulty, "attempt": 1, "error": "no such file", "fault": "task" }),
        ),
        ("TASK_CANCELLED", json!({ "taskId": stopped, "attempt": 1 })),
    ];
    for (kind, payload) in said {
        world.say("c", kind, payload).await;
        world.time.pass(Duration::from_millis(1));
    }
    let breaker = world.store.breaker_of(&agent_id());
    assert_eq!(breaker.window.kept_outcomes().count(), 0);
    let because: Vec<_> = breaker.ignored.iter().map(|it| it.because).collect();
    assert_eq!(
        because,
        [
            IgnoredBecause::Cancelled,
            IgnoredBecause::Refused,
            IgnoredBecause::TaskFault,
            IgnoredBecause::Cancelled,
        ]
    );
}

#[tokio::test]
async fn a_probe_that_could_not_be_sent_gives_its_permit_back() {
    let world = broken().await;
    run_many(&world, "waiting", 1).await;
    world.out.gone("c");
    world.pass(Duration::from_mins(1)).await;
    let State::HalfOpen { permits, .. } = state(&world) else {
        panic!("{:?}", state(&world));
    };
    assert_eq!(permits, []);
    world.connect("d").await;
    world.dispatch_queue().await;
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_probe_may_run_for_longer_than_its_permit() {
    let world = broken().await;
    run_many(&world, "waiting", 1).await;
    world.pass(Duration::from_mins(1)).await;
    let probe = sent(&world)[0];
    world
        .say(
            "c",
            "TASK_ACK",
            json!({ "taskId": probe, "accepted": true }),
        )
        .await;
    for _ in 0..12 {
        live(&world, Duration::from_mins(15)).await;
        world
            .say(
                "c",
                "TASK_PROGRESS",
                json!({ "taskId": probe, "message": "still at it" }),
            )
            .await;
    }
    complete(&world, probe).await;
    assert!(
        matches!(state(&world), State::HalfOpen { successes: 1, .. }),
        "{:?}",
        state(&world)
    );
}

#[tokio::test]
async fn a_closed_breaker_costs_a_dispatch_nothing_and_a_half_open_one_a_read() {
    let world = World::new().await;
    world.connect("c").await;
    world.run("work", "r").await;
    world.out.take_dispatched();
    world.calls.take();
    world.dispatch_queue().await;
    let closed = world.calls.take();
    assert!(
        !closed.iter().any(|call| call == "GetItem AgentsTable"),
        "{closed:?}"
    );

    let world = broken().await;
    world.time.pass(Duration::from_mins(1));
    for n in 0..2 {
        world.run("work", &format!("r{n}")).await;
    }
    world.out.take_dispatched();
    world.calls.take();
    world.dispatch_queue().await;
    let asked = world.calls.take();
    assert_eq!(
        asked
            .iter()
            .filter(|call| *call == "GetItem AgentsTable")
            .count(),
        1,
        "{asked:?}"
    );
    assert_eq!(
        asked
            .iter()
            .filter(|call| *call == "TransactWriteItems TasksTable AgentsTable TasksTable")
            .count(),
        2
    );
}

#[tokio::test]
async fn the_operations_channel_is_notified_although_messages_are_lost() {
    let world = broken().await;
    let told = |world: &World| {
        let told = world.out.take_notified().into_iter();
        told.filter(|it| matches!(it, NotifyMessage::Breaker { .. }))
            .count()
    };
    assert!(told(&world) > 0);
    // What SQS has accepted it does not take again for 5 min.
    world.pass(Duration::from_mins(5)).await;
    world.dispatch_queue().await;
    assert!(told(&world) > 0, "nobody has said yet that it was");
    let generation = world.store.agent(&agent_id()).unwrap().gate.generation;
    let agent = agent_id();
    world
        .unobserved
        .breakers
        .mark_breaker_announced(&agent, generation)
        .await
        .unwrap();
    world.dispatch_queue().await;
    assert_eq!(told(&world), 0);
}
