//! Circuit breakers: one item for each agent, with a version. A breaker's gate (which work it lets
//! through) is copied into the agent's record.

use async_trait::async_trait;
use bematic::{
    breaker::Breaker,
    error::StoreError,
    ports::{BreakerChange, Breakers, Written},
};
use bematic_protocol::ids::AgentId;

use super::{
    AgentStore, keys,
    table::Table,
    write::{Write, WriteLabel},
};

/// Returns the write of a breaker, on condition that its version is still that of `change.before`.
pub(super) fn prepare_put_breaker(
    agents: &Table,
    agent: &AgentId,
    change: BreakerChange<'_>,
) -> Result<Write, StoreError> {
    let put = agents.prepare_put(&keys::breaker(agent), change.after)?;
    put.if_version(change.before.version)
}

#[async_trait]
impl Breakers for AgentStore {
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        let found: Option<Breaker> = self.agents.find(&keys::breaker(agent)).await?;
        Ok(found.unwrap_or_default())
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let keys: Vec<_> = agents.iter().map(keys::breaker).collect();
        let mut found = self.agents.find_by_keys(&keys).await?;
        keys.iter()
            .map(|key| found.remove(key).unwrap_or_else(|| Ok(Breaker::default())))
            .collect()
    }

    async fn change(
        &self,
        agent: &AgentId,
        change: BreakerChange<'_>,
    ) -> Result<Written, StoreError> {
        if change.before == change.after {
            return Ok(Written::Done);
        }
        let mut writes = vec![(
            WriteLabel::Breaker,
            prepare_put_breaker(&self.agents, agent, change)?,
        )];
        if change.changes_gate() {
            let update = self.agents.prepare_update(keys::agent(agent));
            writes.push((WriteLabel::Agent, update.set("gate", change.after.gate())?));
        }
        Ok(if self.agents.transact(writes).await?.is_empty() {
            Written::Done
        } else {
            Written::Conflict
        })
    }

    async fn mark_breaker_announced(
        &self,
        agent: &AgentId,
        generation: u64,
    ) -> Result<(), StoreError> {
        let update = self
            .agents
            .prepare_update(keys::agent(agent))
            .if_exists()
            .when("attribute_not_exists(#announced) OR #announced < :announced")
            .set("announced", generation)?;
        update.send().await.map(drop)
    }
}
