//! `ws-connect`: binds a connection to its agent, or notes that it has yet to authenticate.
//!
//! Nothing is posted to the connection here: it does not exist before this function has answered.

use std::sync::Arc;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::event::SocketEvent;
use crate::{
    agent::{Agent, Binding, KeyHash},
    error::{AuthError, BematicError, chain},
    ports::{AUTH_DEADLINE, Bound, DispatchMessage, Ports},
};

/// Binds connections.
#[derive(Clone)]
pub struct Connector {
    ports: Arc<Ports>,
}

impl Connector {
    /// On the agents, the dispatcher's queue, and the connections that are to be closed.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Handles `$connect`: what API Gateway is answered. Anything but 200 refuses the handshake; the
    /// agent connects again.
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

    /// Binds a connection: one call if the handshake says whose it is, and one more if an older
    /// connection is to be closed; else two.
    ///
    /// # Errors
    /// Refuses the handshake; the agent connects again.
    pub async fn connect(&self, event: &SocketEvent, now: Timestamp) -> Result<(), BematicError> {
        let connection = &event.connection_id;
        if let Some(agent) = &event.agent_id {
            let bound_at = event.connected_at.unwrap_or(now);
            let binding = Binding::new(connection.clone(), bound_at, None);
            let bound = self.ports.connections.bind(agent, &binding).await?;
            return self.take_over(agent, &binding, bound).await;
        }
        self.ports.connections.admit(connection, now).await?;
        let deadline = DispatchMessage::AuthDeadline {
            connection_id: connection.clone(),
        };
        self.ports.dispatch.send(&deadline, AUTH_DEADLINE).await?;
        info!(%connection, "connection has yet to authenticate");
        Ok(())
    }

    /// Makes a connection that is nobody's that of the agent whose key it is, if that has none: a
    /// transaction. Whether it did.
    pub(super) async fn bind_newcomer(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, BematicError> {
        let bound = self
            .ports
            .connections
            .bind_newcomer(agent, key, binding)
            .await?;
        if bound {
            info!(connection = %binding.id, %agent, "agent connected");
        }
        Ok(bound)
    }

    /// Makes a connection that has authenticated in band the agent's current one: a transaction,
    /// and a call more if an older connection is to be closed.
    pub(super) async fn bind_in_band(
        &self,
        agent: &Agent,
        binding: &Binding,
    ) -> Result<(), BematicError> {
        let bound = self.ports.connections.bind_in_band(agent, binding).await?;
        self.take_over(&agent.id, binding, bound).await
    }

    /// Closes the connection before.
    async fn take_over(
        &self,
        agent: &AgentId,
        binding: &Binding,
        bound: Bound,
    ) -> Result<(), BematicError> {
        match bound {
            Bound::Current { replaced } => {
                info!(connection = %binding.id, %agent, ?replaced, "agent connected");
                if let Some(older) = replaced {
                    self.close_older(&older).await;
                }
                Ok(())
            }
            Bound::Replaced => Err(AuthError::Replaced {
                agent_id: agent.clone(),
            }
            .into()),
            Bound::NoAgent => Err(AuthError::BadKey {
                agent_id: agent.clone(),
            }
            .into()),
            Bound::Taken => Err(AuthError::AlreadyBound {
                agent_id: agent.clone(),
            }
            .into()),
        }
    }

    /// The older connection gets no more work whether or not closing it works.
    async fn close_older(&self, older: &ConnectionId) {
        if let Err(error) = self.ports.gateway.close(older).await {
            warn!(connection = %older, code = error.code(), %error, "older connection not closed");
        }
    }
}
