//! Breakers in memory.

use async_trait::async_trait;
use bematic_protocol::ids::AgentId;

use super::{Memory, Tables};
use crate::{
    breaker::{Breaker, IgnoredBecause, Logged, Window},
    error::StoreError,
    ports::{Breakers, Turn, Written},
    task::Finish,
};

impl Memory {
    /// The agent's breaker as it is, without a call being counted.
    pub(crate) fn breaker_of(&self, agent: &AgentId) -> Breaker {
        self.tables.lock().unwrap().breaker(agent)
    }
}

impl Tables {
    fn breaker(&self, agent: &AgentId) -> Breaker {
        let breaker = self.breakers.get(agent).cloned().unwrap_or_default();
        let logged = self.logged.get(agent).into_iter().flatten();
        breaker.with_logged(logged.rev().take(Window::KEPT).cloned())
    }

    pub(super) fn log(&mut self, finish: &Finish<'_>, ignored: Option<IgnoredBecause>) {
        let logged = Logged {
            id: finish.slot().to_string(),
            at: finish.now,
            ignored,
        };
        let all = self.logged.entry(finish.agent.clone()).or_default();
        all.push(logged);
    }

    /// Whether the breaker is still the one that the turn starts from.
    pub(super) fn may_turn(&self, agent: &AgentId, turn: Turn<'_>) -> bool {
        self.breaker(agent).version == turn.before.version
    }

    pub(super) fn turn(&mut self, agent: &AgentId, turn: Turn<'_>) {
        // What is kept by itself is not stored with it.
        let stored = serde_json::to_value(turn.after).and_then(serde_json::from_value);
        self.breakers.insert(agent.clone(), stored.unwrap());
        if turn.moves_gate()
            && let Some(agent) = self.agents.get_mut(agent)
        {
            agent.gate = turn.after.gate();
        }
    }
}

#[async_trait]
impl Breakers for Memory {
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError> {
        Ok(self.call("get breaker").await?.breaker(agent))
    }

    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError> {
        let tables = self.call("get breakers").await?;
        Ok(agents.iter().map(|agent| tables.breaker(agent)).collect())
    }

    async fn turn(&self, agent: &AgentId, turn: Turn<'_>) -> Result<Written, StoreError> {
        if turn.before == turn.after {
            return Ok(Written::Done);
        }
        let mut tables = self.call("transact breaker").await?;
        if !tables.may_turn(agent, turn) {
            return Ok(Written::Conflict);
        }
        tables.turn(agent, turn);
        Ok(Written::Done)
    }

    async fn announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError> {
        let mut tables = self.call("update agent").await?;
        if let Some(agent) = tables.agents.get_mut(agent) {
            agent.announced = agent.announced.max(generation);
        }
        Ok(())
    }
}
