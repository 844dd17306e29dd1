//! `ws-message`: the message router. Parses, finds out who speaks, dispatches to one handler a
//! type, logs, and answers; no handler sees a message that does not validate, or a stranger.
//!
//! To add a message: a handler in a module here, and an arm in [`MessageRouter::dispatch`]; the
//! compiler asks for it once the protocol has the variant.

mod ack;
mod auth;
mod heartbeat;
mod identity;
mod presence;
mod report;
mod running;
mod status;
mod terminal;

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use tracing::{Instrument, error, info, info_span, warn};

use self::identity::Speaker;
pub use self::{
    ack::Acknowledge, auth::Authenticate, heartbeat::Heartbeats, presence::Presence,
    report::Reports, running::Running, status::StatusReports, terminal::Endings,
};
use super::{event::SocketEvent, transitions::Transitions};
use crate::{
    agent::SEEN_EVERY,
    error::{BematicError, chain},
    ports::{Delivery, Ports},
    task::{Task, TaskState},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, MessageId},
    messages::{
        AgentMessage, CloudMessage, Envelope, MessageAck, ProtocolError, Spelling, SystemError,
        TaskCancel, decode,
    },
    time::Timestamp,
};

/// Connections that are remembered.
const REMEMBERED: usize = 4096;
/// An older connection than this has sent a heartbeat: what is said over it is not its first word,
/// whichever execution environment hears it.
const NEW_FOR: Duration = SEEN_EVERY;

/// Who sent a message, over what.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The agent that the connection is bound to.
    pub agent_id: AgentId,
    /// The connection.
    pub connection: ConnectionId,
    /// How it spells.
    pub spelling: Spelling,
}

/// What a handler gets beside the payload.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who sent it.
    pub sender: &'a Sender,
    /// The message's id.
    pub message_id: &'a MessageId,
    /// When it was sent, by the agent's clock.
    pub sent_at: Timestamp,
    /// Now, by ours.
    pub now: Timestamp,
    /// Whether it may be among the first words of its connection.
    pub is_early: bool,
}

/// What a handler has to say.
#[derive(Debug, Default)]
pub struct Answer {
    /// Sent back as they are.
    pub messages: Vec<CloudMessage>,
    /// The message must not be lost and is durable: MESSAGE_ACK.
    pub confirm: bool,
    /// Told to the agent as SYSTEM_ERROR.
    pub error: Option<BematicError>,
}

impl Answer {
    /// Nothing to say.
    pub fn none() -> Self {
        Self::default()
    }

    /// Messages back, or none.
    pub fn messages(messages: impl IntoIterator<Item = CloudMessage>) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            ..Self::default()
        }
    }

    /// A message back.
    pub fn message(message: CloudMessage) -> Self {
        Self {
            messages: vec![message],
            ..Self::default()
        }
    }
}

/// TASK_CANCEL for whoever speaks of a task that was cancelled, since the first may have been lost,
/// or of one that another agent got since.
fn stop(task: &Task, sender: &AgentId) -> Option<CloudMessage> {
    let cancelled = matches!(task.state, TaskState::Cancelled { .. });
    let reason = if cancelled || task.state.cancel_request().is_some() {
        "the task is cancelled"
    } else if task.went_on_without(sender) {
        "the task went to another agent"
    } else {
        return None;
    };
    Some(CloudMessage::TaskCancel(TaskCancel {
        task_id: task.id,
        reason: reason.into(),
    }))
}

/// Routes messages.
pub struct MessageRouter {
    ports: Arc<Ports>,
    /// Whose connections are, which never changes, and how they are answered: as the first message
    /// that came here was spelled.
    known: Cache<ConnectionId, Sender>,
    /// Those whose first message was passed on.
    met: Cache<ConnectionId, ()>,
    authenticate: Authenticate,
    heartbeats: Heartbeats,
    status: StatusReports,
    acknowledge: Acknowledge,
    reports: Reports,
    endings: Endings,
}

