//! `ws-authorizer`, `ws-connect` and `ws-disconnect`.

use std::time::Duration;

use bematic::{
    handlers::{
        connect::authenticate,
        event::{Handshake, SocketEvent},
    },
    ports::{DispatchMessage, UnbindOutcome},
};
use bematic_protocol::{ids::AgentId, time::Clock};
use fake_aws::{Call, Failure, FailurePoint};
use serde_json::{Value, json};

use crate::world::{AGENT, WS_AUTHORIZER, World, agent_id, connection, event};

async fn authorize(
    world: &World,
    authorization: &str,
    agent: Option<&str>,
) -> Result<Option<AgentId>, &'static str> {
    let headers = json!({ "Authorization": authorization });
    let mut event = json!({ "methodArn": "arn:x/$connect", "headers": headers });
    if let Some(agent) = agent {
        event["headers"]["X-Agent-Id"] = agent.into();
    }
    let authenticated = authenticate(&world.ports(WS_AUTHORIZER), &handshake(event)).await;
    let authenticated = authenticated.map_err(|error| error.code())?;
    Ok(authenticated.map(|it| it.agent_id))
}

fn handshake(event: Value) -> Handshake {
    serde_json::from_value(event).unwrap()
}

#[tokio::test]
async fn a_key_in_the_header_names_the_agent() {
    let world = World::new().await;
    let header = format!("Bearer {}", world.key.expose());
    assert_eq!(
        authorize(&world, &header, Some(AGENT)).await,
        Ok(Some(agent_id()))
    );
    assert_eq!(world.calls.take(), ["GetItem KeysTable"]);
    let without = handshake(json!({ "methodArn": "arn:x/$connect" }));
    let none = authenticate(&world.ports(WS_AUTHORIZER), &without)
        .await
        .unwrap();
    assert_eq!(none, None);
    assert_eq!(world.calls.take(), [""; 0]);
}

#[tokio::test]
async fn a_bad_header_refuses_the_handshake() {
    let world = World::new().await;
    world.add_agent("other").await;
    let good = format!("Bearer {}", world.key.expose());
    let wrong = format!("Bearer bm_{}", "0".repeat(64));
    for (header, agent, code) in [
        (&*good, Some("other"), "BAD_API_KEY"),
        (&good, Some("nobody"), "BAD_API_KEY"),
        (&good, None, "BAD_HEADERS"),
        (&good, Some("no agent"), "BAD_AGENT_ID"),
        (&wrong, Some(AGENT), "BAD_API_KEY"),
        ("Bearer", Some(AGENT), "BAD_HEADERS"),
        ("Basic abc", Some(AGENT), "BAD_HEADERS"),
        ("Bearer bm_short", Some(AGENT), "BAD_API_KEY"),
    ] {
        assert_eq!(
            authorize(&world, header, agent).await,
            Err(code),
            "{header} {agent:?}"
        );
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let world = World::new().await;
    assert_eq!(world.revoke(None).await, None);
    let header = format!("Bearer {}", world.key.expose());
    assert_eq!(
        authorize(&world, &header, Some(AGENT)).await,
        Err("BAD_API_KEY")
    );
}

#[tokio::test]
async fn the_newer_connection_replaces_the_older_whose_late_disconnect_changes_nothing() {
    let world = World::new().await;
    world.connect("old").await;
    world.time.pass(Duration::from_secs(1));
    world.calls.take();
    world.handshake("new").await;
    assert_eq!(
        world.calls.take(),
        ["UpdateItem AgentsTable", "DeleteConnection old"]
    );
    assert!(world.out.closed().contains(&connection("old")));
    for _ in 0..2 {
        let late = event("old", true, String::new());
        let outcome = world.on_disconnect(&late).await.unwrap();
        assert_eq!(outcome, UnbindOutcome::Stale);
    }
    assert_eq!(
        world
            .store
            .agent(&agent_id())
            .unwrap()
            .connection
            .unwrap()
            .id,
        connection("new")
    );
}

#[tokio::test]
async fn an_older_connection_that_could_not_be_closed_is_closed_by_the_dispatcher() {
    let world = World::new().await;
    world.connect("old").await;
    world.time.pass(Duration::from_secs(1));
    world.out.take_dispatched();
    // The handshake's second call closes the older connection.
    world.calls.fail_at(1);
    world.handshake("new").await;
    assert!(!world.calls.unused_failure() && world.out.closed().is_empty());
    // Closing it fails once more, and the message is received again.
    world.calls.fail_at(0);
    let failed = world.feed_dispatcher().await;
    assert!(
        !world.calls.unused_failure() && world.out.closed().is_empty(),
        "{failed:?}"
    );
    world.time.pass(Duration::from_secs(90));
    world.feed_dispatcher().await;
    assert_eq!(world.out.closed(), [connection("old")].into());
    // Twice, when the connection is gone.
    let close = DispatchMessage::CloseConnection {
        connection_id: connection("old"),
        agent_id: agent_id(),
    };
    world.dispatcher().handle(close).await.unwrap();
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().id, connection("new"));
}

