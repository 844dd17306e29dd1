//! Circuit breakers: one item an agent with a version, and what it lets through in the agent's
//! record.

use async_trait::async_trait;
use futures::{future::try_join_all, try_join};

use super::{
    agents::AgentStore,
    keys::{self, Key},
    table::{Item, Record, Refusal, Transacted, failed, number, retry, text},
    transition::turn_breaker,
};
use crate::{
    breaker::{Breaker, Window},
    error::StoreError,
    ids::AgentId,
    ports::{Breakers, Turn, Written},
    time::Timestamp,
};

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
        let keys: Vec<_> = agents.iter().map(keys::breaker).collect();
        let successes = agents.iter().map(|agent| self.successes(agent));
        let (found, successes) = try_join!(
            self.agents.find_all::<Breaker>(&keys, true),
            try_join_all(successes)
        )?;
        let of = |key| found.get(key).cloned().unwrap_or_default();
        let read = keys.iter().map(of).zip(successes);
        Ok(read
            .map(|(breaker, successes)| breaker.with_logged(successes))
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
}
