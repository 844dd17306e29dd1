//! The message AUTH_REQUEST.

use bematic_protocol::{
    ids::ConnectionId,
    messages::{AuthRequest, AuthResponse, CloudMessage, Spelling},
    time::Timestamp,
};
use tracing::info;

use super::{
    super::authorize::check_key,
    MessageRouter,
    context::{Answer, Context},
};
use crate::{
    agent::{Agent, ApiKey, Binding, Connection},
    error::{AuthError, BematicError, StoreError},
};

impl MessageRouter {
    /// Binds the connection to the agent by an optimistic write: it succeeds if the key belongs to
    /// the agent, the agent has no connection, and the connection is unbound. One call. Returns
    /// whether it succeeded.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn bind_optimistically(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        request: &AuthRequest,
        now: Timestamp,
    ) -> Result<bool, BematicError> {
        let Ok(key) = request.api_key.parse::<ApiKey>() else {
            return Ok(false);
        };
        let binding = Binding::new(connection.clone(), now, Some(spelling));
        let (connections, agent) = (&self.ports.connections, &request.agent_id);
        let bound = connections
            .bind_unread(agent, &key.hash(), &binding)
            .await?;
        if bound {
            info!(%connection, %agent, "agent connected");
        }
        Ok(bound)
    }

    /// Looks up the connection's record and the agent that the key belongs to: one call.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn look_up(
        &self,
        connection: &ConnectionId,
        request: &AuthRequest,
    ) -> Result<(Option<Connection>, Option<Agent>), StoreError> {
        match request.api_key.parse::<ApiKey>() {
            Ok(key) => {
                let (agent, key) = (&request.agent_id, key.hash());
                self.ports
                    .connections
                    .look_up(connection, agent, &key)
                    .await
            }
            Err(()) => Ok((self.ports.connections.connection(connection).await?, None)),
        }
    }

    /// Binds the connection to the agent that was looked up, confirms it to the agent, and has the
    /// agent's queue dispatched: a transaction, a post and a message, and a call that closes an older
    /// connection of the agent.
    ///
    /// # Errors
    /// [`AuthError`] if the key belongs to no agent.
    pub(super) async fn bind(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        request: &AuthRequest,
        agent: Option<&Agent>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let agent = agent.ok_or_else(|| AuthError::BadKey {
            agent_id: request.agent_id.clone(),
        })?;
        let binding = Binding::new(connection.clone(), now, Some(spelling));
        let bound = self.ports.connections.bind_in_band(agent, &binding).await?;
        self.connector
            .close_replaced(&agent.id, &binding, bound)
            .await?;
        self.confirm_binding(connection, spelling, agent.id.clone())
            .await
    }

    /// Handles AUTH_REQUEST on a bound connection, which is bound for its lifetime: the same agent
    /// is confirmed, another is refused.
    pub(super) async fn confirm_authentication(
        &self,
        context: Context<'_>,
        request: &AuthRequest,
    ) -> Result<Answer, BematicError> {
        let bound = &context.sender.agent_id;
        if request.agent_id != *bound {
            let agent_id = request.agent_id.clone();
            return Err(AuthError::AlreadyBound { agent_id }.into());
        }
        check_key(&*self.ports.agents, bound, &request.api_key).await?;
        Ok(Answer::message(CloudMessage::AuthResponse(AuthResponse {
            success: true,
            agent_id: Some(bound.clone()),
            error: None,
        })))
    }
}
