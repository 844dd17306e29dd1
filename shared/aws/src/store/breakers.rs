//! The repository of circuit breakers. A breaker is one item for each agent, with a version; its
//! gate (which work it lets through) is copied into the agent's record.

use std::collections::HashMap;

use async_trait::async_trait;
use bematic::{
    agent::Agent,
    breaker::Breaker,
    error::StoreError,
    ports::{BreakerChange, Breakers, Written},
};
use bematic_protocol::ids::AgentId;

use super::{
    agents::AgentStore,
    expression::Expression,
    item::{Record, number},
    keys::{self, Key},
    table::Transacted,
    transition::breaker_writes,
};

impl Record for Breaker {
    type Id = AgentId;
    const FIELDS: &'static [&'static str] = &["version"];
    fn key(id: &AgentId) -> Key {
        keys::breaker(id)
    }
}

#[async_trait]
impl Breakers for AgentStore {
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        let found: Option<Breaker> = self.agents.find(agent).await?;
        Ok(found.unwrap_or_default())
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let keys: Vec<_> = agents.iter().map(keys::breaker).collect();
        let mut found: HashMap<Key, Breaker> = self.agents.find_all(&keys).await?;
        let breakers = keys.iter().map(|key| found.remove(key).unwrap_or_default());
        Ok(breakers.collect())
    }

    async fn change(
        &self,
        agent: &AgentId,
        change: BreakerChange<'_>,
    ) -> Result<Written, StoreError> {
        if change.before == change.after {
            return Ok(Written::Done);
        }
        let writes = breaker_writes(&self.agents.name, agent, change)?;
        Ok(match self.agents.transact(writes).await? {
            Transacted::Done => Written::Done,
            Transacted::Refused(_) => Written::Conflict,
        })
    }

    async fn mark_announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError> {
        let change = Expression::on::<Agent>()
            .update("SET announced = :generation")
            .when("attribute_exists(pk)")
            .when("(attribute_not_exists(announced) OR announced < :generation)")
            .value(":generation", number(generation));
        self.agents
            .update_if(&keys::agent(agent), change)
            .await
            .map(drop)
    }
}
