//! The inputs and the answers of the message handlers.

use bematic_protocol::{
    ids::{AgentId, ConnectionId, MessageId},
    messages::{CloudMessage, Spelling, TaskCancel},
    time::Timestamp,
};

use crate::{
    agent::Agent,
    error::BematicError,
    task::{Task, TaskState},
};

/// The sender of a message, and its connection.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// The agent that the connection is bound to.
    pub agent_id: AgentId,
    /// The connection's id.
    pub connection: ConnectionId,
    /// The spelling of the connection.
    pub spelling: Spelling,
}

/// The identity of a message's sender.
pub(super) enum Identity {
    /// An agent that the connection is bound to.
    Known(Sender),
    /// An agent that the connection was just bound to.
    JustBound(AgentId),
    /// The connection is unbound; with the agent that the message's key belongs to, if it has a
    /// valid one.
    Unbound(Option<Box<Agent>>),
}

/// The inputs of a handler besides the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The sender of the message.
    pub sender: &'a Sender,
    /// The message's id.
    pub message_id: &'a MessageId,
    /// The time at which the message was sent, by the agent's clock.
    pub sent_at: Timestamp,
    /// The current time, by the cloud's clock.
    pub now: Timestamp,
    /// Whether the message may be among the first of its connection.
    pub is_early: bool,
}

/// The answer of a handler.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Messages that are sent back as they are.
    pub messages: Vec<CloudMessage>,
    /// Whether to send MESSAGE_ACK: the message must not be lost, and its effect is durable.
    pub confirm: bool,
    /// An error that is sent to the agent as SYSTEM_ERROR.
    pub error: Option<BematicError>,
}

impl Answer {
    /// Returns an empty answer.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Returns an answer of messages.
    pub(super) fn messages(messages: impl IntoIterator<Item = CloudMessage>) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Returns an answer of one message.
    pub(super) fn message(message: CloudMessage) -> Self {
        Self::messages([message])
    }
}

/// Returns TASK_CANCEL for an agent that reports on a task that was cancelled, since the first one
/// may have been lost, or on a task that was moved to another agent.
pub(super) fn cancel_message(task: &Task, sender: &AgentId) -> Option<CloudMessage> {
    let cancelled = matches!(task.state, TaskState::Cancelled { .. });
    let reason = if cancelled || task.state.cancel_request().is_some() {
        "the task is cancelled"
    } else if task.was_moved_from(sender) {
        "the task was moved to another agent"
    } else {
        return None;
    };
    Some(CloudMessage::TaskCancel(TaskCancel {
        task_id: task.id,
        reason: reason.into(),
    }))
}
