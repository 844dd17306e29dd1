//! The repository of agents: their records, their keys, and the lease on dispatching their queues.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
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
    keys::{self, Key},
    table::{Item, Record, Refusal, Table, attributes, failed, number, read, retry, text},
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

    pub(super) fn update(&self, key: Key) -> UpdateItemFluentBuilder {
        self.agents
            .client
            .update_item()
            .table_name(&self.agents.name)
            .key("pk", text(key.pk))
            .key("sk", text(key.sk))
    }
}

impl Record for Agent {
    type Id = AgentId;
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
        let found = self
            .agents
            .client
            .query()
            .table_name(&self.agents.name)
            .key_condition_expression("pk = :agent AND begins_with(sk, :key)")
            .expression_attribute_values(":agent", text(keys::agent(agent).pk))
            .expression_attribute_values(":key", text("KEY#"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(|error| failed("Query", error))?;
        let deletions = found.iter().map(|item| {
            let delete = self
                .agents
                .client
                .delete_item()
                .table_name(&self.agents.name);
            let key = |name: &str| {
                item.get(name)
                    .cloned()
                    .unwrap_or(AttributeValue::Null(true))
            };
            delete.key("pk", key("pk")).key("sk", key("sk")).send()
        });
        try_join_all(deletions)
            .await
            .map_err(|error| failed("DeleteItem", error))?;
        Ok(found.len())
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
        let update = self
            .update(key.clone())
            .update_expression("REMOVE #drain")
            .condition_expression("#drain.holder = :me AND drainRequests = :requests")
            .expression_attribute_names("#drain", "drain")
            .expression_attribute_values(":me", text(&lease.holder))
            .expression_attribute_values(":requests", number(requests))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match retry(|| update.clone().send(), "UpdateItem").await {
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
        let update = self
            .update(key.clone())
            .update_expression("SET #drain = :lease")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(#drain) \
                 OR #drain.#until < :now OR #drain.holder = :me)",
            )
            .expression_attribute_names("#drain", "drain")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":lease", map(lease)?)
            .expression_attribute_values(":me", text(&lease.holder))
            .expression_attribute_values(":now", number(now.as_millis()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(answer) => {
                let agent = read(answer.attributes.unwrap_or_default(), &key)?;
                Ok(Acquisition::Acquired(Box::new(agent)))
            }
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
        let update = self
            .update(keys::agent(agent))
            .update_expression("ADD drainRequests :one")
            .condition_expression("#drain.#until >= :now")
            .expression_attribute_names("#drain", "drain")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now.as_millis()));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) => Ok(true),
            Err(Refusal::Condition(_)) => Ok(false),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}

/// Returns a value as an attribute, such as a map for a struct.
pub(super) fn map<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| StoreError::Unwritable {
        source: Box::new(error),
    })
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
        let query = table.client.query().table_name(&table.name);
        query
            .index_name("list")
            .key_condition_expression("listPk = :shard")
            .expression_attribute_values(":shard", text(keys::shard(kind, shard)))
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
