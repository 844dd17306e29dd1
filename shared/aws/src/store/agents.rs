//! The repository of agents: their records, their keys, and the lease on dispatching their queues.

use async_trait::async_trait;
use aws_sdk_dynamodb::{Client, types::ReturnValue};
use bematic::{
    agent::{Agent, DispatchLease, KeyHash},
    error::StoreError,
    ports::{Acquisition, Agents, Created, DispatchLeases, Released},
};
use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    batch_get::key_of,
    expression::Expression,
    item::{Item, Record, attributes, map, number, read, text},
    keys::{self, Key},
    table::{Refusal, Table, failed},
};

/// Agents in DynamoDB.
#[derive(Debug, Clone)]
pub struct AgentStore {
    pub(super) agents: Table,
}

impl AgentStore {
    /// Creates the repository on the agents table.
    pub const fn new(client: Client, agents: String) -> Self {
        Self {
            agents: Table::new(client, agents),
        }
    }
}

impl Record for Agent {
    type Id = AgentId;
    const FIELDS: &'static [&'static str] = &[
        "active",
        "activeAt",
        "agentVersion",
        "announced",
        "availability",
        "capacity",
        "connection",
        "connection.boundAt",
        "connection.doubtedAt",
        "connection.echoedAt",
        "connection.id",
        "connection.pingedAt",
        "connection.spelling",
        "drain",
        "drain.holder",
        "drain.until",
        "drainRequests",
        "gate",
        "gate.generation",
        "held",
        "lastSeen",
    ];
    fn key(id: &AgentId) -> Key {
        keys::agent(id)
    }
}

/// The record of an API key. A key is valid while its record exists.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    created_at: Timestamp,
}

impl Record for StoredKey {
    type Id = (AgentId, KeyHash);
    fn key((agent, hash): &Self::Id) -> Key {
        keys::api_key(agent, hash.as_str())
    }
}

#[async_trait]
impl Agents for AgentStore {
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        self.agents.find(id).await
    }

    async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        let mut agents: Vec<Agent> = list(&self.agents, "AGENTS").await?;
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(agents)
    }

    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError> {
        let index = listed("AGENTS", agent.id.as_str());
        Ok(
            match self.agents.put_if_absent(&agent.id, agent, index).await? {
                Created::New => Created::New,
                Created::Existing(_) => Created::Existing(()),
            },
        )
    }

    async fn add_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = (agent.clone(), key.clone());
        self.agents
            .put(&id, &StoredKey { created_at: now }, Item::new())
            .await
    }

    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError> {
        let id = (agent.clone(), key.clone());
        Ok(self.agents.find::<StoredKey>(&id).await?.is_some())
    }

    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let partition = keys::agent(agent).pk;
        let prefix = [(":agent", partition.as_str()), (":key", "KEY#")];
        let found = self
            .agents
            .query("pk = :agent AND begins_with(sk, :key)", prefix)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(|error| failed("Query", error))?;
        let deletions = found
            .iter()
            .map(async |item| self.agents.remove(&key_of(item)?).await);
        Ok(try_join_all(deletions).await?.len())
    }
}

#[async_trait]
impl DispatchLeases for AgentStore {
    async fn acquire(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> Result<Acquisition, StoreError> {
        // If the holder ends its lease between the two calls, the first call can take it.
        for _ in 0..5 {
            match self.take_lease(agent, lease, now).await? {
                Acquisition::Requested if !self.request_another_pass(agent, now).await? => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(Acquisition::Requested)
    }

    async fn release(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        requests: u64,
    ) -> Result<Released, StoreError> {
        let key = keys::agent(agent);
        let change = Expression::on::<Agent>()
            .update("REMOVE drain")
            .when("drain.holder = :me AND drainRequests = :requests")
            .value(":me", text(&lease.holder))
            .value(":requests", number(requests));
        match self.agents.update(&key, change, ReturnValue::None).await {
            Ok(_) => Ok(Released::Done),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Condition(item)) if item.is_empty() => Ok(Released::Done),
            Err(Refusal::Condition(item)) => {
                let agent: Agent = read(item, &key)?;
                let is_held = agent
                    .dispatch_lease
                    .as_ref()
                    .is_some_and(|held| held.holder == lease.holder);
                Ok(if is_held {
                    Released::RequestedAgain(Box::new(agent))
                } else {
                    Released::Done
                })
            }
        }
    }
}

impl AgentStore {
    async fn take_lease(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> Result<Acquisition, StoreError> {
        let key = keys::agent(agent);
        let change = Expression::on::<Agent>()
            .update("SET drain = :lease")
            .when("attribute_exists(pk)")
            .when("(attribute_not_exists(drain) OR drain.until < :now OR drain.holder = :me)")
            .value(":lease", map(lease)?)
            .value(":me", text(&lease.holder))
            .value(":now", number(now.as_millis()));
        match self.agents.update(&key, change, ReturnValue::AllNew).await {
            Ok(item) => Ok(Acquisition::Acquired(Box::new(read(item, &key)?))),
            Err(Refusal::Condition(item)) if item.is_empty() => Ok(Acquisition::NoAgent),
            Err(Refusal::Condition(_)) => Ok(Acquisition::Requested),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    /// Requests that the holder of the lease read the queue once more before it ends the lease.
    /// Returns false if nobody holds the lease.
    async fn request_another_pass(
        &self,
        agent: &AgentId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let change = Expression::on::<Agent>()
            .update("ADD drainRequests :one")
            .when("drain.until >= :now")
            .value(":one", number(1))
            .value(":now", number(now.as_millis()));
        self.agents.update_if(&keys::agent(agent), change).await
    }
}

/// Returns the attributes that put a record into the index `list`.
pub(super) fn listed(kind: &str, name: &str) -> Item {
    attributes([
        ("listPk", text(keys::list(kind, name))),
        ("listSk", text(name)),
    ])
}

/// Returns all records of a kind. The index `list` has their keys; the records are read by key.
pub(super) async fn list<R: Record>(table: &Table, kind: &str) -> Result<Vec<R>, StoreError> {
    let shards = (0..keys::SHARDS).map(|shard| {
        let partition = keys::shard(kind, shard);
        let query = table.query("listPk = :shard", [(":shard", &partition)]);
        query
            .index_name("list")
            .into_paginator()
            .items()
            .send()
            .try_collect()
    });
    let shards: Vec<Vec<Item>> = try_join_all(shards)
        .await
        .map_err(|error| failed("Query", error))?;
    let keys: Vec<Key> = shards
        .iter()
        .flatten()
        .map(key_of)
        .collect::<Result<_, _>>()?;
    let found = table.find_all(&keys).await?;
    Ok(found.into_values().collect())
}
