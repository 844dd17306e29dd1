//! A task's card: the task as one Slack message. Every part has a budget, measured by
//! [`mrkdwn::size`]. Together they stay under [`Message::CHARS`], as the property test asserts.

mod batch;
mod budget;
mod completion;
mod notice;
mod status;
mod view;

pub(crate) use self::{
    batch::batch_card,
    notice::{RESET, closed_notice, opened_notice},
    view::{CardAction, TaskView},
};

use bematic_protocol::{messages::StepKind, time::Timestamp};

use super::{
    Message,
    message::{actions, context, section},
    mrkdwn,
    text::emoji,
};
use crate::task::{Output, Progress, Task};

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
