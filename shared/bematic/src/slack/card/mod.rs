//! A task's card: the task as one Slack message. Every part has a budget, measured by
//! [`mrkdwn::size`]. Together they stay under [`Message::CHARS`], as the property test asserts.

mod batch;
mod completion;
mod notice;
mod status;

pub(crate) use self::{
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
use crate::task::{Completion, LateReport, Output, Progress, Task};

/// The budget of each part of a card, in characters.
mod budget {
    /// The task's title, shown twice: in the card, and in the notification.
    pub(super) const TITLE: usize = 300;
    /// The reason why a task waits or was cancelled.
    pub(super) const REASON: usize = 600;
    /// The message of a failure, before each of its lines is quoted: at worst that doubles it.
    pub(super) const FAILURE: usize = 800;
    /// One step; there are at most `Progress::STEPS`.
    pub(super) const STEP: usize = 160;
    pub(super) const OUTPUT: usize = 2000;
    pub(super) const OUTPUT_WITH_RESULT: usize = 1200;
    pub(super) const RESULT: usize = 2000;
    /// One changed file's path.
    pub(super) const FILE: usize = 80;
    /// The number of changed files that are named.
    pub(super) const FILES: usize = 10;
    /// One late report.
    pub(super) const LATE: usize = 100;
    /// The number of late reports that are shown, the newest.
    pub(super) const LATES: usize = 3;
    /// A name, of a model or a project.
    pub(super) const NAME: usize = 80;
}

/// The data that a card is rendered from.
#[derive(Debug)]
pub(crate) struct TaskView {
    pub task: Task,
    pub progress: Progress,
    /// The end of the task's output.
    pub output: Output,
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

impl TaskView {
    /// Renders the card.
    pub(crate) fn render(&self, now: Timestamp) -> Message {
        let (phrase, details) = status::status(self, now);
        let emoji = emoji(&self.task.state);
        let title = mrkdwn::line(&self.task.title, budget::TITLE);
        let completion = self.completion.as_ref();
        let result = completion.map(|it| it.result.as_str());
        let skipped = self.late.len().saturating_sub(budget::LATES);
        let late: Vec<_> = self.late[skipped..].iter().map(completion::late).collect();
        let first = [
            vec![format!("{emoji} *{phrase}*")],
            details,
            vec![title.clone()],
        ]
        .concat();
        let sections = [
            Some(first.join("\n")),
            steps(&self.progress),
            output(&self.output, result),
            result.and_then(completion::result),
            completion.and_then(completion::files),
            (!late.is_empty()).then(|| late.join("\n")),
        ];
        let mut blocks: Vec<_> = sections.into_iter().flatten().map(section).collect();
        blocks.extend(completion.and_then(completion::figures).map(context));
        blocks.push(context(origin(&self.task)));
        if !self.buttons.is_empty() {
            let id = self.task.id.to_string();
            blocks.push(actions(self.buttons.iter().map(|button| {
                let label = match button {
                    CardAction::Cancel => "Cancel",
                    CardAction::Retry => "Retry",
                };
                (button.into(), label, &*id)
            })));
        }
        Message {
            text: format!("{emoji} {phrase}: {title}"),
            blocks,
        }
    }
}

fn steps(progress: &Progress) -> Option<String> {
    let skipped = progress.steps.len().saturating_sub(Progress::STEPS);
    let lines: Vec<_> = progress.steps[skipped..]
        .iter()
        .map(|(kind, text)| (kind, mrkdwn::line(text, budget::STEP)))
        .filter(|(_, text)| !text.is_empty())
        .map(|(kind, text)| match kind {
            StepKind::ToolUse => format!(":hammer_and_wrench: {text}"),
            StepKind::Thinking => format!(":thought_balloon: {text}"),
            StepKind::Info => format!(":small_blue_diamond: {text}"),
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Renders the end of the output, without the result, if that is shown below as a whole.
fn output(output: &Output, result: Option<&str>) -> Option<String> {
    let (text, budget) = match result.map(str::trim).filter(|result| !result.is_empty()) {
        None => (&*output.text, budget::OUTPUT),
        Some(result) => {
            let text = output.text.trim_end();
            let rest = text
                .strip_suffix(result)
                .filter(|_| completion::fits(result));
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

#[cfg(test)]
mod tests;
