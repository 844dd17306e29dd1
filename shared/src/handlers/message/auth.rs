//! AUTH_REQUEST

use std::sync::Arc;

use super::{
    super::{authorize::check_key, connect::Connector},
    Answer, Context,
};
use crate::{
    agent::Binding,
    error::{AuthError, BematicError},
    ids::ConnectionId,
    ports::Agents,
    protocol::{AuthRequest, AuthResponse, CloudMessage, Spelling},
    time::Timestamp,
};

/// Authenticates in band.
pub struct Authenticate {
    agents: Arc<dyn Agents>,
    connector: Connector,
}

impl Authenticate {
    /// On the agents' keys and connections.
    pub fn new(agents: Arc<dyn Agents>, connector: Connector) -> Self {
        Self { agents, connector }
    }

    /// Binds the connection to the agent whose key it is: three calls. The agent first: should the
    /// rest fail, the connection is still nobody's, and a repeated AUTH_REQUEST binds it.
    ///
    /// # Errors
    /// [`AuthError`] if the key is not good.
    pub async fn bind(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        request: &AuthRequest,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let agent = &request.agent_id;
        check_key(&*self.agents, agent, &request.api_key).await?;
        let binding = Binding::new(connection.clone(), now, Some(spelling));
        self.connector.bind(agent, &binding).await?;
        let assigned = self.agents.assign(connection, agent, spelling, now);
        Ok(assigned.await?)
    }

    /// A connection is bound for its lifetime: again as the same agent is harmless, as another
    /// refused.
    pub async fn again(
        &self,
        context: Context<'_>,
        request: &AuthRequest,
    ) -> Result<Answer, BematicError> {
        let bound = &context.sender.agent_id;
        if request.agent_id != *bound {
            let agent_id = request.agent_id.clone();
            return Err(AuthError::AlreadyBound { agent_id }.into());
        }
        check_key(&*self.agents, bound, &request.api_key).await?;
        Ok(Answer::message(CloudMessage::AuthResponse(AuthResponse {
            success: true,
            agent_id: Some(bound.clone()),
            error: None,
        })))
    }
}
