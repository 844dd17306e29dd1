//! What a card is made of.

use bematic_protocol::time::Timestamp;
use strum::{EnumString, IntoStaticStr};

use crate::task::{Completion, LateReport, Progress, Task, TaskState};

/// What a card is made of.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its percent and newest steps.
    pub progress: &'a Progress,
    /// The end of its output.
    pub output: OutputTail<'a>,
    /// What came of it, once it is completed.
    pub completion: Option<&'a Completion>,
    /// What came too late to count.
    pub late: &'a [LateReport],
    /// Whether its agent is offline, while it waits for it.
    pub offline: bool,
    /// The buttons under it.
    pub actions: &'a [CardAction],
    /// Now.
    pub now: Timestamp,
}

/// The end of a task's output.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputTail<'a> {
    /// As the agent wrote it.
    pub text: &'a str,
    /// Whether there was more before it.
    pub cut: bool,
}

/// A button of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum CardAction {
    /// Stops the task.
    Cancel,
    /// Tries it again.
    Retry,
}

impl CardAction {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel",
            Self::Retry => "Retry",
        }
    }
}

/// How long a task took, or has taken.
pub(super) fn elapsed(state: &TaskState, now: Timestamp) -> Option<std::time::Duration> {
    let (from, to) = match state {
        TaskState::Pending { .. } | TaskState::Dispatched { .. } => return None,
        TaskState::Processing { started_at, .. } => (Some(*started_at), now),
        TaskState::Completed {
            started_at,
            finished_at,
            ..
        } => (Some(*started_at), *finished_at),
        TaskState::Failed {
            started_at,
            finished_at,
            ..
        }
        | TaskState::Cancelled {
            started_at,
            finished_at,
            ..
        } => (*started_at, *finished_at),
    };
    from.map(|from| to.since(from))
}
