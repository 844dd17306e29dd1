//! The message router: parses, finds the sender, calls one handler a type, logs, and answers. No
//! handler sees a message that does not validate, or one of an unbound connection.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::ConnectionId,
    messages::{AgentMessage, Envelope, ProtocolError, decode},
    time::Timestamp,
};
use quick_cache::sync::Cache;
use tracing::{Instrument, error, info_span};

use super::context::{Answer, Context, Identity, Sender};
use crate::{
    agent::SEEN_EVERY,
    error::{BematicError, chain},
    handlers::{connect::Connector, event::SocketEvent, transitions::Transitions},
    ports::Ports,
};

/// The age from which a connection has sent a heartbeat: a message over it is not its first,
/// whichever execution environment gets it.
const NEW_FOR: Duration = SEEN_EVERY;

/// The number of connections that each cache has room for.
const CACHED: usize = 4096;

/// Routes messages from agents to their handlers, which are methods in the other modules.
pub struct MessageRouter {
    pub(super) ports: Arc<Ports>,
    pub(super) transitions: Transitions,
    pub(super) connector: Connector,
    /// The agents of connections, which never change, and the spelling in which each is answered:
    /// that of the first message that arrived here.
    pub(super) known: Cache<ConnectionId, Sender>,
    /// The connections whose first message was recorded.
    pub(super) recorded: Cache<ConnectionId, ()>,
    /// The time at which a sign of life was last recorded over a connection.
    pub(super) signs_of_life: Cache<ConnectionId, Timestamp>,
}

impl MessageRouter {
    /// Creates a router on these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            connector: Connector::new(ports.clone()),
            known: Cache::new(CACHED),
            recorded: Cache::new(CACHED),
            signs_of_life: Cache::new(CACHED),
            ports,
        }
    }

    /// Handles one message. Never fails: errors are logged and sent to the agent, which repeats
    /// every message that must not be lost.
    pub async fn handle(&self, event: SocketEvent) {
        let span = info_span!("message", connection = %event.connection_id);
        async {
            if let Err(error) = self.route(&event).await {
                error!(
                    code = error.code(),
                    error = chain(&error),
                    "message not answered"
                );
            }
        }
        .instrument(span)
        .await;
    }

    async fn route(&self, event: &SocketEvent) -> Result<(), BematicError> {
        let now = self.ports.clock.now();
        let connection = &event.connection_id;
        let (envelope, spelling) = match decode::<AgentMessage>(&event.body) {
            Ok(decoded) => decoded,
            Err(error) => return self.answer_unparsable(event, error).await,
        };
        let identity = self.identify(event, spelling, &envelope, now);
        match identity.await {
            Ok(Identity::Known(sender)) => self.answer(event, &sender, envelope, now).await,
            Ok(Identity::JustBound(agent)) => {
                self.confirm_binding(connection, spelling, agent).await
            }
            Ok(Identity::Unbound(key_owner)) => {
                self.first_message(connection, spelling, envelope, key_owner, now)
                    .await
            }
            Err(error) => {
                self.send_error(connection, spelling, Some(envelope.id), error)
                    .await
            }
        }
    }

    /// Answers a message of a known agent.
    async fn answer(
        &self,
        event: &SocketEvent,
        sender: &Sender,
        envelope: Envelope<AgentMessage>,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let kind: &'static str = (&envelope.message).into();
        let span = info_span!("handle", agent = %sender.agent_id, kind, id = %envelope.id);
        async {
            let Envelope {
                id,
                timestamp: sent_at,
                message,
            } = envelope;
            let is_old = |at| now.since(at) >= NEW_FOR;
            let is_early = !event.connected_at.is_some_and(is_old);
            let context = Context {
                sender,
                message_id: &id,
                sent_at,
                now,
                is_early,
            };
            let is_sign = message.is_sign_of_life();
            let outcome = self.handle_message(context, message).await;
            let is_stored = event.agent_id.is_none() || is_sign && outcome.is_ok();
            let answered = match outcome {
                Ok(answer) => self.send_answer(sender, &id, answer).await,
                Err(error) => {
                    self.send_error(&sender.connection, sender.spelling, Some(id), error)
                        .await
                }
            };
            // The first message is recorded after it was handled, since it may set how many tasks
            // the agent runs at once.
            if !self.has_recorded(sender) {
                self.record_first_message(sender, is_stored, is_early)
                    .await?;
            }
            answered
        }
        .instrument(span)
        .await
    }

    /// Calls the handler of the message's type.
    async fn handle_message(
        &self,
        context: Context<'_>,
        message: AgentMessage,
    ) -> Result<Answer, BematicError> {
        match message {
            AgentMessage::AuthRequest(message) => {
                self.confirm_authentication(context, &message).await
            }
            AgentMessage::HeartbeatPing(message) => self.ping(context, message).await,
            AgentMessage::HeartbeatPong(message) => self.pong(context, message).await,
            AgentMessage::AgentStatus(message) => self.status(context, &message).await,
            AgentMessage::TaskAck(message) => self.acknowledge(context, message).await,
            AgentMessage::TaskProgress(message) => self.progress(context, message).await,
            AgentMessage::TaskStream(message) => self.stream(context, message).await,
            AgentMessage::TaskComplete(message) => self.complete(context, message).await,
            AgentMessage::TaskError(message) => self.error(context, message).await,
            AgentMessage::TaskCancelled(message) => self.cancelled(context, message).await,
        }
    }

    /// Answers a text that cannot be parsed: it closes an unbound connection only. This is rare, so
    /// a read for the sender is acceptable where the handshake did not name the agent.
    async fn answer_unparsable(
        &self,
        event: &SocketEvent,
        error: ProtocolError,
    ) -> Result<(), BematicError> {
        let (connection, spelling) = (&event.connection_id, error.spelling());
        match self.find_sender(event, spelling).await? {
            Some(sender) => {
                let id = error.message_id().cloned();
                self.send_error(connection, sender.spelling, id, error.into())
                    .await
            }
            None => self.refuse(connection, spelling, &error.into()).await,
        }
    }
}
