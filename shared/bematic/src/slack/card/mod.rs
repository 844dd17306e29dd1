//! A task as one Slack message. Pure: the same view gives the same message, so that an update that
//! would change nothing can be left out.
//!
//! Every part has a budget in [`mrkdwn::size`]. Together they stay under [`Message::CHARS`]: see
//! the numbers in [`budget`], and the property test.

mod batch;
mod ending;
mod notice;
mod status;

pub use self::{
    batch::batch_card,
    notice::{RESET, closed_notice, opened_notice},
};

use bematic_protocol::{messages::StepKind, time::Timestamp};
use strum::{EnumString, IntoStaticStr};

use super::{
    Message,
    message::{actions, context, section},
    mrkdwn,
    text::emoji,
};
use crate::task::{Completion, LateReport, Progress, Task, TaskState};

/// What each part of a card may take. A section holds [`Message::SECTION_LIMIT`].
mod budget {
    /// The task's title, shown twice: in the card, and in the notification.
    pub(super) const TITLE: usize = 300;
    /// Why a task waits or was cancelled.
    pub(super) const REASON: usize = 600;
    /// Why a task failed, before each of its lines is quoted: at worst that doubles it.
    pub(super) const FAILURE: usize = 800;
    /// One step; there are at most [`super::Progress::STEPS`].
    pub(super) const STEP: usize = 160;
    /// The output's tail.
    pub(super) const OUTPUT: usize = 2000;
    /// The output's tail above a result.
    pub(super) const OUTPUT_WITH_RESULT: usize = 1200;
    /// The result.
    pub(super) const RESULT: usize = 2000;
    /// One changed file's path.
    pub(super) const FILE: usize = 80;
    /// Changed files that are named.
    pub(super) const FILES: usize = 10;
    /// One late report.
    pub(super) const LATE: usize = 100;
    /// Late reports that are shown, the newest.
    pub(super) const LATES: usize = 3;
    /// A name: a model, a project.
    pub(super) const NAME: usize = 80;
}

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
    const fn label(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel",
            Self::Retry => "Retry",
        }
    }
}

/// Renders a task.
pub fn card(view: &TaskView<'_>) -> Message {
    let status = status::status(view);
    let title = mrkdwn::line(&view.task.title, budget::TITLE);
    let result = view.completion.map(|it| it.result.as_str());
    let skipped = view.late.len().saturating_sub(budget::LATES);
    let late: Vec<_> = view.late[skipped..].iter().map(ending::late).collect();
    let sections = [
        Some(format!("{}\n{title}", status.paragraph())),
        steps(view.progress),
        output(view.output, result),
        result.and_then(ending::result),
        view.completion.and_then(ending::files),
        (!late.is_empty()).then(|| late.join("\n")),
    ];
    let mut blocks: Vec<_> = sections.into_iter().flatten().map(section).collect();
    blocks.extend(view.completion.and_then(ending::figures).map(context));
    blocks.push(context(origin(view.task)));
    if !view.actions.is_empty() {
        let id = view.task.id.to_string();
        let buttons = view.actions.iter().map(|action| {
            let name: &'static str = action.into();
            (name, action.label(), id.as_str())
        });
        blocks.push(actions(buttons));
    }
    Message {
        text: format!("{} {}: {title}", emoji(&view.task.state), status.words),
        blocks,
    }
}

fn steps(progress: &Progress) -> Option<String> {
    let skipped = progress.steps.len().saturating_sub(Progress::STEPS);
    let lines: Vec<_> = progress.steps[skipped..]
        .iter()
        .map(|(kind, text)| (icon(*kind), mrkdwn::line(text, budget::STEP)))
        .filter(|(_, text)| !text.is_empty())
        .map(|(icon, text)| format!("{icon} {text}"))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

const fn icon(kind: StepKind) -> &'static str {
    match kind {
        StepKind::ToolUse => ":hammer_and_wrench:",
        StepKind::Thinking => ":thought_balloon:",
        StepKind::Info => ":small_blue_diamond:",
    }
}

/// Many agents end their output with the result: what is shown below it anyway is left out.
fn output(output: OutputTail<'_>, result: Option<&str>) -> Option<String> {
    let (text, budget) = match result.map(str::trim).filter(|result| !result.is_empty()) {
        None => (output.text, budget::OUTPUT),
        Some(result) => {
            let text = output.text.trim_end();
            let whole = ending::fits(result);
            let rest = text.strip_suffix(result).filter(|_| whole);
            (rest.unwrap_or(text), budget::OUTPUT_WITH_RESULT)
        }
    };
    let shown = mrkdwn::tail(text, output.cut, budget);
    (!shown.is_empty()).then(|| format!("*Output*\n{shown}"))
}

fn origin(task: &Task) -> String {
    format!(
        "`{}` · agent `{}` · project {} · asked by <@{}>",
        task.id,
        task.agent_id,
        mrkdwn::line(&task.project_id, budget::NAME),
        task.origin.user_id,
    )
}

/// How long a task took, or has taken.
fn elapsed(state: &TaskState, now: Timestamp) -> Option<std::time::Duration> {
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

#[cfg(test)]
mod tests;