impl MessageRouter {
    /// A router to one handler a type, on the same ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        let transitions = Transitions::new(ports.clone());
        let presence = Presence::new(ports.clone(), transitions.clone());
        let running = Arc::new(Running::default());
        Self {
            known: Cache::new(REMEMBERED),
            met: Cache::new(REMEMBERED),
            authenticate: Authenticate::new(ports.clone()),
            heartbeats: Heartbeats::new(presence.clone()),
            status: StatusReports::new(ports.clone(), presence),
            acknowledge: Acknowledge::new(transitions.clone(), running.clone()),
            reports: Reports::new(ports.clone(), transitions.clone(), running),
            endings: Endings::new(transitions),
            ports,
        }
    }

    /// Handles one message. Never fails: what goes wrong is logged, and told to the agent, which
    /// sends what must not be lost again.
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
        match decode::<AgentMessage>(&event.body) {
            Err(error) => self.misunderstood(event, error).await,
            Ok((envelope, spelling)) => {
                match self.identify(event, spelling, &envelope, now).await {
                    Ok(Speaker::Known(sender)) => self.answer(event, &sender, envelope, now).await,
                    Ok(Speaker::Newcomer(agent)) => self.welcome(connection, spelling, agent).await,
                    Ok(Speaker::Stranger(claim)) => {
                        let first = self.first_message(connection, spelling, envelope, claim, now);
                        first.await
                    }
                    Err(error) => {
                        self.complain(connection, spelling, Some(envelope.id), error)
                            .await
                    }
                }
            }
        }
    }

    /// A message of a known agent.
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
            let outcome = self.dispatch(context, message).await;
            let noted = event.agent_id.is_none() || is_sign && outcome.is_ok();
            let answered = match outcome {
                Ok(answer) => self.reply(sender, &id, answer).await,
                Err(error) => {
                    self.complain(&sender.connection, sender.spelling, Some(id), error)
                        .await
                }
            };
            // After what it says of itself, such as how much work it takes.
            if self.met.get(&sender.connection).is_none() {
                self.meet(sender, noted, is_early).await?;
            }
            answered
        }
        .instrument(span)
        .await
    }

    /// One handler a type.
    async fn dispatch(
        &self,
        context: Context<'_>,
        message: AgentMessage,
    ) -> Result<Answer, BematicError> {
        match message {
            AgentMessage::AuthRequest(message) => self.authenticate.again(context, &message).await,
            AgentMessage::HeartbeatPing(message) => self.heartbeats.ping(context, message).await,
            AgentMessage::HeartbeatPong(message) => self.heartbeats.pong(context, message).await,
            AgentMessage::AgentStatus(message) => self.status.handle(context, &message).await,
            AgentMessage::TaskAck(message) => self.acknowledge.handle(context, message).await,
            AgentMessage::TaskProgress(message) => self.reports.progress(context, message).await,
            AgentMessage::TaskStream(message) => self.reports.stream(context, message).await,
            AgentMessage::TaskComplete(message) => self.endings.complete(context, message).await,
            AgentMessage::TaskError(message) => self.endings.error(context, message).await,
            AgentMessage::TaskCancelled(message) => self.endings.cancelled(context, message).await,
        }
    }

    async fn reply(
        &self,
        sender: &Sender,
        id: &MessageId,
        answer: Answer,
    ) -> Result<(), BematicError> {
        if answer.confirm {
            let ack = CloudMessage::MessageAck(MessageAck {
                message_id: id.clone(),
            });
            self.send(&sender.connection, sender.spelling, ack).await?;
        }
        for message in answer.messages {
            self.send(&sender.connection, sender.spelling, message)
                .await?;
        }
        if let Some(error) = answer.error {
            self.complain(&sender.connection, sender.spelling, Some(id.clone()), error)
                .await?;
        }
        Ok(())
    }

    /// Text that is no message: it closes a connection only if that is nobody's yet. A rare thing,
    /// so that a read for whose it is is well spent where the handshake did not say.
    async fn misunderstood(
        &self,
        event: &SocketEvent,
        error: ProtocolError,
    ) -> Result<(), BematicError> {
        let connection = &event.connection_id;
        match self.find_sender(event, error.spelling()).await? {
            Some(sender) => {
                let id = error.message_id().cloned();
                self.complain(connection, sender.spelling, id, error.into())
                    .await
            }
            None => {
                self.turn_away(connection, error.spelling(), &error.into())
                    .await
            }
        }
    }

    /// Logs the error once, and tells the agent.
    async fn complain(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message_id: Option<MessageId>,
        error: BematicError,
    ) -> Result<(), BematicError> {
        if error.is_transient() {
            error!(
                code = error.code(),
                error = chain(&error),
                "message not handled"
            );
        } else {
            warn!(code = error.code(), %error, "message refused");
        }
        let complaint = CloudMessage::SystemError(SystemError {
            code: error.code().to_owned(),
            message: error.public_message(),
            message_id,
        });
        self.send(connection, spelling, complaint).await
    }

    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<(), BematicError> {
        if self
            .ports
            .gateway
            .send(connection, spelling, message)
            .await?
            == Delivery::Gone
        {
            info!("the connection is gone; its agent will ask again over the next one");
        }
        Ok(())
    }
}
