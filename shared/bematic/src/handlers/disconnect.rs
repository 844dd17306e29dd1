//! `ws-disconnect`: unbinds a connection, if it is still its agent's current one.

use std::sync::Arc;

use bematic_protocol::time::Timestamp;
use tracing::{error, info};

use super::event::SocketEvent;
use crate::{
    error::{BematicError, chain},
    ports::{Ports, Unbound},
};

/// Unbinds connections.
pub struct Disconnector {
    ports: Arc<Ports>,
}

impl Disconnector {
    /// Creates a disconnector with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Handles `$disconnect`. Errors are logged, since API Gateway does not repeat the event.
    pub async fn handle(&self, event: &SocketEvent) {
        if let Err(error) = self.disconnect(event, self.ports.clock.now()).await {
            error!(
                code = error.code(),
                error = chain(&error),
                "connection not unbound"
            );
        }
    }

    /// Unbinds a connection, whose `$disconnect` may arrive late, twice, or never: one call, two
    /// for a connection that authenticates in band.
    ///
    /// # Errors
    /// API Gateway does not repeat the event; the next message that is sent to the connection finds
    /// it gone.
    pub async fn disconnect(
        &self,
        event: &SocketEvent,
        now: Timestamp,
    ) -> Result<Unbound, BematicError> {
        let connection = &event.connection_id;
        let agent = match &event.agent_id {
            Some(agent) => Some(agent.clone()),
            None => self
                .ports
                .connections
                .connection(connection)
                .await?
                .and_then(|found| found.agent_id),
        };
        let outcome = if let Some(agent) = agent {
            self.ports
                .connections
                .unbind(&agent, connection, now)
                .await?
        } else {
            self.ports.connections.remove_unbound(connection).await?;
            Unbound::Stale
        };
        match &outcome {
            Unbound::Offline(agent) => info!(%connection, %agent, "agent is offline"),
            Unbound::Stale => {
                info!(%connection, "connection ended that was not its agent's current one");
            }
        }
        Ok(outcome)
    }
}
