//! `ws-message` and `ws-heartbeat`: the messages from agents. The router parses a message, finds
//! its sender, calls one handler a type, logs, and answers. No handler sees a message that does not
//! validate, or one of an unbound connection.
//!
//! To add a message: a method of [`MessageRouter`] in a module here, and an arm in
//! `MessageRouter::handle_message`, which the compiler asks for once the protocol has the variant.

mod authentication;
mod presence;
mod task;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ConnectionId, MessageId},
    messages::{AgentMessage, CloudMessage, Envelope, SystemError, TypeSpelling, decode},
    time::Timestamp,
};
use quick_cache::sync::Cache;
use tracing::{Instrument, error, info, info_span, warn};

use super::{event::SocketEvent, transitions::Transitions};
use crate::{
    agent::{HEARTBEAT_RECORD_INTERVAL, KeyId},
    error::{AuthError, BematicError, Result, chain},
    ports::{Ports, SendOutcome},
    task::{Failure, FailureCode, TerminalMessage},
};

/// The age from which a connection has sent a heartbeat: a message over it is not its first,
/// whichever execution environment gets it.
const MAX_NEW_CONNECTION_AGE: Duration = HEARTBEAT_RECORD_INTERVAL;

/// The number of connections that each cache has room for.
const CONNECTION_CACHE_CAPACITY: usize = 4096;

/// The sender of a message, and its connection.
#[derive(Debug, Clone)]
struct SenderIdentity {
    /// The agent that the connection is bound to.
    agent_id: AgentId,
    connection: ConnectionId,
    /// The key with which the connection authenticated.
    key_id: Option<KeyId>,
    /// The spelling of the connection's first message, in which it is answered.
    spelling: TypeSpelling,
    /// Whether this environment has recorded the connection's first message.
    is_recorded: bool,
}

/// The inputs of a handler besides the payload.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    sender: &'a SenderIdentity,
    message_id: &'a MessageId,
    /// The time at which the message was sent, by the agent's clock.
    sent_at: Timestamp,
    /// The current time, by the cloud's clock.
    now: Timestamp,
    /// Whether the message may be among the first of its connection.
    is_early: bool,
}

/// Routes messages from agents to their handlers, which are methods in the other modules.
pub struct MessageRouter {
    ports: Arc<Ports>,
    transitions: Transitions,
    /// The senders over connections, whose agents never change.
    senders: Cache<ConnectionId, SenderIdentity>,
    /// The time at which a sign of life was last recorded over a connection.
    signs_of_life: Cache<ConnectionId, Timestamp>,
    /// The time at which tasks that an agent named over a connection were last looked up.
    lookups: Cache<ConnectionId, Timestamp>,
}

