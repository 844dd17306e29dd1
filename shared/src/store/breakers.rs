//! Circuit breakers: one item an agent with a version, and what it lets through in the agent's
//! record.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use backon::BackoffBuilder as _;
use futures::{future::try_join_all, try_join};

use super::{
    agents::AgentStore,
    keys::{self, Key},
    table::{Item, Record, Refusal, Transacted, backoff, failed, number, read, retry, text},
    transition::turn_breaker,
};
use crate::{
    breaker::{Breaker, Window},
    error::StoreError,
    ids::AgentId,
    ports::{Breakers, Turn, Written},
    time::Timestamp,
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
        let (breaker, successes) =
            try_join!(self.agents.find::<Breaker>(agent), self.successes(agent))?;
        Ok(breaker.unwrap_or_default().with_logged(successes))
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let calls = agents
            .chunks(GOT_AT_ONCE)
            .map(|some| self.get_breakers(some));
        let successes = agents.iter().map(|agent| self.successes(agent));
        let (found, successes) = try_join!(try_join_all(calls), try_join_all(successes))?;
        let found: HashMap<_, _> = found.into_iter().flatten().collect();
        let of = |agent| found.get(&keys::breaker(agent).pk).cloned();
        let with = |(agent, successes)| {
            let breaker: Breaker = of(agent).unwrap_or_default();
            breaker.with_logged(successes)
        };
        Ok(agents.iter().zip(successes).map(with).collect())
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
    /// The newest of those that were counted without reading the breaker: as many as a window holds.
    async fn successes(&self, agent: &AgentId) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let prefix = keys::successes(agent);
        let answer = self
            .agents
            .client
            .query()
            .table_name(&self.agents.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(&prefix.pk))
            .expression_attribute_values(":prefix", text(&prefix.sk))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(Window::KEPT).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| failed("Query", error))?;
        let items = answer.items.unwrap_or_default();
        let success = |item: &Item| {
            let sk = item.get("sk")?.as_s().ok()?;
            let (at, id) = sk.strip_prefix(&prefix.sk)?.split_once('#')?;
            Some((id.to_owned(), Timestamp::from_millis(at.parse().ok()?)))
        };
        let corrupt = || StoreError::Corrupt {
            key: prefix.to_string(),
            source: "a success without its time".into(),
        };
        let all = items.iter().map(|item| success(item).ok_or_else(corrupt));
        all.collect()
    }

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
