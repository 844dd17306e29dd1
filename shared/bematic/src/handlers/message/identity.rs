//! Who speaks, and how a stranger becomes an agent.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AgentMessage, AuthRequest, AuthResponse, CloudMessage, Envelope, Spelling},
    time::Timestamp,
};
use tracing::warn;

use super::{MessageRouter, Sender};
use crate::{
    agent::{Agent, Connection},
    error::{AuthError, BematicError},
    handlers::event::SocketEvent,
    ports::{DispatchMessage, Introduction},
};

/// Who says something.
pub(super) enum Speaker {
    /// An agent.
    Known(Sender),
    /// An agent that was just bound to its connection.
    Newcomer(AgentId),
    /// Nobody yet, and the agent whose key its message has.
    Stranger(Option<Box<Agent>>),
}

impl MessageRouter {
    /// Who says this: one call at most. Whoever says for the first time whose it is, is bound by that
    /// call, or looked up with its key if not all is as usual.
    pub(super) async fn identify(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
        envelope: &Envelope<AgentMessage>,
        now: Timestamp,
    ) -> Result<Speaker, BematicError> {
        let AgentMessage::AuthRequest(request) = &envelope.message else {
            let sender = self.find_sender(event, spelling).await?;
            return Ok(sender.map_or(Speaker::Stranger(None), Speaker::Known));
        };
        if let Some(sender) = self.sender_at_hand(event, spelling) {
            return Ok(Speaker::Known(sender));
        }
        let (connection, auth) = (&event.connection_id, &self.authenticate);
        let bound = auth.bind_newcomer(connection, spelling, request, now);
        if bound.await? {
            return Ok(Speaker::Newcomer(request.agent_id.clone()));
        }
        let Introduction { connection, agent } = auth.introduce(connection, request).await?;
        let sender = self.learn(connection, spelling);
        Ok(sender.map_or(Speaker::Stranger(agent.map(Box::new)), Speaker::Known))
    }

    /// Who speaks: at hand, or looked up in one call. `None` if nobody known.
    pub(super) async fn find_sender(
        &self,
        event: &SocketEvent,
        spelling: Spelling,
    ) -> Result<Option<Sender>, BematicError> {
        if let Some(sender) = self.sender_at_hand(event, spelling) {
            return Ok(Some(sender));
        }
        let connection = self.ports.agents.connection(&event.connection_id).await?;
        Ok(self.learn(connection, spelling))
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

    /// Whose a connection is that was looked up, which never changes.
    fn learn(&self, connection: Option<Connection>, spelling: Spelling) -> Option<Sender> {
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

    /// The first message that this environment sees of a connection. If it may be the first at all,
    /// the connection is known to be open from now on, and work may be waiting for it. Remembered
    /// only once that was passed on, so that a failure here is made up for by the next.
    pub(super) async fn meet(
        &self,
        sender: &Sender,
        noted: bool,
        is_early: bool,
    ) -> Result<(), BematicError> {
        if is_early {
            if !noted {
                self.ports
                    .agents
                    .spoke(&sender.agent_id, &sender.connection, sender.spelling)
                    .await?;
            }
            self.ask_for_drain(&sender.agent_id).await?;
        }
        self.remember(sender);
        Ok(())
    }

    async fn ask_for_drain(&self, agent_id: &AgentId) -> Result<(), BematicError> {
        let drain = DispatchMessage::drain(agent_id.clone());
        Ok(self.ports.dispatch.send(&drain, Duration::ZERO).await?)
    }

    fn remember(&self, sender: &Sender) {
        self.known.insert(sender.connection.clone(), sender.clone());
        self.met.insert(sender.connection.clone(), ());
    }

    /// The first message of a connection that has yet to authenticate.
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
                self.complain(connection, spelling, Some(envelope.id), error)
                    .await
            }
            Err(error) => self.turn_away(connection, spelling, &error).await,
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
        self.welcome(connection, spelling, agent_id).await
    }

    /// The connection is the agent's now.
    pub(super) async fn welcome(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        agent_id: AgentId,
    ) -> Result<(), BematicError> {
        let welcome = CloudMessage::AuthResponse(AuthResponse {
            success: true,
            agent_id: Some(agent_id.clone()),
            error: None,
        });
        // Before the queue is drained: the agent expects its answer first.
        self.send(connection, spelling, welcome).await?;
        let sender = Sender {
            agent_id,
            connection: connection.clone(),
            spelling,
        };
        self.ask_for_drain(&sender.agent_id).await?;
        self.remember(&sender);
        Ok(())
    }

    pub(super) async fn turn_away(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        error: &BematicError,
    ) -> Result<(), BematicError> {
        warn!(code = error.code(), %error, "connection turned away");
        let refusal = CloudMessage::AuthResponse(AuthResponse {
            success: false,
            agent_id: None,
            error: Some(error.to_string()),
        });
        self.send(connection, spelling, refusal).await?;
        self.ports.gateway.close(connection).await?;
        Ok(())
    }
}
