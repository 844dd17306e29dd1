//! What the notifier tells the operations channel of circuit breakers.

use std::time::Duration;

use bematic::{
    breaker::{Breaker, BreakerConfig, BreakerEvent, FailureKind},
    handlers::notify::Notifier,
    ports::{BreakerChange, NotifyMessage, Written},
};
use bematic_protocol::time::Clock as _;
use fake_aws::FailurePoint;
use local_slack::Fault;

use crate::world::{NOTIFIER, World, agent_id};

/// Something happens to the agent's breaker, and nobody is told yet.
async fn change(world: &World, event: BreakerEvent) {
    let before = world.store.breaker_of(&agent_id());
    let config = BreakerConfig::default();
    let after = before.after(event, &config, world.time.now()).next;
    let change = BreakerChange {
        before: &before,
        after: &after,
    };
    let written = world
        .unobserved
        .breakers
        .change(&agent_id(), change)
        .await
        .unwrap();
    assert_eq!(written, Written::Done);
}

async fn fail(world: &World, id: &str, message: &str) {
    let event = BreakerEvent::Failure(id.into(), FailureKind::Error, message.into());
    change(world, event).await;
}

async fn open(world: &World, name: &str) {
    for n in 0..10 {
        fail(world, &format!("{name}#{n}"), name).await;
    }
    assert_eq!(state(world), "open");
}

async fn ask(world: &World, id: &str) {
    change(world, BreakerEvent::Allow(id.into(), Duration::ZERO)).await;
}

async fn recover(world: &World, name: &str) {
    world.time.pass(Duration::from_mins(1));
    for n in 0..3 {
        ask(world, &format!("{name}#{n}")).await;
        let id = format!("{name}#{n}");
        change(world, BreakerEvent::Success(id, Duration::ZERO)).await;
    }
    assert_eq!(state(world), "closed");
}

fn state(world: &World) -> &'static str {
    let Breaker { state, .. } = world.store.breaker_of(&agent_id());
    state.name()
}

async fn tell(notifier: &Notifier) {
    let agent_id = agent_id();
    let message = NotifyMessage::Breaker { agent_id };
    notifier.handle(message).await.unwrap();
}

/// What the operations channel shows, in order: how each message begins, its error, and whether it
/// has a button.
fn shown(world: &World) -> Vec<(&'static str, String, bool)> {
    let messages = world.slack.operations().into_iter();
    let shown = messages.map(|message| {
        let blocks = message.content.blocks.unwrap();
        let text = blocks[0]["text"]["text"].as_str().unwrap();
        let what = if text.contains("gets work again") {
            "closed"
        } else {
            "opened"
        };
        let error = text.split("Last error: ").nth(1).unwrap_or_default();
        let button = blocks.to_string().contains("breaker_reset");
        (what, error.to_owned(), button)
    });
    shown.collect()
}

fn opened(error: &str, button: bool) -> (&'static str, String, bool) {
    ("opened", error.to_owned(), button)
}

fn closed() -> (&'static str, String, bool) {
    ("closed", String::new(), false)
}

#[tokio::test]
async fn notices_of_several_incidents_at_once_are_posted_in_order() {
    let world = World::new().await;
    open(&world, "first").await;
    recover(&world, "probe").await;
    open(&world, "second").await;
    tell(&world.notifier()).await;
    let all = [opened("first", false), closed(), opened("second", true)];
    assert_eq!(shown(&world), all);
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), all);
}

#[tokio::test]
async fn the_notice_of_an_incident_loses_its_button_once_the_next_has_begun() {
    let world = World::new().await;
    open(&world, "first").await;
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), [opened("first", true)]);
    recover(&world, "probe").await;
    open(&world, "second").await;
    tell(&world.notifier()).await;
    let all = [opened("first", false), closed(), opened("second", true)];
    assert_eq!(shown(&world), all);
}

#[tokio::test]
async fn a_failure_at_any_call_posts_two_incidents_once_each() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            open(&world, "first").await;
            recover(&world, "probe").await;
            open(&world, "second").await;
            change(&world, BreakerEvent::Reset).await;
            world.calls.fail(n, when);
            let agent_id = agent_id();
            let first = world
                .notifier()
                .handle(NotifyMessage::Breaker { agent_id })
                .await;
            if world.calls.unused_failure() {
                break;
            }
            assert!(
                first.is_err(),
                "call {n} ({when:?}) failed, and SQS was not told"
            );
            tell(&world.notifier()).await;
            let (first, second) = (opened("first", false), opened("second", false));
            assert_eq!(
                shown(&world),
                [first, closed(), second, closed()],
                "call {n} ({when:?})"
            );
        }
    }
}

