//! API keys: the store of keys on an in-memory DynamoDB, which decides its conditions.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use bematic::{
    agent::{Agent, ApiKey, Binding, StoredKey},
    ports::{Agents, ApiKeys, BindOutcome, Connections},
};
use bematic_aws::store::{AgentStore, KeyStore};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use fake_aws::{Failure, FailurePoint, FakeAws, Template};

const BEGIN: u64 = 1_700_000_000_000;
const HOUR: u64 = 60 * 60 * 1000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN + millis)
}

fn agent() -> AgentId {
    "a".parse().unwrap()
}

fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

fn key(n: u8) -> ApiKey {
    ApiKey::from_random([n; 32])
}

fn binding(name: &str, millis: u64, key: &ApiKey) -> Binding {
    Binding {
        key_id: Some(key.hash().key_id()),
        ..Binding::new(connection(name), at(millis), None)
    }
}

struct Stored {
    aws: FakeAws,
    agents: AgentStore,
    keys: KeyStore,
}

impl Stored {
    /// The agent `a` with the keys 1 and 2.
    async fn new() -> Self {
        let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
        let aws = FakeAws::new(&template, Arc::new(|| BEGIN));
        let client = Client::new(&aws.sdk_config());
        let agents = AgentStore::new(client.clone(), "AgentsTable".to_owned());
        let keys = Some("KeysTable".to_owned());
        let keys = KeyStore::new(client, keys, "AgentsTable".to_owned());
        agents.create(&Agent::new(agent(), at(0))).await.unwrap();
        for n in [1, 2] {
            let added = keys.add(&agent(), &key(n).hash(), at(n.into())).await;
            assert!(added.unwrap());
        }
        Self { aws, agents, keys }
    }

    async fn agent(&self) -> Agent {
        self.agents.find(&agent()).await.unwrap().unwrap()
    }

    async fn bind(&self, binding: &Binding) -> BindOutcome {
        self.agents.bind(&agent(), binding).await.unwrap()
    }

    async fn list(&self) -> Vec<StoredKey> {
        self.keys.list(&agent()).await.unwrap()
    }

    async fn is_valid(&self, n: u8, millis: u64) -> bool {
        let (agent, hash) = (agent(), key(n).hash());
        let valid = self.keys.has_valid_key(&agent, &hash, at(millis)).await;
        valid.unwrap()
    }

    /// Revokes these keys; without any, all. Returns the connection that was unbound.
    async fn revoke(&self, revoked: &[u8], millis: u64) -> Option<ConnectionId> {
        let outcome = self.try_revoke(revoked, millis).await;
        outcome.unwrap().unwrap().unbound
    }

    async fn try_revoke(
        &self,
        revoked: &[u8],
        millis: u64,
    ) -> Result<Option<bematic_aws::store::RevocationOutcome>, bematic::error::StoreError> {
        let mut keys = self.keys.list(&agent()).await?;
        let hashes: Vec<_> = revoked.iter().map(|n| key(*n).hash()).collect();
        let all = revoked.is_empty();
        keys.retain(|it| all || hashes.contains(&it.hash));
        self.keys.revoke(&agent(), &keys, all, at(millis)).await
    }
}

fn bound() -> BindOutcome {
    BindOutcome::Current { replaced: None }
}

#[tokio::test]
async fn a_revoked_key_ends_its_connection_and_binds_no_other() {
    let stored = Stored::new().await;
    assert_eq!(stored.bind(&binding("c", 5, &key(1))).await, bound());
    assert_eq!(stored.revoke(&[1], 10).await, Some(connection("c")));
    let agent = stored.agent().await;
    assert_eq!((agent.connection, agent.last_seen), (None, Some(at(10))));
    assert!(!stored.is_valid(1, 10).await && stored.is_valid(2, 10).await);
    let again = binding("d", 11, &key(1));
    assert_eq!(stored.bind(&again).await, BindOutcome::Revoked);
    let read = stored.agent().await;
    let in_band = stored.agents.bind_in_band(&read, &again).await;
    assert_eq!(in_band.unwrap(), BindOutcome::Revoked);
    let record = stored.agents.find_in_band(&connection("d")).await.unwrap();
    assert_eq!(record, None, "all of the transaction or nothing");
    let hash = key(1).hash();
    let unread = stored.keys.bind_unread(&agent.id, &hash, &again).await;
    assert!(!unread.unwrap());
    assert_eq!(stored.bind(&binding("e", 12, &key(2))).await, bound());
    assert_eq!(stored.revoke(&[1], 13).await, None, "twice");
    assert_eq!(stored.agent().await.connection.unwrap().id, connection("e"));
}

#[tokio::test]
async fn revoking_a_key_leaves_a_connection_of_another_key_alone() {
    let stored = Stored::new().await;
    stored.bind(&binding("c", 5, &key(1))).await;
    assert_eq!(stored.revoke(&[2], 10).await, None);
    assert_eq!(stored.agent().await.connection.unwrap().id, connection("c"));
    assert!(stored.is_valid(1, 10).await && !stored.is_valid(2, 10).await);
}

#[tokio::test]
async fn revoking_all_keys_ends_any_connection_of_the_agent() {
    for with in [Some(key(1)), None, Some(key(9))] {
        let stored = Stored::new().await;
        let of_key = with.as_ref().map(|key| key.hash().key_id());
        let binding = Binding {
            key_id: of_key.clone(),
            ..Binding::new(connection("c"), at(5), None)
        };
        stored.bind(&binding).await;
        assert_eq!(stored.revoke(&[], 10).await, Some(connection("c")));
        assert_eq!(stored.list().await, []);
        if let Some(id) = of_key {
            assert!(stored.agent().await.revoked_keys.contains_key(&id));
        }
    }
}

