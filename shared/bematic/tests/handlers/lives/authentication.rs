//! Connections that authenticate in band.

use bematic::{
    agent::ApiKey,
    handlers::{
        connect::{authorize, connect},
        message::MessageRouter,
    },
};
use bematic_protocol::{messages::CloudMessage, time::Clock};
use fake_aws::FailurePoint;
use futures::future::join_all;
use serde_json::json;

use crate::world::{
    AGENT, WS_AUTHORIZER, WS_CONNECT, WS_MESSAGE, World, agent_id, connection, event, wire,
};

const OTHER: &str = "other";

/// Another agent, and its key.
async fn other_agent(world: &World) -> ApiKey {
    world.add_agent(OTHER).await;
    let key = ApiKey::from_random([9; 32]);
    world.add_key(OTHER, &key).await;
    key
}

fn request(world: &World, agent: &str, key: &str) -> String {
    let request = json!({ "agentId": agent, "apiKey": key, "version": "1" });
    wire("AUTH_REQUEST", &request, world.time.now())
}

fn is_confirmation(answer: &CloudMessage) -> bool {
    matches!(answer, CloudMessage::AuthResponse(answer) if answer.success)
}

#[tokio::test]
async fn a_connection_stays_authenticated_in_another_environment() {
    let world = World::new().await;
    let key = other_agent(&world).await;
    world.authenticate_in_band("c").await;
    let own = world.key.expose();
    for (agent, key, code) in [
        (OTHER, key.expose(), Some("ALREADY_AUTHENTICATED")),
        (AGENT, key.expose(), Some("BAD_API_KEY")),
        (AGENT, "no key", Some("BAD_API_KEY")),
        (AGENT, own, None),
    ] {
        let body = request(&world, agent, key);
        let answers = world.say_in_band(&world.router(), "c", body).await;
        match (&answers[..], code) {
            ([CloudMessage::AuthResponse(answer)], None) => assert!(answer.success),
            ([CloudMessage::SystemError(error)], Some(code)) => assert_eq!(error.code, code),
            other => panic!("{other:?}"),
        }
    }
    let agent = world.store.agent(&agent_id()).unwrap();
    assert!(agent.connection.is_some() && world.out.closed().is_empty());
    let record = world.store.connection_of(&connection("c")).unwrap();
    assert_eq!(record.agent_id, Some(agent_id()));
}

#[tokio::test]
async fn of_two_agents_that_claim_a_connection_at_once_one_gets_it() {
    for seed in 0..20 {
        let world = World::new().await;
        let key = other_agent(&world).await;
        world.add_unbound("c").await;
        world.calls.interleave(seed);
        let claims = [(AGENT, world.key.expose()), (OTHER, key.expose())];
        let claims = claims.map(async |(agent, key)| {
            let body = request(&world, agent, key);
            world.router().handle(event("c", false, body)).await;
        });
        join_all(claims).await;
        let answers = world.out.take_sent();
        let confirmations = answers.iter().filter(|(_, answer)| is_confirmation(answer));
        assert_eq!(confirmations.count(), 1, "{answers:?}");
        let owner = world
            .store
            .connection_of(&connection("c"))
            .unwrap()
            .agent_id;
        for agent in [agent_id(), OTHER.parse().unwrap()] {
            let bound = world.store.agent(&agent).unwrap().connection.is_some();
            assert_eq!(bound, owner == Some(agent), "seed {seed}");
        }
        assert!(world.out.closed().is_empty());
    }
}

#[tokio::test]
async fn authenticating_again_makes_up_for_a_failure_at_any_call() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let world = World::new().await;
            let task = world.run("fix it", "r").await.id;
            world.dispatch_all().await;
            world.add_unbound("c").await;
            let body = request(&world, AGENT, world.key.expose());
            world.calls.fail(n, when);
            world.say_in_band(&world.router(), "c", body.clone()).await;
            if world.calls.unused_failure() {
                break;
            }
            let answers = world.say_in_band(&world.router(), "c", body).await;
            assert!(
                answers.iter().any(is_confirmation),
                "call {n} ({when:?}): {answers:?}"
            );
            world.dispatch_all().await;
            let state = world.store.task(task).unwrap().state;
            assert_eq!(state.name(), "dispatched", "call {n} ({when:?})");
        }
    }
}

#[tokio::test]
async fn an_agent_that_comes_back_before_its_connection_has_ended_takes_its_place() {
    let world = World::new().await;
    world.authenticate_in_band("old").await;
    world.calls.take();
    let answers = world.authenticate_in_band("new").await;
    assert!(answers.iter().any(is_confirmation));
    assert_eq!(
        world.calls.take()[2..],
        [
            "TransactWriteItems AgentsTable KeysTable",
            "BatchGetItem AgentsTable KeysTable",
            "TransactWriteItems AgentsTable",
            "DeleteConnection old",
            "PostToConnection new",
            "SendMessage DispatchQueue"
        ]
    );
    let agent = world.store.agent(&agent_id()).unwrap();
    assert_eq!(agent.connection.unwrap().id, connection("new"));
    assert!(world.out.closed().contains(&connection("old")));
}

#[tokio::test]
async fn a_deployment_without_authentication_in_band_binds_no_connection_without_a_key() {
    let world = World::new().await;
    // The connection was opened before the deployment changed.
    world.add_unbound("c").await;
    world.calls.take();
    let ports = |function| world.ports_with(function, &[("IN_BAND_AUTHENTICATION", "false")]);
    let authorizer = ports(WS_AUTHORIZER);
    let handshake = |headers| {
        let event = json!({ "methodArn": "arn:x/$connect", "headers": headers });
        serde_json::from_value(event).unwrap()
    };
    let refusal = authorize(&authorizer, &handshake(json!({})))
        .await
        .unwrap_err();
    let code = "IN_BAND_AUTHENTICATION_OFF";
    assert_eq!((refusal.code, refusal.text), (code, "Unauthorized"));
    let unbound = event("new", false, String::new());
    let answer = connect(&ports(WS_CONNECT), &unbound).await;
    assert_eq!(answer["statusCode"], 401);
    let body = request(&world, AGENT, world.key.expose());
    let router = MessageRouter::new(ports(WS_MESSAGE));
    let answers = world.say_in_band(&router, "c", body).await;
    assert!(
        matches!(&answers[..], [CloudMessage::AuthResponse(answer)] if !answer.success),
        "{answers:?}"
    );
    assert!(world.out.closed().contains(&connection("c")));
    assert_eq!(world.store.agent(&agent_id()).unwrap().connection, None);
    assert_eq!(
        world.calls.take(),
        ["PostToConnection c", "DeleteConnection c"]
    );
    let header = format!("Bearer {}", world.key.expose());
    let with_key = json!({ "Authorization": header, "X-Agent-Id": AGENT });
    assert!(authorize(&authorizer, &handshake(with_key)).await.is_ok());
}

#[tokio::test]
async fn an_ended_connection_is_not_bound_again_by_a_late_auth_request() {
    let world = World::new().await;
    world.authenticate_in_band("c").await;
    let gone = event("c", false, String::new());
    let ended = world.on_disconnect(&gone).await;
    ended.unwrap();
    let body = request(&world, AGENT, world.key.expose());
    world.say_in_band(&world.router(), "c", body).await;
    assert_eq!(world.store.agent(&agent_id()).unwrap().connection, None);
}