#[tokio::test]
async fn a_failed_probe_posts_no_notice_and_costs_a_few_calls() {
    let world = World::new().await;
    open(&world, "first").await;
    tell(&world.notifier()).await;
    world.calls.take();
    for n in 0..4 {
        world.time.pass(Duration::from_mins(1));
        ask(&world, &format!("probe#{n}")).await;
        world.calls.take();
        tell(&world.notifier()).await;
        assert_eq!(
            world.calls.take(),
            [
                "GetItem AgentsTable",
                "GetItem TasksTable",
                "UpdateItem AgentsTable"
            ]
        );
        fail(&world, &format!("probe#{n}"), "again").await;
        tell(&world.notifier()).await;
    }
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.announced, agent.gate.generation);
    assert_eq!(shown(&world), [opened("first", true)]);
    let messages = world.slack.messages();
    assert!(messages.iter().all(|message| message.updates == 0));
}

#[tokio::test]
async fn an_incident_costs_two_posts_and_an_update_and_one_read_once_it_is_announced() {
    let world = World::new().await;
    open(&world, "first").await;
    world.calls.take();
    tell(&world.notifier()).await;
    assert_eq!(
        world.calls.take(),
        [
            "GetItem AgentsTable",
            "GetItem TasksTable",
            "PutItem TasksTable",
            "chat.postMessage",
            "PutItem TasksTable",
            "UpdateItem AgentsTable"
        ]
    );
    recover(&world, "probe").await;
    world.calls.take();
    tell(&world.notifier()).await;
    assert_eq!(
        world.calls.take(),
        [
            "GetItem AgentsTable",
            "GetItem TasksTable",
            "GetItem TasksTable",
            "chat.update",
            "PutItem TasksTable",
            "PutItem TasksTable",
            "chat.postMessage",
            "PutItem TasksTable",
            "UpdateItem AgentsTable"
        ]
    );
    tell(&world.notifier()).await;
    assert_eq!(
        world.calls.take(),
        [
            "GetItem AgentsTable",
            "GetItem TasksTable",
            "UpdateItem AgentsTable"
        ]
    );
}

#[tokio::test]
async fn a_later_failure_is_not_shown_as_the_one_that_opened_the_breaker() {
    let world = World::new().await;
    open(&world, "first").await;
    tell(&world.notifier()).await;
    recover(&world, "probe").await;
    fail(&world, "later#1", "of no matter").await;
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), [opened("first", false), closed()]);
}

#[tokio::test]
async fn without_an_operations_channel_no_notice_is_posted_then_or_later() {
    let world = World::new().await;
    let ports = world.ports_with(NOTIFIER, &[("OPERATIONS_CHANNEL", "")]);
    let without = Notifier::new(ports, world.slack.client.clone());
    open(&world, "first").await;
    tell(&without).await;
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.announced, agent.gate.generation);
    recover(&world, "probe").await;
    tell(&without).await;
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), []);
    open(&world, "second").await;
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), [opened("second", true)]);
}

#[tokio::test]
async fn a_channel_that_slack_refuses_delays_no_message() {
    let world = World::new().await;
    open(&world, "first").await;
    world
        .slack
        .fail(Fault::with_error("chat.postMessage", "not_in_channel"));
    tell(&world.notifier()).await;
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.announced, agent.gate.generation);
    change(&world, BreakerEvent::Reset).await;
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), [closed()], "the bot was invited meanwhile");
}

#[tokio::test]
async fn a_rate_limited_notice_is_posted_later() {
    let world = World::new().await;
    open(&world, "first").await;
    world.slack.fail(Fault::rate_limited("chat.postMessage", 7));
    let message = NotifyMessage::Breaker {
        agent_id: agent_id(),
    };
    world.notifier().handle(message).await.unwrap_err();
    assert_eq!(world.store.agent(&agent_id()).unwrap().announced, 0);
    tell(&world.notifier()).await;
    assert_eq!(shown(&world), [opened("first", true)]);
}
