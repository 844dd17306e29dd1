//! Which agent sends a message, and how an unbound connection becomes an agent's.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AgentMessage, AuthRequest, AuthResponse, CloudMessage, Envelope, Spelling},
    time::Timestamp,
};
use quick_cache::sync::Cache;

use super::{auth::Authenticate, context::Sender, replies::Replies};
use crate::{
    agent::{Agent, Connection},
    error::{AuthError, BematicError},
    handlers::event::SocketEvent,
    ports::{DispatchMessage, Introduction, Ports},
};

/// Connections that are remembered.
const REMEMBERED: usize = 4096;

/// The sender of a message.
pub(super) enum Speaker {
    /// An agent.
    Known(Sender),
    /// An agent that its connection was just bound to.
    JustBound(AgentId),
    /// Its connection is unbound. The agent whose key the message has, if it has one.
    Unbound(Option<Box<Agent>>),
}

/// Finds senders, and binds connections.
pub(super) struct Identities {
    ports: Arc<Ports>,
    authenticate: Arc<Authenticate>,
    replies: Arc<Replies>,
    /// The agents of connections, which never change, and how each is answered: as the first message
    /// that came here was spelled.
    known: Cache<ConnectionId, Sender>,
    /// Connections whose first message was passed on.
    noted: Cache<ConnectionId, ()>,
}

impl Identities {
    pub(super) fn new(
        ports: Arc<Ports>,
        authenticate: Arc<Authenticate>,
        replies: Arc<Replies>,
    ) -> Self {
        Self {
            ports,
            authenticate,
            replies,
            known: Cache::new(REMEMBERED),
            noted: Cache::new(REMEMBERED),
        }
    }

    /// The sender of a message: one call at most. AUTH_REQUEST of an agent that has no connection is
    /// bound by that call, any other is looked up with its key.
    pub(super) async fn identify(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
        envelope: &Envelope<AgentMessage>,
        now: Timestamp,
    ) -> Result<Speaker, BematicError> {
        let AgentMessage::AuthRequest(request) = &envelope.message else {
            let sender = self.find_sender(event, spelling).await?;
            return Ok(sender.map_or(Speaker::Unbound(None), Speaker::Known));
        };
        if let Some(sender) = self.sender_at_hand(event, spelling) {
            return Ok(Speaker::Known(sender));
        }
        let (connection, auth) = (&event.connection_id, &self.authenticate);
        let bound = auth.bind_at_once(connection, spelling, request, now);
        if bound.await? {
            return Ok(Speaker::JustBound(request.agent_id.clone()));
        }
        let Introduction { connection, agent } = auth.look_up(connection, request).await?;
        let sender = self.remember_found(connection, spelling);
        Ok(sender.map_or(Speaker::Unbound(agent.map(Box::new)), Speaker::Known))
    }

    /// The sender: at hand, or looked up in one call. `None` if its connection is unbound.
    pub(super) async fn find_sender(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
    ) -> Result<Option<Sender>, BematicError> {
        if let Some(sender) = self.sender_at_hand(event, spelling) {
            return Ok(Some(sender));
        }
        let connection = self
            .ports
            .connections
            .connection(&event.connection_id)
            .await?;
        Ok(self.remember_found(connection, spelling))
    }

    /// Remembered, or as API Gateway says.
    fn sender_at_hand(&self, event: &SocketEvent, spelling: Spelling) -> Option<Sender> {
        let connection = &event.connection_id;
        self.known.get(connection).or_else(|| {
            Some(Sender {
                agent_id: event.agent_id.clone()?,
                connection: connection.clone(),
                spelling,
            })
        })
    }

    /// The agent of a connection that was looked up, which never changes.
    fn remember_found(&self, connection: Option<Connection>, spelling: Spelling) -> Option<Sender> {
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

    /// Whether this environment has passed on the first message that it saw of the connection.
    pub(super) fn has_noted(&self, sender: &Sender) -> bool {
        self.noted.get(&sender.connection).is_some()
    }

    /// Passes on the first message that this environment sees of a connection. If it may be the first
    /// at all, the connection is known to be open from now on, and work may be waiting for it.
    /// Remembered only once that was passed on, so that a failure here is made up for by the next.
    pub(super) async fn note_first_message(
        &self,
        sender: &Sender,
        is_stored: bool,
        is_early: bool,
    ) -> Result<(), BematicError> {
        if is_early {
            if !is_stored {
                self.ports
                    .presence
                    .spoke(&sender.agent_id, &sender.connection, sender.spelling)
                    .await?;
            }
            self.dispatch_queue(&sender.agent_id).await?;
        }
        self.remember(sender);
        Ok(())
    }

    async fn dispatch_queue(&self, agent_id: &AgentId) -> Result<(), BematicError> {
        let drain = DispatchMessage::drain(agent_id.clone());
        Ok(self.ports.dispatch.send(&drain, Duration::ZERO).await?)
    }

    fn remember(&self, sender: &Sender) {
        self.known.insert(sender.connection.clone(), sender.clone());
        self.noted.insert(sender.connection.clone(), ());
    }

    /// The first message of an unbound connection: AUTH_REQUEST binds it, any other closes it.
    pub(super) async fn first_message(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        envelope: Envelope<AgentMessage>,
        claim: Option<Box<Agent>>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let result = match envelope.message {
            AgentMessage::AuthRequest(request) => {
                self.bind(connection, spelling, &request, claim.as_deref(), now)
                    .await
            }
            _ => Err(AuthError::NotAuthenticated {
                connection_id: connection.clone(),
            }
            .into()),
        };
        match result {
            Ok(()) => Ok(()),
            // Our own trouble: the agent may try again on the same connection. Or that is another's
            // by now.
            Err(error)
                if error.is_transient()
                    || matches!(error, BematicError::Auth(AuthError::AlreadyBound { .. })) =>
            {
                self.replies
                    .send_error(connection, spelling, Some(envelope.id), error)
                    .await
            }
            Err(error) => self.replies.refuse(connection, spelling, &error).await,
        }
    }

    async fn bind(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        request: &AuthRequest,
        claim: Option<&Agent>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        self.authenticate
            .bind(connection, spelling, request, claim, now)
            .await?;
        let agent_id = request.agent_id.clone();
        self.confirm_binding(connection, spelling, agent_id).await
    }

    /// Tells an agent that the connection is bound to it, and has its queue dispatched.
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
        // Before the queue is dispatched: the agent expects its answer first.
        self.replies.send(connection, spelling, response).await?;
        let sender = Sender {
            agent_id,
            connection: connection.clone(),
            spelling,
        };
        self.dispatch_queue(&sender.agent_id).await?;
        self.remember(&sender);
        Ok(())
    }
}
