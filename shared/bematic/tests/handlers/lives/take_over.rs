//! Another address that takes over an agent's connection.

use std::time::Duration;

use bematic::{agent::TakeOver, handlers::event::SocketEvent, ports::NotifyMessage};
use bematic_protocol::time::Clock as _;
use fake_aws::{Call, Failure, FailurePoint};
use serde_json::json;

use crate::world::{AGENT, World, agent_id, connection, event, wire};

/// Connects the agent from an address, with its key in a header.
async fn connect_from(world: &World, name: &str, address: &str) {
    world.out.open(name);
    let handshake = handshake_from(world, name, address);
    world.on_connect(&handshake).await.unwrap();
}

fn handshake_from(world: &World, name: &str, address: &str) -> SocketEvent {
    SocketEvent {
        key_id: Some(world.key.hash().key_id()),
        address: Some(address.parse().unwrap()),
        ..event(name, true, String::new())
    }
}

async fn notify_all(world: &World) {
    for message in world.out.take_notified() {
        world.notifier().handle(message).await.unwrap();
    }
}

fn take_over(world: &World, name: &str) -> TakeOver {
    TakeOver {
        agent_id: agent_id(),
        connection_id: connection(name),
        key_id: Some(world.key.hash().key_id()),
        from: [192, 0, 2, 1].into(),
        to: [192, 0, 2, 2].into(),
    }
}

#[tokio::test]
async fn the_operations_channel_is_told_of_a_take_over_once() {
    let world = World::new().await;
    connect_from(&world, "old", "192.0.2.1").await;
    world.time.pass(Duration::from_mins(1));
    world.calls.take();
    connect_from(&world, "new", "192.0.2.2").await;
    assert_eq!(
        world.calls.take(),
        [
            "UpdateItem AgentsTable",
            "SendMessage NotificationsQueue",
            "DeleteConnection old"
        ]
    );
    // The handshake is handled again.
    let again = handshake_from(&world, "new", "192.0.2.2");
    world.on_connect(&again).await.unwrap();
    let notified = world.out.take_notified();
    let expected = NotifyMessage::TakeOver(take_over(&world, "new"));
    assert_eq!(notified, std::slice::from_ref(&expected));
    let body = serde_json::to_string(&expected).unwrap();
    assert_eq!(
        serde_json::from_str::<NotifyMessage>(&body).unwrap(),
        expected
    );
    for _ in 0..2 {
        world.notifier().handle(expected.clone()).await.unwrap();
    }
    let notices = world.slack.operations();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let text = world.slack.text();
    assert!(
        text.contains("192.0.2.1") && text.contains("192.0.2.2"),
        "{text}"
    );
    // Machines that replace each other at each reconnect are told of once in five minutes.
    for (name, address, told) in [("back", "192.0.2.1", 1), ("again", "192.0.2.2", 1)] {
        world.time.pass(Duration::from_mins(1));
        connect_from(&world, name, address).await;
        notify_all(&world).await;
        assert_eq!(world.slack.operations().len(), told, "{name}");
    }
    for _ in 0..3 {
        world.time.pass(Duration::from_mins(1));
        world.say("again", "HEARTBEAT_PING", json!({})).await;
    }
    connect_from(&world, "later", "192.0.2.1").await;
    notify_all(&world).await;
    assert_eq!(world.slack.operations().len(), 2);
}

#[tokio::test]
async fn a_take_over_in_band_is_told_too() {
    let world = World::new().await;
    connect_from(&world, "old", "192.0.2.1").await;
    world.time.pass(Duration::from_secs(1));
    world.add_unbound("new").await;
    let request = json!({ "agentId": AGENT, "apiKey": world.key.expose(), "version": "1" });
    let body = wire("AUTH_REQUEST", &request, world.time.now());
    let request = SocketEvent {
        address: Some([192, 0, 2, 2].into()),
        ..event("new", false, body)
    };
    for _ in 0..2 {
        world.router().handle(request.clone()).await;
    }
    let expected = NotifyMessage::TakeOver(take_over(&world, "new"));
    assert_eq!(world.out.take_notified(), [expected]);
}

#[tokio::test]
async fn a_connection_from_the_same_address_or_in_place_of_a_silent_one_is_no_take_over() {
    let world = World::new().await;
    connect_from(&world, "a", "192.0.2.1").await;
    world.time.pass(Duration::from_secs(1));
    connect_from(&world, "b", "192.0.2.1").await;
    world.time.pass(Duration::from_secs(150));
    connect_from(&world, "c", "192.0.2.2").await;
    let gone = event("c", true, String::new());
    world.on_disconnect(&gone).await.unwrap();
    connect_from(&world, "d", "192.0.2.1").await;
    assert_eq!(world.out.take_notified(), []);
}

#[tokio::test]
async fn a_notice_that_cannot_be_enqueued_keeps_no_agent_away() {
    let world = World::new().await;
    connect_from(&world, "old", "192.0.2.1").await;
    world.time.pass(Duration::from_secs(1));
    let sends = |call: &Call| call.operation == "SendMessage";
    let failures = world.aws.planned_failures();
    failures.arm_matching(0, FailurePoint::Before, Failure::Internal, sends);
    connect_from(&world, "new", "192.0.2.2").await;
    assert_eq!(failures.take_unused(), []);
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().id, connection("new"));
    assert!(world.out.closed().contains(&connection("old")));
}
