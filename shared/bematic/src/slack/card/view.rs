//! The data of a card.

use bematic_protocol::time::Timestamp;
use strum::{EnumString, IntoStaticStr};

use crate::task::{Completion, LateReport, Progress, Task, TaskState};

/// The data that a card is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// The task.
    pub task: &'a Task,
    /// The progress of the task.
    pub progress: &'a Progress,
    /// The end of the task's output.
    pub output: OutputTail<'a>,
    /// The task's result, once it is completed.
    pub completion: Option<&'a Completion>,
    /// The late reports of the task.
    pub late: &'a [LateReport],
    /// Whether the agent of a waiting task is offline.
    pub offline: bool,
    /// The buttons of the card.
    pub actions: &'a [CardAction],
    /// The current time.
    pub now: Timestamp,
}

/// The end of a task's output.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputTail<'a> {
    /// The text, as the agent wrote it.
    pub text: &'a str,
    /// Whether there is more output before the text.
    pub cut: bool,
}

/// A button of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum CardAction {
    /// Cancels the task.
    Cancel,
    /// Retries the task.
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

/// Returns how long a task took, or has been running.
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
