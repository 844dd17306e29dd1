//! What is known of a connection, who has to ask for it, and when its agent gets work.

use std::time::Duration;

use bematic::{handlers::event::SocketEvent, ports::UnbindOutcome};
use bematic_protocol::{
    ids::TaskId,
    messages::{CloudMessage, TypeSpelling},
    time::Clock,
};
use fake_aws::FailurePoint;
use serde_json::{Value, json};

use crate::world::{AGENT, World, agent_id, connection, event, wire};

fn spelling(world: &World) -> Option<TypeSpelling> {
    let agent = world.store.agent(&agent_id()).unwrap();
    agent.connection.unwrap().spelling
}

fn online(world: &World) -> bool {
    world.store.agent(&agent_id()).unwrap().connection.is_some()
}

/// Whether the task was sent to the agent.
fn is_sent(world: &World, task: TaskId) -> bool {
    let sent = world.out.take_sent();
    let submits = |message: &CloudMessage| matches!(message, CloudMessage::TaskSubmit(submit) if submit.task_id == task);
    sent.iter().any(|(_, message)| submits(message))
}

/// Something of each kind that an agent may say first on a connection.
fn first_words() -> [(&'static str, Value); 5] {
    let task = TaskId::new(uuid::Uuid::from_u128(99));
    let status = json!({ "agentId": AGENT, "status": "online", "activeTasks": [] });
    let pong = json!({ "agentId": AGENT, "serverTime": 1, "activeTasks": 0, "cpuUsage": 0,
        "memoryUsage": 0 });
    [
        ("HEARTBEAT_PING", json!({})),
        ("HEARTBEAT_PONG", pong),
        ("AGENT_STATUS", status),
        ("TASK_STREAM", json!({ "taskId": task, "delta": "x" })),
        ("TASK_COMPLETE", json!({ "taskId": task, "result": "done" })),
    ]
}

#[tokio::test]
async fn a_connection_keeps_the_spelling_of_its_first_message() {
    for (first, expected) in [
        ("heartbeat:ping", TypeSpelling::Colons),
        ("HEARTBEAT_PING", TypeSpelling::Canonical),
    ] {
        let world = World::new().await;
        world.handshake("c").await;
        assert_eq!(spelling(&world), None);
        let router = world.router();
        for kind in [first, "HEARTBEAT_PING", "heartbeat:ping"] {
            world.say_to(&router, "c", kind, json!({})).await;
        }
        for text in &world.out.wire() {
            assert!(
                text.contains(&expected.spell_type("HEARTBEAT_PONG")),
                "{text}"
            );
        }
        // Whoever has something to tell the agent by itself spells as it does.
        world.say("c", "HEARTBEAT_PING", json!({})).await;
        assert_eq!(spelling(&world), Some(expected));
        world.run("fix it", "r").await;
        world.dispatch_all().await;
        let wire = world.out.wire();
        assert!(
            wire.last()
                .unwrap()
                .contains(&expected.spell_type("TASK_SUBMIT"))
        );
    }
}

#[tokio::test]
async fn each_status_has_the_queue_dispatched_once() {
    let world = World::new().await;
    world.handshake("c").await;
    world.out.take_dispatched();
    let router = world.router();
    for which in ["the first message of its connection", "a later one"] {
        let status = json!({ "agentId": AGENT, "status": "online", "activeTasks": [] });
        world.say_to(&router, "c", "AGENT_STATUS", status).await;
        assert_eq!(world.out.take_dispatched().len(), 1, "{which}");
    }
}

#[tokio::test]
async fn any_first_message_of_a_connection_has_the_queue_dispatched() {
    for (kind, payload) in first_words() {
        let world = World::new().await;
        let task = world.run("fix it", "r").await.id;
        world.handshake("c").await;
        world.dispatch_all().await;
        assert!(!is_sent(&world, task), "it may not be open yet");
        world.say("c", kind, payload).await;
        world.dispatch_all().await;
        assert!(is_sent(&world, task), "{kind}");
    }
}

#[tokio::test]
async fn a_failure_at_any_call_of_a_first_message_is_made_up_for_by_the_next() {
    for (kind, payload) in first_words() {
        for when in [FailurePoint::Before, FailurePoint::After] {
            for n in 0.. {
                let world = World::new().await;
                let task = world.run("fix it", "r").await.id;
                world.handshake("c").await;
                world.dispatch_all().await;
                let router = world.router();
                world.calls.fail(n, when);
                world.say_to(&router, "c", kind, payload.clone()).await;
                if world.calls.unused_failure() {
                    assert!(n > 1, "{kind}: {n} calls");
                    break;
                }
                let next = json!({ "taskId": TaskId::new(uuid::Uuid::nil()), "delta": "y" });
                world.say_to(&router, "c", "TASK_STREAM", next).await;
                world.dispatch_all().await;
                assert!(is_sent(&world, task), "{kind} {n} ({when:?})");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_authenticated_in_its_handshake_has_no_record_and_is_never_looked_up() {
    let world = World::new().await;
    world.handshake("c").await;
    assert_eq!(world.calls.take(), ["UpdateItem AgentsTable"]);
    // The sign of life says how it spells; then the queue is looked at.
    world.say("c", "HEARTBEAT_PING", json!({})).await;
    assert_eq!(
        world.calls.take(),
        [
            "UpdateItem AgentsTable",
            "PostToConnection c",
            "SendMessage DispatchQueue"
        ]
    );
    for (kind, payload) in first_words() {
        world.say("c", kind, payload).await;
    }
    world
        .router()
        .handle(event("c", true, "{".to_owned()))
        .await;
    let gone = event("c", true, String::new());
    world.on_disconnect(&gone).await.unwrap();
    let calls = world.calls.take();
    assert!(
        !calls.contains(&"GetItem AgentsTable".to_owned()),
        "{calls:?}"
    );
    assert!(world.store.connection_of(&connection("c")).is_none());
}

#[tokio::test]
async fn a_message_over_an_older_connection_costs_nothing_more_in_another_environment() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let connected_at = Some(world.time.now());
    let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    let delta = json!({ "taskId": task.id, "attempt": 1, "delta": "x", "seq": 0 });
    let body = wire("TASK_STREAM", &delta, world.time.now());
    let told = async |world: &World| {
        world.calls.take();
        let event = SocketEvent {
            connected_at,
            ..event("c", true, body.clone())
        };
        world.router().handle(event).await;
        world.calls.take()
    };
    // It may be its first word: it is noted, and work may wait.
    assert_eq!(
        told(&world).await,
        [
            "BatchGetItem AgentsTable TasksTable",
            "PutItem TasksTable",
            "SendMessage NotificationsQueue",
            "UpdateItem AgentsTable",
            "SendMessage DispatchQueue"
        ]
    );
    world.time.pass(Duration::from_mins(1));
    assert_eq!(
        told(&world).await,
        [
            "BatchGetItem AgentsTable TasksTable",
            "PutItem TasksTable",
            "SendMessage NotificationsQueue"
        ]
    );
}

#[tokio::test]
async fn a_handshake_that_is_handled_again_after_the_first_message_changes_nothing() {
    let world = World::new().await;
    let handshake = event("c", true, String::new());
    world.on_connect(&handshake).await.unwrap();
    world.say("c", "heartbeat:ping", json!({})).await;
    let before = world.store.agent(&agent_id());
    world.on_connect(&handshake).await.unwrap();
    assert_eq!(world.store.agent(&agent_id()), before);
    assert!(world.out.closed().is_empty());
}

#[tokio::test]
async fn a_message_that_is_handled_before_its_handshake_does_not_keep_tasks_from_the_agent() {
    let world = World::new().await;
    let task = world.run("fix it", "r").await.id;
    let router = world.router();
    let stream = json!({ "taskId": task, "delta": "x" });
    world.say_to(&router, "c", "TASK_STREAM", stream).await;
    world.handshake("c").await;
    world
        .say_to(&router, "c", "HEARTBEAT_PING", json!({}))
        .await;
    world.pass(Duration::from_mins(1)).await;
    assert!(is_sent(&world, task));
}

#[tokio::test]
async fn a_disconnect_that_is_handled_before_its_handshake_is_detected() {
    let world = World::new().await;
    let gone = event("c", true, String::new());
    let outcome = world.on_disconnect(&gone).await.unwrap();
    assert_eq!(outcome, UnbindOutcome::Stale);
    world.handshake("c").await;
    world.pass(Duration::from_mins(4)).await;
    assert!(!online(&world));
}

#[tokio::test]
async fn a_connection_without_a_key_authenticates_in_band() {
    let world = World::new().await;
    let answers = world.authenticate_in_band("c").await;
    assert_eq!(
        world.calls.take(),
        [
            "PutItem AgentsTable",
            "SendMessage DispatchQueue",
            "TransactWriteItems AgentsTable KeysTable",
            "PostToConnection c",
            "SendMessage DispatchQueue",
        ]
    );
    assert!(matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if answer.success));
    assert!(world.out.wire()[0].contains("auth:response"));
    assert_eq!(
        world
            .store
            .agent(&agent_id())
            .unwrap()
            .connection
            .unwrap()
            .id,
        connection("c")
    );
    // From now on the connection is the agent's, in any environment.
    let answers = world
        .say_in_band(
            &world.router_of("HEARTBEAT_PING"),
            "c",
            wire("HEARTBEAT_PING", &json!({}), world.time.now()),
        )
        .await;
    assert!(matches!(&answers[..], [CloudMessage::HeartbeatPong(_)]));
    assert!(
        world.out.wire()[1].contains("heartbeat:pong"),
        "spelled as at first"
    );
}

#[tokio::test]
async fn a_connection_that_authenticated_in_band_is_looked_up_once_in_an_environment() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    let router = world.router();
    world.calls.take();
    let heartbeat = wire("HEARTBEAT_PING", &json!({}), world.time.now());
    for body in ["{", "{", &heartbeat, "{", &heartbeat] {
        world.say_in_band(&router, "c", body.to_owned()).await;
    }
    let calls = world.calls.take();
    let lookups = calls.iter().filter(|call| *call == "GetItem AgentsTable");
    assert_eq!(lookups.count(), 1, "{calls:?}");
    // And once when it ends.
    let gone = event("c", false, String::new());
    for ended in [UnbindOutcome::Offline(agent_id()), UnbindOutcome::Stale] {
        let outcome = world.on_disconnect(&gone).await.unwrap();
        assert_eq!(outcome, ended);
        assert_eq!(
            world.calls.take(),
            ["GetItem AgentsTable", "UpdateItem AgentsTable"]
        );
    }
}

#[tokio::test]
async fn a_handshake_that_is_handled_again_after_authentication_sets_no_deadline() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    let again = event("c", false, String::new());
    world.on_connect(&again).await.unwrap();
    world.pass(Duration::from_secs(30)).await;
    assert!(online(&world) && world.out.closed().is_empty());
    let late = world.time.now();
    assert!(
        world
            .unobserved
            .presence
            .overdue_unauthenticated_connections(late, 1)
            .await
            .unwrap()
            .is_empty()
    );
}