#[tokio::test]
async fn a_failure_at_any_call_of_a_revocation_is_made_up_for_by_a_repetition() {
    for when in [FailurePoint::Before, FailurePoint::After] {
        for n in 0.. {
            let stored = Stored::new().await;
            stored.bind(&binding("c", 5, &key(1))).await;
            let failures = stored.aws.planned_failures();
            failures.arm(n, when, Failure::Connection);
            let first = stored.try_revoke(&[1], 10).await;
            if !failures.take_unused().is_empty() {
                assert!(n > 2, "{n} calls");
                break;
            }
            assert!(first.is_err(), "call {n} ({when:?})");
            // What was revoked is listed until it is revoked everywhere.
            stored.revoke(&[1], 11).await;
            assert_eq!(stored.agent().await.connection, None, "call {n} ({when:?})");
            assert!(!stored.is_valid(1, 12).await, "call {n} ({when:?})");
            let outcome = stored.bind(&binding("d", 12, &key(1))).await;
            assert_eq!(outcome, BindOutcome::Revoked, "call {n} ({when:?})");
        }
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_known_until_the_key_is_revoked() {
    let stored = Stored::new().await;
    let id = |n| key(n).hash().key_id();
    stored.bind(&binding("c", 5, &key(1))).await;
    stored.bind(&binding("d", 7, &key(2))).await;
    stored.bind(&binding("e", 9, &key(1))).await;
    let uses = stored.agent().await.key_uses;
    assert_eq!(uses, [(id(1), at(9)), (id(2), at(7))].into());
    stored.revoke(&[1], 10).await;
    assert_eq!(stored.agent().await.key_uses, [(id(2), at(7))].into());
}

#[tokio::test]
async fn a_revocation_is_forgotten_once_no_connection_with_the_key_can_be_left() {
    let stored = Stored::new().await;
    let id = |n| key(n).hash().key_id();
    stored.revoke(&[1], 0).await;
    stored.revoke(&[2], 4 * HOUR).await;
    let revoked = stored.agent().await.revoked_keys;
    assert_eq!(revoked, [(id(2), at(4 * HOUR))].into());
    // The key comes back into its table, as if it had not been deleted: it stays revoked.
    stored
        .keys
        .add(&agent(), &key(2).hash(), at(5 * HOUR))
        .await
        .unwrap();
    stored
        .keys
        .add(&agent(), &key(3).hash(), at(5 * HOUR))
        .await
        .unwrap();
    stored.revoke(&[3], 9 * HOUR).await;
    assert!(stored.agent().await.revoked_keys.contains_key(&id(2)));
}

#[tokio::test]
async fn a_key_is_refused_from_the_end_of_its_validity_on() {
    let stored = Stored::new().await;
    let (agent_id, old) = (agent(), key(1));
    let hash = old.hash();
    let end = async |millis| {
        let ended = stored.keys.end_validity(&agent_id, &hash, at(millis)).await;
        ended.unwrap();
    };
    end(1000).await;
    end(2000).await;
    assert_eq!(
        stored.list().await[0].valid_until,
        Some(at(1000)),
        "the earlier"
    );
    assert!(stored.is_valid(1, 999).await && !stored.is_valid(1, 1000).await);
    assert!(stored.is_valid(2, 1000).await);
    let bind = async |name: &str, millis| {
        let id = connection(name);
        stored.agents.add_unbound(&id, at(millis)).await.unwrap();
        let binding = binding(name, millis, &old);
        let bound = stored.keys.bind_unread(&agent_id, &hash, &binding).await;
        bound.unwrap()
    };
    assert!(!bind("late", 1000).await);
    let look_up = async |millis| {
        let late = connection("late");
        let found = stored
            .keys
            .find_with_agent(&late, &agent_id, &hash, at(millis))
            .await;
        found.unwrap().1.is_some()
    };
    assert!(look_up(999).await && !look_up(1000).await);
    assert!(bind("early", 999).await);
}

#[tokio::test]
async fn a_key_that_was_revoked_does_not_come_back_with_a_rotation() {
    let stored = Stored::new().await;
    stored.revoke(&[1], 10).await;
    let (agent_id, hash) = (agent(), key(1).hash());
    let ended = stored.keys.end_validity(&agent_id, &hash, at(HOUR)).await;
    ended.unwrap();
    assert_eq!(stored.list().await.len(), 1);
    assert!(!stored.is_valid(1, 11).await);
}

#[tokio::test]
async fn a_function_without_the_table_of_keys_authenticates_nobody() {
    let stored = Stored::new().await;
    let client = Client::new(&stored.aws.sdk_config());
    let keys = KeyStore::new(client, None, "AgentsTable".to_owned());
    let (agent_id, hash) = (agent(), key(1).hash());
    assert!(keys.has_valid_key(&agent_id, &hash, at(1)).await.is_err());
    let binding = binding("c", 2, &key(1));
    assert!(keys.bind_unread(&agent_id, &hash, &binding).await.is_err());
    let nobody = "nobody".parse().unwrap();
    assert!(!stored.keys.add(&nobody, &hash, at(1)).await.unwrap());
}
