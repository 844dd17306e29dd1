//! The data of a card.

use strum::{EnumString, IntoStaticStr};

use crate::task::{Completion, LateReport, OutputTail, Progress, Task};

/// The data that a card is rendered from.
#[derive(Debug)]
pub(crate) struct TaskView {
    pub task: Task,
    pub progress: Progress,
    /// The end of the task's output.
    pub output: OutputTail,
    /// The task's result, once it is completed.
    pub completion: Option<Completion>,
    pub late: Vec<LateReport>,
    /// Whether the agent of a waiting task is offline.
    pub offline: bool,
    pub buttons: &'static [CardAction],
}

/// A button of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum CardAction {
    Cancel,
    Retry,
}
