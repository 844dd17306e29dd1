//! Agents that authenticate in band: the store of agents on an in-memory DynamoDB, which decides its
//! conditions.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use bematic::{
    agent::{Agent, ApiKey, Binding, KeyHash},
    ports::{Agents, ApiKeys, BindOutcome, Connections, Presence, UnbindOutcome},
};
use bematic_aws::store::{AgentStore, KeyStore};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::TypeSpelling,
    time::Timestamp,
};
use fake_aws::{FakeAws, Template};

const BEGIN: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN + millis)
}

fn agent() -> AgentId {
    "a".parse().unwrap()
}

struct Stored {
    aws: FakeAws,
    agents: AgentStore,
    keys: KeyStore,
}

impl Stored {
    /// The agent `a` on connection `c`.
    async fn new() -> Self {
        let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
        let aws = FakeAws::new(&template, Arc::new(|| BEGIN));
        let client = Client::new(&aws.sdk_config());
        let agents = AgentStore::new(client.clone(), "AgentsTable".to_owned());
        let keys = Some("KeysTable".to_owned());
        let keys = KeyStore::new(client, keys, "AgentsTable".to_owned());
        agents.create(&Agent::new(agent(), at(0))).await.unwrap();
        let binding = Binding::new(connection("c"), at(0), None);
        agents.bind(&agent(), &binding).await.unwrap();
        Self { aws, agents, keys }
    }
}

fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

fn binding(name: &str, millis: u64) -> Binding {
    Binding::new(connection(name), at(millis), Some(TypeSpelling::default()))
}

async fn found(stored: &Stored) -> Agent {
    stored.agents.find(&agent()).await.unwrap().unwrap()
}

/// Checks that a connection is bound, and has replaced this one.
fn assert_in_place_of(older: &str, bound: &BindOutcome) {
    let replaced = match bound {
        BindOutcome::Current { replaced } => replaced.as_ref(),
        _ => None,
    };
    let replaced = replaced.unwrap();
    assert_eq!(replaced.binding.id, connection(older));
    assert_eq!(replaced.last_seen, Some(replaced.binding.bound_at));
}

#[tokio::test]
async fn who_comes_in_place_of_another_is_looked_up_and_bound_in_two_calls() {
    let stored = Stored::new().await;
    let new = connection("new");
    let (key, other) = (ApiKey::from_random([1; 32]), ApiKey::from_random([2; 32]));
    let (agent_id, hash) = (agent(), key.hash());
    assert!(stored.keys.add(&agent_id, &hash, at(0)).await.unwrap());
    stored.agents.add_unbound(&new, at(1)).await.unwrap();
    stored.aws.calls().take();

    let look_up = async |key: &ApiKey| {
        let found = stored
            .keys
            .find_with_agent(&new, &agent(), &key.hash(), at(2))
            .await;
        found.unwrap()
    };
    let (connection, found) = look_up(&key).await;
    let agent = found.unwrap();
    assert_eq!(connection.unwrap().agent_id, None);
    let bound = stored.agents.bind_in_band(&agent, &binding("new", 2)).await;
    assert_in_place_of("c", &bound.unwrap());
    assert_eq!(stored.aws.calls().take().len(), 2);

    let (connection, found) = look_up(&other).await;
    assert_eq!(found, None, "the key is not the agent's");
    let connection = connection.unwrap();
    assert_eq!(connection.agent_id, Some(agent.id));
    assert_eq!(connection.spelling, Some(TypeSpelling::default()));
    let unbound = stored
        .agents
        .overdue_unauthenticated_connections(at(60_000), 10)
        .await;
    assert_eq!(unbound.unwrap(), []);
}

