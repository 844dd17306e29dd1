//! Which agent sends a message, and how an unbound connection becomes an agent's.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AgentMessage, AuthResponse, CloudMessage, Envelope, Spelling},
    time::Timestamp,
};

use super::{
    MessageRouter,
    context::{Identity, Sender},
};
use crate::{
    agent::{Agent, Connection},
    error::{AuthError, BematicError},
    handlers::event::SocketEvent,
};

impl MessageRouter {
    /// Identifies the sender of a message: one call at most, or two for AUTH_REQUEST. The first one
    /// binds the connection if the agent has none; otherwise the second one looks up the key.
    pub(super) async fn identify(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
        envelope: &Envelope<AgentMessage>,
        now: Timestamp,
    ) -> Result<Identity, BematicError> {
        let AgentMessage::AuthRequest(request) = &envelope.message else {
            let sender = self.find_sender(event, spelling).await?;
            return Ok(sender.map_or(Identity::Unbound(None), Identity::Known));
        };
        if let Some(sender) = self.known_sender(event, spelling) {
            return Ok(Identity::Known(sender));
        }
        let connection = &event.connection_id;
        let bound = self.bind_optimistically(connection, spelling, request, now);
        if bound.await? {
            return Ok(Identity::JustBound(request.agent_id.clone()));
        }
        let (connection, agent) = self.look_up(connection, request).await?;
        let sender = self.cache_found(connection, spelling);
        Ok(sender.map_or(Identity::Unbound(agent.map(Box::new)), Identity::Known))
    }

    /// Returns the sender, cached or looked up in one call. `None` if its connection is unbound.
    pub(super) async fn find_sender(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
    ) -> Result<Option<Sender>, BematicError> {
        if let Some(sender) = self.known_sender(event, spelling) {
            return Ok(Some(sender));
        }
        let connection = self
            .ports
            .connections
            .connection(&event.connection_id)
            .await?;
        Ok(self.cache_found(connection, spelling))
    }

    /// Returns the sender, from the cache or as API Gateway names it.
    fn known_sender(&self, event: &SocketEvent, spelling: Spelling) -> Option<Sender> {
        let connection = &event.connection_id;
        self.known.get(connection).or_else(|| {
            Some(Sender {
                agent_id: event.agent_id.clone()?,
                connection: connection.clone(),
                spelling,
            })
        })
    }

    /// Caches the agent of a connection that was looked up, which never changes.
    fn cache_found(&self, connection: Option<Connection>, spelling: Spelling) -> Option<Sender> {
        let Connection {
            id,
            agent_id,
            spelling: first,
            ..
        } = connection?;
        let sender = Sender {
            agent_id: agent_id?,
            connection: id,
            spelling: first.unwrap_or(spelling),
        };
        self.known.insert(sender.connection.clone(), sender.clone());
        Some(sender)
    }

    /// Whether this environment has recorded the first message that it received over the
    /// connection.
    pub(super) fn has_recorded(&self, sender: &Sender) -> bool {
        self.recorded.get(&sender.connection).is_some()
    }

    /// Records the first message that this environment receives over a connection. If it may be the
    /// first of all, the connection is known to be open from now on, and tasks may be waiting for
    /// it. It is cached only after that, so that the next message makes up for a failure here.
    pub(super) async fn record_first_message(
        &self,
        sender: &Sender,
        is_stored: bool,
        is_early: bool,
    ) -> Result<(), BematicError> {
        if is_early {
            if !is_stored {
                self.ports
                    .presence
                    .record_first_message(&sender.agent_id, &sender.connection, sender.spelling)
                    .await?;
            }
            self.ports
                .request_dispatch(&sender.agent_id, Duration::ZERO)
                .await?;
        }
        self.cache_sender(sender);
        Ok(())
    }

    fn cache_sender(&self, sender: &Sender) {
        self.known.insert(sender.connection.clone(), sender.clone());
        self.recorded.insert(sender.connection.clone(), ());
    }

    /// Handles the first message of an unbound connection: AUTH_REQUEST binds the connection, any
    /// other message closes it.
    pub(super) async fn first_message(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        envelope: Envelope<AgentMessage>,
        key_owner: Option<Box<Agent>>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let result = match envelope.message {
            AgentMessage::AuthRequest(request) => {
                self.bind(connection, spelling, &request, key_owner.as_deref(), now)
                    .await
            }
            _ => Err(AuthError::NotAuthenticated {
                connection_id: connection.clone(),
            }
            .into()),
        };
        match result {
            Ok(()) => Ok(()),
            // After an internal error the agent may try again on the same connection. A connection
            // that is another agent's by now stays open, too.
            Err(error)
                if error.is_transient()
                    || matches!(error, BematicError::Auth(AuthError::AlreadyBound { .. })) =>
            {
                self.send_error(connection, spelling, Some(envelope.id), error)
                    .await
            }
            Err(error) => self.refuse(connection, spelling, &error).await,
        }
    }

    /// Confirms to an agent that the connection is bound to it, and has its queue dispatched.
    pub(super) async fn confirm_binding(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        agent_id: AgentId,
    ) -> Result<(), BematicError> {
        let response = CloudMessage::AuthResponse(AuthResponse {
            success: true,
            agent_id: Some(agent_id.clone()),
            error: None,
        });
        // The answer is sent before the queue is dispatched: the agent expects it first.
        self.send(connection, spelling, response).await?;
        let sender = Sender {
            agent_id,
            connection: connection.clone(),
            spelling,
        };
        self.ports
            .request_dispatch(&sender.agent_id, Duration::ZERO)
            .await?;
        self.cache_sender(&sender);
        Ok(())
    }
}
