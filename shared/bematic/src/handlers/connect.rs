//! `ws-connect`: binds a connection to its agent, or stores that it has yet to authenticate.
//!
//! No message is sent to the connection here: it does not exist before this function has answered.

use std::sync::Arc;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::event::SocketEvent;
use crate::{
    agent::Binding,
    error::{AuthError, BematicError, chain},
    ports::{AUTH_DEADLINE, Bound, DispatchMessage, Ports},
};

/// Binds connections.
#[derive(Clone)]
pub struct Connector {
    ports: Arc<Ports>,
}

impl Connector {
    /// Creates a connector with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Handles `$connect`: returns the answer for API Gateway. Anything but 200 refuses the
    /// handshake; the agent connects again.
    pub async fn handle(&self, event: &SocketEvent) -> Value {
        let status = match self.connect(event, self.ports.clock.now()).await {
            Ok(()) => 200,
            Err(error) => {
                error!(
                    code = error.code(),
                    error = chain(&error),
                    "connection refused"
                );
                if error.is_transient() { 503 } else { 401 }
            }
        };
        json!({ "statusCode": status })
    }

    /// Binds the connection to the agent that the handshake names: one call, and one more if an older
    /// connection has to be closed. A connection whose handshake names no agent is stored as unbound,
    /// and its deadline is enqueued: two calls.
    ///
    /// # Errors
    /// The handshake is refused; the agent connects again.
    pub async fn connect(&self, event: &SocketEvent, now: Timestamp) -> Result<(), BematicError> {
        let connection = &event.connection_id;
        if let Some(agent) = &event.agent_id {
            let bound_at = event.connected_at.unwrap_or(now);
            let binding = Binding::new(connection.clone(), bound_at, None);
            let bound = self.ports.connections.bind(agent, &binding).await?;
            return self.close_replaced(agent, &binding, bound).await;
        }
        self.ports.connections.add_unbound(connection, now).await?;
        let deadline = DispatchMessage::AuthDeadline {
            connection_id: connection.clone(),
        };
        self.ports.dispatch.send(&deadline, AUTH_DEADLINE).await?;
        info!(%connection, "connection has yet to authenticate");
        Ok(())
    }

    /// Handles the outcome of binding: closes the connection that was replaced, one call.
    ///
    /// # Errors
    /// The connection was not bound.
    pub(super) async fn close_replaced(
        &self,
        agent: &AgentId,
        binding: &Binding,
        bound: Bound,
    ) -> Result<(), BematicError> {
        let agent_id = agent.clone();
        let error = match bound {
            Bound::Current { replaced } => {
                info!(connection = %binding.id, %agent, ?replaced, "agent connected");
                if let Some(older) = replaced {
                    self.close_older(&older).await;
                }
                return Ok(());
            }
            Bound::Replaced => AuthError::Replaced { agent_id },
            Bound::NoAgent => AuthError::BadKey { agent_id },
            Bound::Taken => AuthError::AlreadyBound { agent_id },
        };
        Err(error.into())
    }

    /// Closes the older connection, which is sent no more tasks whether or not closing it works.
    async fn close_older(&self, older: &ConnectionId) {
        if let Err(error) = self.ports.gateway.close(older).await {
            warn!(connection = %older, code = error.code(), %error, "older connection not closed");
        }
    }
}
