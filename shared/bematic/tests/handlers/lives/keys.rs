//! Keys that are revoked or replaced while their agents are connected and run tasks.

use std::time::Duration;

use bematic::{
    agent::ApiKey,
    handlers::{
        connect::{authorize, connect},
        event::SocketEvent,
        message::MessageRouter,
    },
    ports::{ClaimConditions, ClaimOutcome},
    task::{FailureCode, TaskEvent, TaskPolicy, TaskState},
};
use bematic_protocol::{messages::CloudMessage, time::Clock as _};
use serde_json::{Value, json};

use crate::world::{AGENT, WS_AUTHORIZER, WS_CONNECT, World, agent_id, connection, event, wire};

/// Returns the policy or the refusal of a handshake with the key.
async fn handshake(world: &World, key: &ApiKey) -> Result<Value, &'static str> {
    let authorization = format!("Bearer {}", key.expose());
    let event = json!({
        "methodArn": "arn:x/$connect",
        "headers": { "Authorization": authorization, "X-Agent-Id": AGENT },
    });
    let event = serde_json::from_value(event).unwrap();
    let policy = authorize(&world.ports(WS_AUTHORIZER), &event).await;
    policy.map_err(|refusal| refusal.code)
}

/// Plays API Gateway: opens a connection with the context of a policy. Returns the status.
async fn open(world: &World, name: &str, policy: &Value) -> u64 {
    let event = json!({
        "requestContext": { "connectionId": name, "authorizer": policy["context"] },
    });
    let event: SocketEvent = serde_json::from_value(event).unwrap();
    world.out.open(name);
    let answer = connect(&world.ports(WS_CONNECT), &event).await;
    answer["statusCode"].as_u64().unwrap()
}

fn is_online(world: &World) -> bool {
    world.store.agent(&agent_id()).unwrap().connection.is_some()
}

#[tokio::test]
async fn the_key_of_a_handshake_is_the_key_of_its_connection() {
    let world = World::new().await;
    let policy = handshake(&world, &world.key).await.unwrap();
    assert_eq!(open(&world, "c", &policy).await, 200);
    assert_eq!(
        world.calls.take(),
        ["GetItem KeysTable", "UpdateItem AgentsTable"]
    );
    let id = world.key.hash().key_id();
    let agent = world.store.agent(&agent_id()).unwrap();
    let binding = agent.connection.unwrap();
    assert_eq!(binding.key_id, Some(id.clone()));
    assert_eq!(agent.key_uses, [(id.clone(), binding.bound_at)].into());
    // In band, too.
    world.time.pass(Duration::from_mins(1));
    world.authenticate_in_band("d").await;
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().key_id, Some(id.clone()));
    assert_eq!(agent.key_uses, [(id, world.time.now())].into());
}

#[tokio::test]
async fn a_key_that_was_accepted_just_before_its_revocation_binds_no_connection() {
    let world = World::new().await;
    let policy = handshake(&world, &world.key).await.unwrap();
    assert_eq!(world.revoke(None).await, None);
    assert_eq!(open(&world, "c", &policy).await, 401);
    let refused = handshake(&world, &world.key).await;
    assert_eq!(refused, Err("BAD_API_KEY"));
    let answers = world.authenticate_in_band("d").await;
    assert!(
        matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if !answer.success),
        "{answers:?}"
    );
    assert!(world.out.closed().contains(&connection("d")));
    assert!(!is_online(&world));
}

#[tokio::test]
async fn a_revoked_agent_gets_no_task() {
    let world = World::new().await;
    world.connect("c").await;
    let task = world.run("fix it", "r").await;
    // A dispatcher has read the agent before the revocation, and claims the task after it.
    let claimed = task.after(TaskEvent::Claimed, &TaskPolicy::default(), world.time.now());
    assert_eq!(world.revoke(None).await, Some(connection("c")));
    assert!(!is_online(&world));
    let of_the_connection = connection("c");
    let conditions = ClaimConditions {
        connection: &of_the_connection,
        generation: 0,
        change: None,
    };
    let tasks = &world.unobserved.tasks;
    let claim = tasks.claim(&task, claimed.unwrap(), conditions).await;
    assert_eq!(claim.unwrap(), ClaimOutcome::AgentUnavailable);
    world.dispatch_all().await;
    assert_eq!(world.out.take_sent(), []);
    assert_eq!(world.store.task(task.id).unwrap().state.name(), "pending");
    // With another key the agent gets it.
    let key = ApiKey::from_random([8; 32]);
    world.add_key(AGENT, &key).await;
    let policy = handshake(&world, &key).await.unwrap();
    assert_eq!(open(&world, "d", &policy).await, 200);
    world.say("d", "HEARTBEAT_PING", json!({})).await;
    world.dispatch_all().await;
    assert_eq!(
        world.store.task(task.id).unwrap().state.name(),
        "dispatched"
    );
}

