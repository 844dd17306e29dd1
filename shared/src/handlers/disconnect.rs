//! `ws-disconnect`: unbinds a connection, if it is still its agent's current one.

use std::sync::Arc;

use tracing::info;

use super::event::SocketEvent;
use crate::{
    error::BematicError,
    ports::{Agents, Unbound},
    time::Timestamp,
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

    /// Handles `$disconnect`, which may come late, twice, or never: two calls, three for a
    /// connection that authenticated in band.
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
        let outcome = self
            .agents
            .unbind(connection, event.agent_id.as_ref(), now)
            .await?;
        match &outcome {
            Unbound::Offline(agent) => info!(%connection, %agent, "agent is offline"),
            Unbound::Stale => info!(%connection, "a connection that is nobody's current one ended"),
        }
        Ok(outcome)
    }
}
