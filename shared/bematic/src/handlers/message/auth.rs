//! AUTH_REQUEST

use std::sync::Arc;

use bematic_protocol::{
    ids::ConnectionId,
    messages::{AuthRequest, AuthResponse, CloudMessage, Spelling},
    time::Timestamp,
};

use super::{
    super::{authorize::check_key, connect::Connector},
    context::{Answer, Context},
};
use crate::{
    agent::{Agent, ApiKey, Binding},
    error::{AuthError, BematicError, StoreError},
    ports::{Introduction, Ports},
};

/// Authenticates in band.
pub(super) struct Authenticate {
    ports: Arc<Ports>,
    connector: Connector,
}

impl Authenticate {
    /// On the agents' keys and connections.
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        Self {
            connector: Connector::new(ports.clone()),
            ports,
        }
    }

    /// Binds the connection to the agent if all is as it mostly is: the key is the agent's, which has
    /// no other, and it is nobody's. Whether it did: one call.
    ///
    /// # Errors
    /// The table's.
    pub(super) async fn bind_at_once(
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
        let (agent, key) = (&request.agent_id, key.hash());
        self.connector.bind_newcomer(agent, &key, &binding).await
    }

    /// Whose the connection is, and whose the key: one call.
    ///
    /// # Errors
    /// The table's.
    pub(super) async fn look_up(
        &self,
        connection: &ConnectionId,
        request: &AuthRequest,
    ) -> Result<Introduction, StoreError> {
        match request.api_key.parse::<ApiKey>() {
            Ok(key) => {
                let (agent, key) = (&request.agent_id, key.hash());
                self.ports
                    .connections
                    .introduce(connection, agent, &key)
                    .await
            }
            Err(()) => Ok(Introduction {
                connection: self.ports.connections.connection(connection).await?,
                agent: None,
            }),
        }
    }

    /// Binds the connection to the agent whose key it was found to be: a transaction.
    ///
    /// # Errors
    /// [`AuthError`] if the key is nobody's.
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
        self.connector.bind_in_band(agent, &binding).await
    }

    /// A connection is bound for its lifetime: again as the same agent is harmless, as another
    /// refused.
    pub(super) async fn again(
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
