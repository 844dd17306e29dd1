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

/// The number of connections that are cached.
const REMEMBERED: usize = 4096;

/// The identity of a message's sender.
pub(super) enum Speaker {
    /// An agent that the connection is bound to.
    Known(Sender),
    /// An agent that the connection was just bound to.
    JustBound(AgentId),
    /// The connection is unbound; with the agent that the message's key belongs to, if it has a
    /// valid one.
    Unbound(Option<Box<Agent>>),
}

/// Identifies senders, and binds connections.
pub(super) struct Identities {
    ports: Arc<Ports>,
    authenticate: Arc<Authenticate>,
    replies: Arc<Replies>,
    /// The agents of connections, which never change, and the spelling in which each is answered:
    /// that of the first message that arrived here.
    known: Cache<ConnectionId, Sender>,
    /// The connections whose first message was recorded.
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

    /// Identifies the sender of a message: one call at most. AUTH_REQUEST of an agent that has no
    /// connection is bound by that call; otherwise its key is looked up by a second one.
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

    /// Returns the sender, cached or looked up in one call. `None` if its connection is unbound.
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

    /// Returns the sender, from the cache or as API Gateway names it.
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

    /// Caches the agent of a connection that was looked up, which never changes.
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

    /// Whether this environment has recorded the first message that it received over the
    /// connection.
    pub(super) fn has_noted(&self, sender: &Sender) -> bool {
        self.noted.get(&sender.connection).is_some()
    }

    /// Records the first message that this environment receives over a connection. If it may be the
    /// first of all, the connection is known to be open from now on, and tasks may be waiting for
    /// it. It is cached only after that, so that the next message makes up for a failure here.
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

    /// Handles the first message of an unbound connection: AUTH_REQUEST binds the connection, any
    /// other message closes it.
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
            // After an internal error the agent may try again on the same connection. A connection
            // that is another agent's by now stays open, too.
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
