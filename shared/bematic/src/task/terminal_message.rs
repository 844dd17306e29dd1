//! The terminal messages of an attempt, and those that arrive too late to count.

use bematic_protocol::{ids::Attempt, time::Timestamp};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Completion, Failure, TaskEvent};

/// The content of a terminal message, named after the state that the task changes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TerminalMessage {
    /// TASK_COMPLETE, with the result.
    Completed(Box<Completion>),
    /// TASK_ERROR, with the failure.
    Failed(Failure),
    /// TASK_CANCELLED, with the reason.
    Cancelled(Option<String>),
}

impl TerminalMessage {
    /// Returns the event that the message is for its task.
    pub fn event(&self, attempt: Option<Attempt>) -> TaskEvent {
        match self {
            Self::Completed(_) => TaskEvent::Completed(attempt),
            Self::Failed(failure) => TaskEvent::Failed(attempt, failure.clone()),
            Self::Cancelled(reason) => TaskEvent::Cancelled(attempt, reason.clone()),
        }
    }

    /// Returns the result, if the attempt completed.
    pub fn completion(&self) -> Option<&Completion> {
        match self {
            Self::Completed(completion) => Some(completion),
            Self::Failed(_) | Self::Cancelled(_) => None,
        }
    }
}

/// A terminal message of an attempt that was over. Only the first one of an attempt is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateReport {
    /// The attempt.
    pub attempt: Attempt,
    /// The time at which the message arrived, by the cloud's clock.
    pub at: Timestamp,
    /// The content of the message.
    pub outcome: TerminalMessage,
}