impl MessageRouter {
    /// Creates a router on these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            senders: Cache::new(CONNECTION_CACHE_CAPACITY),
            signs_of_life: Cache::new(CONNECTION_CACHE_CAPACITY),
            lookups: Cache::new(CONNECTION_CACHE_CAPACITY),
            ports,
        }
    }

    /// Handles one message. Never fails: errors are logged and sent to the agent, which repeats
    /// every message that must not be lost.
    pub async fn handle(&self, event: SocketEvent) {
        let span = info_span!("message", connection = %event.connection_id);
        let handling = async {
            if let Err(error) = self.route(&event).await {
                error!(code = error.code(), error = %chain(&error), "message not answered");
            }
        };
        handling.instrument(span).await;
    }

    /// Parses a message, finds its sender and has it handled. A message that is not valid is
    /// answered with an error; a connection of no known agent is closed.
    async fn route(&self, event: &SocketEvent) -> Result<()> {
        let now = self.ports.clock.now();
        let connection = &event.connection_id;
        let (envelope, spelling) = match decode::<AgentMessage>(&event.body) {
            Ok(decoded) => decoded,
            // This is rare, so a read for the sender is acceptable.
            Err(error) => {
                let (id, spelling) = (error.message_id().cloned(), error.spelling());
                return match self.find_sender(event, spelling).await? {
                    Some(sender) => {
                        let answer = logged_system_error(id, &error.into());
                        self.send(connection, sender.spelling, answer).await
                    }
                    None => {
                        self.refuse_and_close(connection, spelling, &error.into())
                            .await
                    }
                };
            }
        };
        match self
            .identify_or_authenticate(event, spelling, &envelope.message, now)
            .await
        {
            Ok(Some(sender)) => self.handle_and_answer(event, &sender, envelope, now).await,
            Ok(None) => Ok(()),
            // After an internal error the agent may try again on the same connection. A connection
            // that is another agent's by now stays open, too.
            Err(error)
                if error.is_transient()
                    || matches!(error, BematicError::Auth(AuthError::AlreadyAuthenticated)) =>
            {
                let answer = logged_system_error(Some(envelope.id), &error);
                self.send(connection, spelling, answer).await
            }
            Err(error) => self.refuse_and_close(connection, spelling, &error).await,
        }
    }

    /// Handles a message of a known agent, and answers it.
    async fn handle_and_answer(
        &self,
        event: &SocketEvent,
        sender: &SenderIdentity,
        envelope: Envelope<AgentMessage>,
        now: Timestamp,
    ) -> Result<()> {
        let Envelope {
            id,
            timestamp: sent_at,
            message,
        } = envelope;
        let kind: &'static str = (&message).into();
        let span = info_span!("handle", agent = %sender.agent_id, kind, %id);
        let answering = async {
            let is_old = |at| now.since(at) >= MAX_NEW_CONNECTION_AGE;
            let is_early = !event.connected_at.is_some_and(is_old);
            let context = Context {
                sender,
                message_id: &id,
                sent_at,
                now,
                is_early,
            };
            let is_sign = message.is_heartbeat_or_status();
            let is_request = matches!(message, AgentMessage::AuthRequest(_));
            let outcome = self.handle_message(context, message).await;
            let is_refused =
                matches!(&outcome, Err(BematicError::Auth(AuthError::BadApiKey(_)))) && !is_request;
            let is_stored = event.agent_id.is_none() || is_sign && outcome.is_ok();
            let answers =
                outcome.unwrap_or_else(|error| vec![logged_system_error(Some(id.clone()), &error)]);
            let answered = self.send_all(sender, answers).await;
            // The connection could not be closed when its key was revoked.
            if is_refused {
                let closed = self.ports.gateway.close(&sender.connection).await;
                let closed = closed.map_err(BematicError::from);
                if let Err(error) = &closed {
                    warn!(code = error.code(), error = %chain(error), "connection not closed");
                }
                return answered.and(closed);
            }
            // The first message is recorded after it was handled, since it may set how many tasks
            // the agent runs at once.
            if !sender.is_recorded {
                self.record_first_message(sender, is_stored, is_early)
                    .await?;
            }
            answered
        };
        answering.instrument(span).await
    }

    /// Calls the handler of the message's type. Returns the answers.
    async fn handle_message(
        &self,
        context: Context<'_>,
        message: AgentMessage,
    ) -> Result<Vec<CloudMessage>> {
        match message {
            AgentMessage::AuthRequest(message) => {
                self.handle_repeated_auth_request(context, &message).await
            }
            AgentMessage::HeartbeatPing(message) => {
                self.handle_heartbeat_ping(context, message).await
            }
            AgentMessage::HeartbeatPong(message) => {
                self.handle_heartbeat_pong(context, message).await
            }
            AgentMessage::AgentStatus(message) => self.handle_agent_status(context, &message).await,
            AgentMessage::TaskAck(message) => self.handle_task_ack(context, message).await,
            AgentMessage::TaskProgress(message) => {
                self.handle_task_progress(context, message).await
            }
            AgentMessage::TaskStream(message) => self.handle_task_stream(context, message).await,
            AgentMessage::TaskComplete(message) => {
                let (task, attempt) = (message.task_id, message.attempt);
                let terminal = TerminalMessage::Completed(Box::new(message.into()));
                self.handle_terminal_message(context, task, attempt, terminal)
                    .await
            }
            AgentMessage::TaskError(message) => {
                let (task, attempt, error) = (message.task_id, message.attempt, &message.error);
                let failure = Failure {
                    fault: message.fault,
                    ..Failure::new(FailureCode::AgentError, error, message.recoverable)
                };
                let terminal = TerminalMessage::Failed(failure);
                self.handle_terminal_message(context, task, attempt, terminal)
                    .await
            }
            AgentMessage::TaskCancelled(message) => {
                let (task, attempt) = (message.task_id, message.attempt);
                let terminal = TerminalMessage::Cancelled(message.reason);
                self.handle_terminal_message(context, task, attempt, terminal)
                    .await
            }
        }
    }

    /// Sends messages to an agent, one after another.
    async fn send_all(&self, to: &SenderIdentity, messages: Vec<CloudMessage>) -> Result<()> {
        for message in messages {
            self.send(&to.connection, to.spelling, message).await?;
        }
        Ok(())
    }

    /// Sends a message over a connection. It is no error if the connection is gone.
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        message: CloudMessage,
    ) -> Result<()> {
        let sent = self.ports.gateway.send(connection, spelling, message);
        if sent.await? == SendOutcome::Gone {
            info!("connection is gone: reply not sent");
        }
        Ok(())
    }
}

/// Logs the error, and returns SYSTEM_ERROR for the agent: to be called once for each error.
fn logged_system_error(message_id: Option<MessageId>, error: &BematicError) -> CloudMessage {
    let code = error.code();
    if error.is_transient() {
        error!(code, error = %chain(error), "message not handled");
    } else {
        warn!(code, %error, "message refused");
    }
    let (code, message) = (code.to_owned(), error.public_message());
    CloudMessage::SystemError(SystemError {
        code,
        message,
        message_id,
    })
}
