//! Agents that fall silent, or do not hear.

use std::time::Duration;

use bematic_protocol::messages::CloudMessage;
use serde_json::json;

use crate::world::{World, agent_id, connection};

fn online(world: &World) -> bool {
    world.store.agent(&agent_id()).unwrap().connection.is_some()
}

fn is_closed(world: &World) -> bool {
    world.out.closed().contains(&connection("c"))
}

#[tokio::test]
async fn a_silent_agent_is_pinged_and_then_marked_offline() {
    let world = World::new().await;
    world.connect("c").await;
    world.pass(Duration::from_secs(149)).await;
    let asked = |world: &World| {
        let sent = world.out.sent();
        let mut sent = sent.iter().map(|(_, message)| message);
        sent.any(|message| matches!(message, CloudMessage::HeartbeatPing(_)))
    };
    assert!(online(&world) && asked(&world));
    world.pass(Duration::from_secs(61)).await;
    assert!(!online(&world) && is_closed(&world));
}

#[tokio::test]
async fn an_agent_that_answers_pings_stays_for_hours() {
    let world = World::new().await;
    world.connect("c").await;
    let router = world.router_of("HEARTBEAT_PING");
    for _ in 0..360 {
        world.pass(Duration::from_secs(20)).await;
        world.beat(&router, "c").await;
    }
    assert!(online(&world) && !is_closed(&world));
}

#[tokio::test]
async fn an_agent_that_sends_heartbeats_but_echoes_no_ping_is_marked_offline() {
    let world = World::new().await;
    world.connect("c").await;
    let router = world.router_of("HEARTBEAT_PING");
    for _ in 0..36 {
        world.pass(Duration::from_secs(20)).await;
        world
            .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
            .await;
    }
    assert!(!online(&world) && is_closed(&world));
}

#[tokio::test]
async fn a_message_over_a_connection_that_was_unbound_closes_it() {
    let world = World::new().await;
    world.connect("c").await;
    let disconnect = crate::world::event("c", true, String::new());
    world.on_disconnect(&disconnect).await.unwrap();
    world.say("c", "HEARTBEAT_PING", json!({})).await;
    assert!(is_closed(&world));
}

#[tokio::test]
async fn the_sweeper_closes_connections_that_did_not_authenticate() {
    let world = World::new().await;
    world.out.open("c");
    let handshake = crate::world::event("c", false, String::new());
    world.on_connect(&handshake).await.unwrap();
    // The message of its deadline is lost.
    world.out.take_dispatched();
    world.pass(Duration::from_secs(75)).await;
    assert!(is_closed(&world));
    assert!(world.store.connection_of(&connection("c")).is_none());
}

#[tokio::test]
async fn two_sweeps_at_once_do_nothing_twice() {
    let world = World::new().await;
    let task = world.dispatched().await;
    world.time.pass(Duration::from_secs(40));
    let (one, two) = (world.sweeper(), world.sweeper());
    let (first, second) = futures::join!(one.sweep(), two.sweep());
    assert_eq!((first.unwrap().due, second.unwrap().due), (1, 1));
    world.dispatch_all().await;
    let task = world.store.task(task.id).unwrap();
    assert_eq!(
        task.state
            .last_attempt()
            .map(bematic_protocol::ids::Attempt::number),
        Some(1)
    );
    assert_eq!(task.state.name(), "pending");
}
