//! Port to the agents' stored circuit breakers.

use async_trait::async_trait;
use bematic_protocol::ids::AgentId;

use super::Written;
use crate::{breaker::Breaker, error::StoreError};

/// A change of a breaker: its state before and after an event. It is written on condition that the
/// stored breaker is still the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerChange<'a> {
    /// The breaker as it was read.
    pub before: &'a Breaker,
    /// The breaker as it is to be written.
    pub after: &'a Breaker,
}

impl BreakerChange<'_> {
    /// Whether the breaker's gate changes, so that the agent's record has to be written too.
    pub fn changes_gate(&self) -> bool {
        self.before.gate() != self.after.gate()
    }
}

/// The agents' circuit breakers.
#[async_trait]
pub trait Breakers: Send + Sync {
    /// Returns the agent's breaker; a new one if none was ever written.
    async fn breaker(&self, agent: &AgentId) -> Result<Breaker, StoreError>;
    /// Returns the breakers of many agents, in their order: a call for each.
    async fn breakers(&self, agents: &[AgentId]) -> Result<Vec<Breaker>, StoreError>;
    /// Writes the changed breaker, and its gate into the agent's record, in one transaction. Writes
    /// nothing if the breaker is unchanged.
    async fn change(
        &self,
        agent: &AgentId,
        change: BreakerChange<'_>,
    ) -> Result<Written, StoreError>;
    /// Records that the operations channel has been notified of the agent's breaker as of this
    /// generation, or a later one.
    async fn mark_announced(&self, agent: &AgentId, generation: u64) -> Result<(), StoreError>;
}
