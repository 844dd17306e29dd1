//! What the handlers of messages get, and what they give back.

use bematic_protocol::{
    ids::{AgentId, ConnectionId, MessageId},
    messages::{CloudMessage, Spelling, TaskCancel},
    time::Timestamp,
};

use crate::{
    error::BematicError,
    task::{Task, TaskState},
};

/// Who sent a message, over what.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// The agent that the connection is bound to.
    pub agent_id: AgentId,
    /// The connection.
    pub connection: ConnectionId,
    /// How it spells.
    pub spelling: Spelling,
}

/// What a handler gets beside the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Who sent it.
    pub sender: &'a Sender,
    /// The message's id.
    pub message_id: &'a MessageId,
    /// When it was sent, by the agent's clock.
    pub sent_at: Timestamp,
    /// Now, by ours.
    pub now: Timestamp,
    /// Whether it may be among the first messages of its connection.
    pub is_early: bool,
}

/// What a handler answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Sent back as they are.
    pub messages: Vec<CloudMessage>,
    /// The message must not be lost and is durable: MESSAGE_ACK.
    pub confirm: bool,
    /// Sent to the agent as SYSTEM_ERROR.
    pub error: Option<BematicError>,
}

impl Answer {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Messages back, or none.
    pub(super) fn messages(messages: impl IntoIterator<Item = CloudMessage>) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            ..Self::default()
        }
    }

    /// A message back.
    pub(super) fn message(message: CloudMessage) -> Self {
        Self::messages([message])
    }
}

/// TASK_CANCEL for an agent that speaks of a task that was cancelled, since the first may have been
/// lost, or of one that was moved to another agent.
pub(super) fn stop(task: &Task, sender: &AgentId) -> Option<CloudMessage> {
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
