//! `ws-disconnect`: unbinds a connection, if it is still its agent's current one.

use std::sync::Arc;

use bematic_protocol::time::Timestamp;
use tracing::info;

use super::event::SocketEvent;
use crate::{
    error::BematicError,
    ports::{Agents, Unbound},
};

/// Unbinds connections.
pub struct Disconnector {
    agents: Arc<dyn Agents>,
}

impl Disconnector {
    /// On the agents.
    pub fn new(agents: Arc<dyn Agents>) -> Self {
        Self { agents }
    }

    /// Handles `$disconnect`, which may come late, twice, or never: one call, two for a connection
    /// that was to authenticate in band.
    ///
    /// # Errors
    /// API Gateway does not repeat the event; the next message that is posted to the connection
    /// finds it gone.
    pub async fn disconnect(
        &self,
        event: &SocketEvent,
        now: Timestamp,
    ) -> Result<Unbound, BematicError> {
        let connection = &event.connection_id;
        let agent = match &event.agent_id {
            Some(agent) => Some(agent.clone()),
            None => self
                .agents
                .connection(connection)
                .await?
                .and_then(|found| found.agent_id),
        };
        let outcome = if let Some(agent) = agent {
            self.agents.unbind(&agent, connection, now).await?
        } else {
            self.agents.forget(connection).await?;
            Unbound::Stale
        };
        match &outcome {
            Unbound::Offline(agent) => info!(%connection, %agent, "agent is offline"),
            Unbound::Stale => info!(%connection, "a connection that is nobody's current one ended"),
        }
        Ok(outcome)
    }
}