#[tokio::test]
async fn an_older_connection_whose_closing_cannot_be_enqueued_either_keeps_no_agent_away() {
    let world = World::new().await;
    world.connect("old").await;
    world.time.pass(Duration::from_secs(1));
    for operation in ["DeleteConnection", "SendMessage"] {
        let matches = move |call: &Call| call.operation == operation;
        let failures = world.aws.planned_failures();
        failures.arm_matching(0, FailurePoint::Before, Failure::Internal, matches);
    }
    let key_id = Some(world.key.hash().key_id());
    let handshake = SocketEvent {
        key_id,
        ..event("new", true, String::new())
    };
    world.on_connect(&handshake).await.unwrap();
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().id, connection("new"));
    assert_eq!(world.aws.planned_failures().take_unused(), []);
    // A heartbeat over the older one that is recorded closes it.
    world.say("old", "HEARTBEAT_PING", json!({})).await;
    assert!(world.out.closed().contains(&connection("old")));
}

#[tokio::test]
async fn an_older_connection_that_is_handled_late_does_not_replace_the_newer() {
    let world = World::new().await;
    let earlier = world.time.now();
    world.time.pass(Duration::from_secs(1));
    world.connect("new").await;
    let late = SocketEvent {
        connected_at: Some(earlier),
        ..event("old", true, String::new())
    };
    let error = world.on_connect(&late).await.unwrap_err();
    assert_eq!(error.code(), "CONNECTION_REPLACED");
    assert_eq!(
        world
            .store
            .agent(&agent_id())
            .unwrap()
            .connection
            .unwrap()
            .id,
        connection("new")
    );
}

#[tokio::test]
async fn a_disconnected_agent_is_offline() {
    let world = World::new().await;
    world.connect("c").await;
    world.calls.take();
    let gone = event("c", true, String::new());
    let outcome = world.on_disconnect(&gone).await.unwrap();
    assert_eq!(outcome, UnbindOutcome::Offline(agent_id()));
    assert_eq!(world.calls.take(), ["UpdateItem AgentsTable"]);
    assert_eq!(world.store.agent(&agent_id()).unwrap().connection, None);
}

#[tokio::test]
async fn a_connection_that_ends_before_it_has_authenticated_leaves_no_record() {
    let world = World::new().await;
    world.add_unbound("c").await;
    world.calls.take();
    let gone = event("c", false, String::new());
    let outcome = world.on_disconnect(&gone).await.unwrap();
    assert_eq!(outcome, UnbindOutcome::Stale);
    assert_eq!(
        world.calls.take(),
        ["GetItem AgentsTable", "DeleteItem AgentsTable"]
    );
    assert!(world.store.connection_of(&connection("c")).is_none());
}

#[tokio::test]
async fn a_failure_at_any_call_of_a_disconnect_is_made_up_for_by_a_repetition() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            world.authenticate_in_band("c").await;
            world.calls.fail(n, when);
            // The agent has to be looked up.
            let gone = event("c", false, String::new());
            let _ = world.on_disconnect(&gone).await;
            if world.calls.unused_failure() {
                break;
            }
            world.on_disconnect(&gone).await.unwrap();
            assert_eq!(
                world.store.agent(&agent_id()).unwrap().connection,
                None,
                "call {n} ({when:?})"
            );
        }
    }
}
