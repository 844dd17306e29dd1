//! Circuit breakers: one item an agent with a version, and what it lets through in the agent's
//! record.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use backon::BackoffBuilder as _;
use futures::future::try_join_all;

use super::{
    agents::AgentStore,
    keys::{self, Key},
    table::{Item, Record, Refusal, Transacted, backoff, failed, number, read, retry, text},
    transition::turn_breaker,
};
use crate::{
    breaker::Breaker,
    error::StoreError,
    ids::AgentId,
    ports::{Breakers, Turn, Written},
};

/// Items that DynamoDB gets in one call.
const GOT_AT_ONCE: usize = 100;

impl Record for Breaker {
    type Id = AgentId;
    fn key(id: &AgentId) -> Key {
        keys::breaker(id)
    }
}

#[async_trait]
impl Breakers for AgentStore {
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        Ok(self.agents.find(agent).await?.unwrap_or_default())
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let calls = agents
            .chunks(GOT_AT_ONCE)
            .map(|some| self.get_breakers(some));
        let found: HashMap<_, _> = try_join_all(calls).await?.into_iter().flatten().collect();
        let of = |agent| found.get(&keys::breaker(agent).pk).cloned();
        Ok(agents
            .iter()
            .map(|agent| of(agent).unwrap_or_default())
            .collect())
    }

    async fn turn(&self, agent: &AgentId, turn: Turn<'_>) -> Result<Written, StoreError> {
        if turn.before == turn.after {
            return Ok(Written::Done);
        }
        let writes = turn_breaker(&self.agents.name, agent, turn)?;
        Ok(match self.agents.transact(writes).await? {
            Transacted::Done => Written::Done,
            Transacted::Refused(_) => Written::Conflict,
        })
    }

    async fn announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError> {
        let update = self
            .update(keys::agent(agent))
            .update_expression("SET announced = :generation")
            .condition_expression(
                "attribute_exists(pk) \
                 AND (attribute_not_exists(announced) OR announced < :generation)",
            )
            .expression_attribute_values(":generation", number(generation));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) | Err(Refusal::Condition(_)) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}

impl AgentStore {
    /// By partition. What DynamoDB leaves over is asked for again.
    async fn get_breakers(&self, agents: &[AgentId]) -> Result<Vec<(String, Breaker)>, StoreError> {
        let mut found = Vec::new();
        let mut wanted: Vec<Item> = agents
            .iter()
            .map(|agent| {
                let Key { pk, sk } = keys::breaker(agent);
                Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
            })
            .collect();
        for pause in backoff().build() {
            let keys = KeysAndAttributes::builder()
                .consistent_read(true)
                .set_keys(Some(wanted));
            let keys = keys.build();
            let keys = keys.map_err(|error| StoreError::Unwritable {
                source: Box::new(error),
            })?;
            let call = self.agents.client.batch_get_item();
            let answer = call
                .request_items(&self.agents.name, keys)
                .send()
                .await
                .map_err(|error| failed("BatchGetItem", error))?;
            for item in answer
                .responses
                .into_iter()
                .flat_map(HashMap::into_values)
                .flatten()
            {
                let pk = item.get("pk").and_then(|pk| pk.as_s().ok().cloned());
                let pk = pk.unwrap_or_default();
                let key = Key {
                    pk: pk.clone(),
                    sk: String::new(),
                };
                found.push((pk, read(item, &key)?));
            }
            let left = answer.unprocessed_keys.unwrap_or_default();
            wanted = left.into_values().flat_map(|left| left.keys).collect();
            if wanted.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
        }
        Err(StoreError::Call {
            operation: "BatchGetItem",
            source: "it keeps leaving out items".into(),
        })
    }
}
