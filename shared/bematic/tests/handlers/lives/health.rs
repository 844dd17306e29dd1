//! What operators see of circuit breakers, what they can do about them, and what polls `/health`.

use std::time::Duration;

use bematic::{
    breaker::{BreakerEvent, Mode, State},
    command::{BreakerOrder, Command},
    handlers::webhook::{Request, Webhook},
    ports::{BreakerChange, NotifyMessage, Written},
};
use bematic_protocol::time::Clock as _;
use fake_aws::FailurePoint;
use serde_json::Value;

use crate::world::{World, agent_id, execute};

fn order(order: BreakerOrder) -> Command {
    Command::Breaker(agent_id(), order)
}

async fn health_of(world: &World) -> String {
    let agent = Some(agent_id());
    execute(world, Command::Health(agent)).await
}

#[tokio::test]
async fn health_shows_all_agents_or_one_in_detail() {
    let world = World::new().await;
    world.connect("c").await;
    world.add_agent("other").await;
    world.time.pass(Duration::from_mins(5));
    world.open_breaker("box").await;
    world.time.pass(Duration::from_secs(20));
    world.calls.take();
    let all = execute(&world, Command::Health(None)).await;
    assert_eq!(
        world.calls.take(),
        [
            "BatchGetItem AgentsTable",
            "Query AgentsTable/list",
            "Query AgentsTable/list",
            "Query AgentsTable/list",
            "Query AgentsTable/list",
            "BatchGetItem AgentsTable",
            "BatchGetItem AgentsTable"
        ]
    );
    let lines: Vec<_> = all.lines().collect();
    assert_eq!(
        lines[0],
        ":red_circle: `box` *open* for 20 s – 10 of 10 failed (100 %)"
    );
    assert!(
        lines[1].contains("`·········█` last error 20 s ago:"),
        "{all}"
    );
    assert_eq!(
        lines[2],
        ":large_green_circle: `other` *closed* for 5 min 20 s, offline – 0 of 0 failed (0 %)"
    );
    assert_eq!(lines[3].trim(), "`··········`");

    let one = health_of(&world).await;
    for part in [
        ":red_circle: `box` is *open* for 20 s.",
        "It opened because 10 of 10 tasks failed. The first probe is sent in 40 s.",
        "failures: 100 % of 10 outcomes in the last 10 min, opens at 50 % of at least 10",
        "failures in a row: off",
        "slow tasks: off",
        "*Counted*: 10 × ",
        "*Last error* 20 s ago: ",
    ] {
        assert!(one.contains(part), "{part} in {one}");
    }
    let unknown = execute(&world, Command::Health(Some("nobody".parse().unwrap())));
    assert_eq!(
        unknown.await,
        "There is no agent `nobody`. Known: `box`, `other`."
    );
}

#[tokio::test]
async fn a_reset_closes_a_breaker_at_once_and_waiting_tasks_are_sent() {
    let world = World::new().await;
    world.connect("c").await;
    world.open_breaker("box").await;
    world.run("work", "r").await;
    world.dispatch_all().await;
    assert_eq!(world.out.take_sent(), []);
    let said = execute(&world, order(BreakerOrder::Reset)).await;
    assert!(said.contains("The breaker of `box` is reset"), "{said}");
    world.dispatch_all().await;
    assert_eq!(world.out.take_sent().len(), 1);
    let again = execute(&world, order(BreakerOrder::Reset)).await;
    assert_eq!(
        again,
        "The breaker of `box` is closed already, with nothing counted."
    );
}

#[tokio::test]
async fn a_drained_agent_finishes_its_tasks_and_gets_none_until_the_drain_expires() {
    let world = World::new().await;
    let running = world.dispatched().await;
    let drain = BreakerOrder::Drain {
        lasts: Duration::from_mins(30),
        note: "new <disk>".to_owned(),
    };
    execute(&world, order(drain)).await;
    let waiting = world.run("more", "r2").await;
    world.dispatch_all().await;
    assert_eq!(world.out.take_sent(), []);
    let done = serde_json::json!({ "taskId": running.id, "result": "done" });
    world.say("c", "TASK_COMPLETE", done).await;
    let state = |id| world.store.task(id).unwrap().state.name();
    assert_eq!(state(running.id), "completed");
    let told = health_of(&world).await;
    assert!(told.contains("is *drained*"), "{told}");
    assert!(
        told.contains("Ordered by <@U2> just now: new &lt;disk&gt;. It ends in 30 min"),
        "{told}"
    );

    world.lose_dispatched();
    let router = world.router();
    for _ in 0..95 {
        world.beat(&router, "c").await;
        world.pass(Duration::from_secs(20)).await;
    }
    assert_eq!(state(waiting.id), "dispatched", "it ends by itself");
    assert_eq!(world.store.breaker_of(&agent_id()).mode, Mode::Automatic);
}

#[tokio::test]
async fn an_expired_drain_is_recorded_although_no_task_waits() {
    let world = World::new().await;
    world.connect("c").await;
    world.join("other", "o").await;
    world.set_route("box,other").await;
    let drain = BreakerOrder::Drain {
        lasts: Duration::from_mins(10),
        note: String::new(),
    };
    execute(&world, order(drain)).await;
    let router = world.router();
    for _ in 0..33 {
        world.beat(&router, "c").await;
        world.pass(Duration::from_secs(20)).await;
    }
    let agent = world.store.agent(&agent_id()).unwrap();
    assert!(agent.gate.is_open(world.time.now()), "{:?}", agent.gate);
    assert!(health_of(&world).await.contains("is *closed*"));
    let task = world.run("work", "r").await;
    assert_eq!(task.agent_id, agent_id(), "the first of equals again");
}