#[tokio::test]
async fn the_work_of_a_revoked_agent_is_lost_by_its_lease() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
    world.say("c", "TASK_ACK", ack).await;
    world.revoke(None).await;
    world.out.gone("c");
    world.pass(Duration::from_mins(32)).await;
    let TaskState::Failed { failure, .. } = world.store.task(task.id).unwrap().state else {
        panic!("{:?}", world.store.task(task.id));
    };
    assert_eq!(failure.code, FailureCode::AgentLost);
}

/// Sends the agent's message over connection `c`, authenticated with the world's key.
async fn say(
    world: &World,
    router: &MessageRouter,
    kind: &str,
    payload: Value,
) -> Vec<CloudMessage> {
    let body = wire(kind, &payload, world.time.now());
    let message = SocketEvent {
        key_id: Some(world.key.hash().key_id()),
        ..event("c", true, body)
    };
    router.handle(message).await;
    let sent = world.out.take_sent().into_iter();
    sent.map(|(_, message)| message).collect()
}

#[tokio::test]
async fn a_revoked_agent_that_is_still_connected_cannot_end_a_task_or_keep_it() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
    let router = world.router();
    say(&world, &router, "TASK_ACK", ack).await;
    // The connection could not be closed.
    world.revoke(None).await;
    let end = [
        (
            "TASK_COMPLETE",
            json!({ "taskId": task.id, "attempt": 1, "result": "done" }),
        ),
        (
            "TASK_ERROR",
            json!({ "taskId": task.id, "attempt": 1, "error": "broken" }),
        ),
        ("TASK_CANCELLED", json!({ "taskId": task.id, "attempt": 1 })),
        (
            "TASK_ACK",
            json!({ "taskId": task.id, "attempt": 1, "accepted": false }),
        ),
    ];
    for (kind, payload) in end {
        for router in [&router, &world.router()] {
            // The close takes time.
            world.out.open("c");
            let answers = say(&world, router, kind, payload.clone()).await;
            let refused = |it: &CloudMessage| matches!(it, CloudMessage::SystemError(error) if error.code == "BAD_API_KEY");
            assert!(
                matches!(&answers[..], [one] if refused(one)),
                "{kind}: {answers:?}"
            );
            let state = world.store.task(task.id).unwrap().state;
            assert_eq!(state.name(), "processing", "{kind}");
        }
    }
    // Its reports renew no lease.
    for n in 0..40 {
        let delta = json!({ "taskId": task.id, "attempt": 1, "delta": "x", "seq": n });
        say(&world, &router, "TASK_STREAM", delta).await;
        world.pass(Duration::from_mins(1)).await;
    }
    let TaskState::Failed { failure, .. } = world.store.task(task.id).unwrap().state else {
        panic!("{:?}", world.store.task(task.id));
    };
    assert_eq!(failure.code, FailureCode::AgentLost);
}

