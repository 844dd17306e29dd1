//! `ws-connect`: binds a connection to its agent, or notes that it has yet to authenticate.
//!
//! Nothing is posted to the connection here: it does not exist before this function has answered.

use std::sync::Arc;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use tracing::{info, warn};

use super::event::SocketEvent;
use crate::{
    agent::{Agent, Binding, KeyHash},
    error::{AuthError, BematicError},
    ports::{AUTH_DEADLINE, Agents, Bound, DispatchMessage, DispatchQueue, Gateway},
};

/// Binds connections.
#[derive(Clone)]
pub struct Connector {
    agents: Arc<dyn Agents>,
    dispatch: Arc<dyn DispatchQueue>,
    gateway: Arc<dyn Gateway>,
}

impl Connector {
    /// With what it writes to, sends to, and closes older connections through.
    pub fn new(
        agents: Arc<dyn Agents>,
        dispatch: Arc<dyn DispatchQueue>,
        gateway: Arc<dyn Gateway>,
    ) -> Self {
        Self {
            agents,
            dispatch,
            gateway,
        }
    }

    /// Handles `$connect`: one call if the handshake says whose it is, and one more if an older
    /// connection is to be closed; else two.
    ///
    /// # Errors
    /// Refuses the handshake; the agent connects again.
    pub async fn connect(&self, event: &SocketEvent, now: Timestamp) -> Result<(), BematicError> {
        let connection = &event.connection_id;
        if let Some(agent) = &event.agent_id {
            let bound_at = event.connected_at.unwrap_or(now);
            let binding = Binding::new(connection.clone(), bound_at, None);
            let bound = self.agents.bind(agent, &binding).await?;
            return self.take_over(agent, &binding, bound).await;
        }
        self.agents.admit(connection, now).await?;
        let deadline = DispatchMessage::AuthDeadline {
            connection_id: connection.clone(),
        };
        self.dispatch.send(&deadline, AUTH_DEADLINE).await?;
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
        let bound = self.agents.bind_newcomer(agent, key, binding).await?;
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
        let bound = self.agents.bind_in_band(agent, binding).await?;
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
        if let Err(error) = self.gateway.close(older).await {
            warn!(connection = %older, code = error.code(), %error, "older connection not closed");
        }
    }
}

#[cfg(test)]
mod tests;