#[tokio::test]
async fn an_unbound_connection_is_bound_in_one_call_if_the_agent_has_none() {
    let stored = Stored::new().await;
    let (agent_id, key) = (agent(), ApiKey::from_random([1; 32]));
    let (hash, wrong) = (key.hash(), ApiKey::from_random([2; 32]).hash());
    assert!(stored.keys.add(&agent_id, &hash, at(0)).await.unwrap());
    stored
        .agents
        .add_unbound(&connection("new"), at(1))
        .await
        .unwrap();
    let bind = async |name: &str, key: &KeyHash| {
        let binding = binding(name, 2);
        let bound = stored.keys.bind_unread(&agent_id, key, &binding).await;
        bound.unwrap()
    };
    assert!(!bind("new", &hash).await, "it is on another");
    let leave = async |name: &str| {
        let name = connection(name);
        stored.agents.unbind(&agent_id, &name, at(2)).await.unwrap()
    };
    assert_eq!(leave("c").await, UnbindOutcome::Offline(agent_id.clone()));
    assert!(!bind("new", &wrong).await, "the key is not the agent's");
    assert_eq!(found(&stored).await.connection, None);
    stored.aws.calls().take();
    assert!(bind("new", &hash).await);
    assert_eq!(stored.aws.calls().take().len(), 1);
    assert_eq!(found(&stored).await.connection, Some(binding("new", 2)));
    let record = stored
        .agents
        .find_in_band(&connection("new"))
        .await
        .unwrap();
    assert_eq!(record.unwrap().agent_id, Some(agent_id.clone()));
    // Over a connection that has ended.
    assert_eq!(leave("new").await, UnbindOutcome::Offline(agent_id.clone()));
    assert!(!bind("new", &hash).await);
}

#[tokio::test]
async fn a_connection_is_bound_as_its_agent_is_by_then() {
    let stored = Stored::new().await;
    let read = found(&stored).await;
    let meanwhile = stored.agents.bind(&agent(), &binding("meanwhile", 5)).await;
    assert_in_place_of("c", &meanwhile.unwrap());

    // An older one does not take the newer one's place.
    let bind = async |binding| stored.agents.bind_in_band(&read, &binding).await.unwrap();
    assert_eq!(bind(binding("older", 4)).await, BindOutcome::Replaced);
    let older = stored.agents.find_in_band(&connection("older")).await;
    assert_eq!(older.unwrap(), None);

    assert_in_place_of("meanwhile", &bind(binding("newer", 6)).await);
    let same = BindOutcome::Current { replaced: None };
    assert_eq!(bind(binding("newer", 6)).await, same, "twice");
    assert_eq!(
        found(&stored).await.connection.unwrap().id,
        connection("newer")
    );

    let nobody = Agent::new("b".parse().unwrap(), at(0));
    let bound = stored.agents.bind_in_band(&nobody, &binding("x", 7)).await;
    assert_eq!(bound.unwrap(), BindOutcome::NoAgent);

    let other = Agent::new("other".parse().unwrap(), at(0));
    stored.agents.create(&other).await.unwrap();
    let bound = stored
        .agents
        .bind_in_band(&other, &binding("newer", 8))
        .await;
    assert_eq!(bound.unwrap(), BindOutcome::Taken);
    let other = stored.agents.find(&other.id).await.unwrap().unwrap();
    assert_eq!(other.connection, None);
}

#[tokio::test]
async fn only_an_unbound_connection_is_removed() {
    let stored = Stored::new().await;
    let read = found(&stored).await;
    let forget = async |name: &str| {
        stored
            .agents
            .remove_unbound(&connection(name))
            .await
            .unwrap()
    };
    stored
        .agents
        .add_unbound(&connection("x"), at(1))
        .await
        .unwrap();
    assert!(forget("x").await && forget("x").await, "twice");
    let known = stored.agents.find_in_band(&connection("x")).await.unwrap();
    assert_eq!(known, None);
    let bound = stored.agents.bind_in_band(&read, &binding("y", 2)).await;
    assert_in_place_of("c", &bound.unwrap());
    assert!(!forget("y").await);
    let known = stored.agents.find_in_band(&connection("y")).await.unwrap();
    assert_eq!(known.unwrap().agent_id, Some(agent()));
}