#[tokio::test]
async fn a_revoked_agent_that_is_still_connected_starts_no_task_and_is_closed() {
    let start = [
        ("TASK_ACK", json!({ "accepted": true })),
        ("TASK_PROGRESS", json!({ "progress": 5, "message": "m" })),
        ("TASK_STREAM", json!({ "delta": "x", "seq": 1 })),
    ];
    for (kind, mut payload) in start {
        let world = World::new().await;
        let task = world.dispatched().await;
        payload["taskId"] = json!(task.id);
        payload["attempt"] = json!(1);
        world.revoke(None).await;
        world.out.take_notified();
        let answers = say(&world, &world.router(), kind, payload).await;
        assert!(
            matches!(&answers[..], [CloudMessage::SystemError(error)] if error.code == "BAD_API_KEY"),
            "{kind}: {answers:?}"
        );
        assert_eq!(world.out.closed(), [connection("c")].into(), "{kind}");
        let state = world.store.task(task.id).unwrap().state;
        assert_eq!(state.name(), "dispatched", "{kind}");
        assert!(world.out.take_notified().is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn a_connection_in_band_is_refused_with_its_key_in_any_environment() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    let task = world.run("fix it", "r").await;
    world.dispatch_all().await;
    world.revoke(None).await;
    let result = json!({ "taskId": task.id, "attempt": 1, "result": "done" });
    let body = wire("TASK_COMPLETE", &result, world.time.now());
    world.say_in_band(&world.router(), "c", body).await;
    assert_eq!(
        world.store.task(task.id).unwrap().state.name(),
        "dispatched"
    );
}

#[tokio::test]
async fn an_agent_that_comes_back_with_another_key_keeps_its_task() {
    let world = World::new().await;
    let task = world.dispatched().await;
    let ack = json!({ "taskId": task.id, "attempt": 1, "accepted": true });
    say(&world, &world.router(), "TASK_ACK", ack).await;
    world.revoke(None).await;
    let key = ApiKey::from_random([8; 32]);
    world.add_key(AGENT, &key).await;
    let policy = handshake(&world, &key).await.unwrap();
    world.time.pass(Duration::from_secs(1));
    assert_eq!(open(&world, "d", &policy).await, 200);
    let result = json!({ "taskId": task.id, "attempt": 1, "result": "done" });
    let body = wire("TASK_COMPLETE", &result, world.time.now());
    let message = SocketEvent {
        key_id: Some(key.hash().key_id()),
        ..event("d", true, body)
    };
    world.router().handle(message).await;
    assert_eq!(world.store.task(task.id).unwrap().state.name(), "completed");
}

#[tokio::test]
async fn one_of_two_keys_can_be_revoked_while_the_other_is_in_use() {
    let world = World::new().await;
    let other = ApiKey::from_random([8; 32]);
    world.add_key(AGENT, &other).await;
    world.connect("c").await;
    assert_eq!(world.revoke(Some(&other)).await, None);
    assert!(is_online(&world));
    assert_eq!(handshake(&world, &other).await, Err("BAD_API_KEY"));
    assert!(handshake(&world, &world.key).await.is_ok());
    assert_eq!(world.revoke(Some(&world.key)).await, Some(connection("c")));
    assert!(!is_online(&world));
}

#[tokio::test]
async fn a_replaced_key_is_refused_after_the_overlap_and_not_before() {
    const OVERLAP: Duration = Duration::from_hours(24);
    const MOMENT: Duration = Duration::from_millis(1);
    let world = World::new().await;
    let (agent, hash) = (agent_id(), world.key.hash());
    let until = world.time.now() + OVERLAP + MOMENT;
    let ended = world.store.keys.end_validity(&agent, &hash, until).await;
    ended.unwrap();
    world.time.pass(OVERLAP);
    assert!(handshake(&world, &world.key).await.is_ok());
    let answers = world.authenticate_in_band("c").await;
    assert!(matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if answer.success));
    let gone = event("c", false, String::new());
    world.on_disconnect(&gone).await.unwrap();
    world.time.pass(MOMENT);
    assert_eq!(handshake(&world, &world.key).await, Err("BAD_API_KEY"));
    for name in ["d", "e"] {
        let answers = world.authenticate_in_band(name).await;
        assert!(matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if !answer.success));
    }
    assert!(!is_online(&world));
}

#[tokio::test]
async fn a_key_that_is_revoked_does_not_authenticate_its_bound_connection_again() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    world.revoke(None).await;
    let request = json!({ "agentId": AGENT, "apiKey": world.key.expose(), "version": "1" });
    let body = wire("AUTH_REQUEST", &request, world.time.now());
    let answers = world.say_in_band(&world.router(), "c", body).await;
    assert!(
        matches!(&answers[..], [CloudMessage::SystemError(error)] if error.code == "BAD_API_KEY"),
        "{answers:?}"
    );
    assert!(!is_online(&world));
}
