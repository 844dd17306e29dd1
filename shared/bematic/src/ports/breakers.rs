//! The agents' circuit breakers.

use async_trait::async_trait;
use bematic_protocol::ids::AgentId;

use super::Written;
use crate::{breaker::Breaker, error::StoreError};

/// A breaker before and after an event: written on condition that it is still the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn<'a> {
    /// As it was read.
    pub before: &'a Breaker,
    /// As it is to be.
    pub after: &'a Breaker,
}

impl Turn<'_> {
    /// Whether it lets through something else than before, so that the agent's record changes too.
    pub fn moves_gate(&self) -> bool {
        self.before.gate() != self.after.gate()
    }
}

/// The agents' circuit breakers.
#[async_trait]
pub trait Breakers: Send + Sync {
    /// The agent's breaker, and the successes that it counts without being read; a new one if
    /// nothing was ever written.
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError>;
    /// Those of many agents, in their order: a call for each.
    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError>;
    /// Writes it, and what it lets through into the agent's record, in one transaction. Nothing at
    /// all if it is the same.
    async fn turn(&self, agent: &AgentId, turn: Turn<'_>) -> Result<Written, StoreError>;
    /// Notes that the operations channel was told of the agent's breaker as of this generation, or
    /// a later one.
    async fn announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError>;
}