#[tokio::test]
async fn an_agent_whose_breaker_is_disabled_gets_tasks_although_they_fail() {
    let world = World::new().await;
    world.connect("c").await;
    let disable = BreakerOrder::Disable {
        lasts: Duration::from_hours(1),
        note: String::new(),
    };
    world.open_breaker("box").await;
    execute(&world, order(disable)).await;
    world.run("work", "r").await;
    world.dispatch_all().await;
    assert_eq!(world.out.take_sent().len(), 1);
    assert!(health_of(&world).await.contains("is *disabled*"));
    execute(&world, order(BreakerOrder::Resume)).await;
    assert!(health_of(&world).await.contains("is *open*"), "as before");
}

#[tokio::test]
async fn an_order_is_executed_despite_a_version_conflict_with_the_end_of_a_task() {
    let world = World::new().await;
    world.open_breaker("box").await;
    let before = world.store.breaker_of(&agent_id());
    let after = before.after(
        BreakerEvent::Reset,
        &bematic::breaker::BreakerConfig::default(),
        world.time.now(),
    );
    let change = BreakerChange {
        before: &bematic::breaker::Breaker::default(),
        after: &after.next,
    };
    let stale = world
        .unobserved
        .breakers
        .change(&agent_id(), change)
        .await
        .unwrap();
    assert_eq!(stale, Written::Conflict, "of a version that is not there");
    execute(&world, order(BreakerOrder::Reset)).await;
    assert_eq!(world.store.breaker_of(&agent_id()).state, State::Closed);
}

/// What the operations channel shows: its messages' texts, and whether they have a button.
fn operations(world: &World) -> Vec<(String, bool)> {
    let messages = world.slack.operations().into_iter();
    let shown = messages.map(|message| {
        let blocks = message.content.blocks.unwrap().to_string();
        (message.content.text, blocks.contains("breaker_reset"))
    });
    shown.collect()
}

#[tokio::test]
async fn opening_and_closing_post_one_notice_each_however_often_messages_are_repeated() {
    let world = World::new().await;
    world.connect("c").await;
    world.open_breaker("box").await;
    let tell = NotifyMessage::Breaker {
        agent_id: agent_id(),
    };
    for _ in 0..3 {
        world.notifier().handle(tell.clone()).await.unwrap();
    }
    let opened = ":red_circle: `box` gets no more work for now".to_owned();
    assert_eq!(operations(&world), [(opened.clone(), true)]);
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.announced, agent.gate.generation);

    execute(&world, order(BreakerOrder::Reset)).await;
    world.dispatch_all().await;
    world.notify_all().await;
    let closed = ":large_green_circle: `box` gets work again".to_owned();
    assert_eq!(operations(&world), [(opened, false), (closed, false)]);
}

#[tokio::test]
async fn a_failure_at_any_call_loses_no_notice_and_posts_none_twice() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.open_breaker("box").await;
            execute(&world, order(BreakerOrder::Reset)).await;
            let tell = NotifyMessage::Breaker {
                agent_id: agent_id(),
            };
            world.calls.fail(n, when);
            let first = world.notifier().handle(tell.clone()).await;
            let all_called = world.calls.unused_failure();
            if first.is_err() {
                world.notifier().handle(tell).await.unwrap();
            }
            assert_eq!(operations(&world).len(), 2, "call {n} ({when:?})");
            if all_called {
                break;
            }
        }
    }
}

async fn poll(webhook: &Webhook) -> (u16, Value) {
    let health = Request {
        path: "/health",
        timestamp: None,
        signature: None,
        body: b"",
    };
    let response = webhook.handle(health).await;
    (response.status, response.body.unwrap())
}

#[tokio::test]
async fn the_health_check_is_cached_and_names_the_failing_component_but_no_agent() {
    let world = World::new().await;
    world.connect("c").await;
    let endpoint = world.webhook();
    world.calls.take();
    let (status, body) = poll(&endpoint).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        serde_json::json!({
            "status": "healthy",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "components": {
                "database": "healthy",
                "queues": "healthy",
                "agents": { "connected": 1, "unhealthy": 0 },
                "slack": "healthy",
            },
        })
    );
    let calls = world.calls.take();
    assert_eq!(
        calls.len(),
        8,
        "five for the agents, and three queues: {calls:?}"
    );
    poll(&endpoint).await;
    assert_eq!(world.calls.take().len(), 0, "the same for ten seconds");

    world.open_breaker("box").await;
    world.time.pass(Duration::from_secs(10));
    let (status, body) = poll(&endpoint).await;
    assert_eq!((status, &body["status"]), (200, &"degraded".into()));
    assert_eq!(body["components"]["agents"]["unhealthy"], 1);
    assert!(!body.to_string().contains("box"));

    let endpoint = world.webhook();
    world.calls.fail_at(0);
    let (status, body) = poll(&endpoint).await;
    assert_eq!((status, &body["status"]), (503, &"unhealthy".into()));
    assert_eq!(body["components"]["database"], "unhealthy");
    assert!(
        world
            .unobserved
            .agents
            .find(&agent_id())
            .await
            .unwrap()
            .is_some()
    );
}
