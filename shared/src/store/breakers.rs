//! Circuit breakers: one item an agent with a version, and what it lets through in the agent's
//! record.

use async_trait::async_trait;

use super::{
    agents::AgentStore,
    keys::{self, Key},
    table::{Record, Refusal, Transacted, number, retry},
    transition::turn_breaker,
};
use crate::{
    breaker::Breaker,
    error::StoreError,
    ids::AgentId,
    ports::{Breakers, Turn, Written},
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
        Ok(self.agents.find(agent).await?.unwrap_or_default())
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let keys: Vec<_> = agents.iter().map(keys::breaker).collect();
        let found = self.agents.find_all(&keys, true).await?;
        let of = |key| found.get(key).cloned().unwrap_or_default();
        Ok(keys.iter().map(of).collect())
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
