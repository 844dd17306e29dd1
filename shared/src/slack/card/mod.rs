//! A task as one Slack message. Pure: the same view gives the same message, so that an update that
//! would change nothing can be left out.

use super::Message;
use crate::{
    task::{Completion, Progress, Task},
    time::Timestamp,
};

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

/// A button of a card. None exists yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardAction {}

/// Renders a task.
pub fn card(view: &TaskView<'_>) -> Message {
    Message::plain(view.task.title.clone())
}
