//! A task's card: the task as one Slack message. Every part has a budget, measured by
//! [`mrkdwn::utf16_len`]. Together they stay under [`Message::MAX_CHARS`], as the property
//! test asserts.

mod batch;
mod budget;
mod completion;
mod notice;
mod status;
mod view;

pub(crate) use self::{
    batch::batch_card,
    notice::{RESET_ACTION_ID, breaker_closed_notice, breaker_opened_notice, take_over_notice},
    view::{CardAction, TaskView},
};

use bematic_protocol::{messages::StepKind, time::Timestamp};

use super::{
    Message,
    message::{actions_block, context_block, section_block},
    mrkdwn,
    text::state_emoji,
};
use crate::task::{OutputTail, Progress, Task};

impl TaskView {
    /// Renders the card.
    pub(crate) fn render(&self, now: Timestamp) -> Message {
        let (phrase, details) = status::status(self, now);
        let emoji = state_emoji(&self.task.state);
        let title = mrkdwn::escape_one_line(&self.task.title, budget::TITLE_CHARS);
        let completion = self.completion.as_ref();
        let result = completion.map(|it| it.result.as_str());
        let skipped = self.late.len().saturating_sub(budget::MAX_LATE_REPORTS);
        let late: Vec<_> = self.late[skipped..]
            .iter()
            .map(completion::late_report)
            .collect();
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
            completion.and_then(completion::changed_files),
            (!late.is_empty()).then(|| late.join("\n")),
        ];
        let mut blocks: Vec<_> = sections.into_iter().flatten().map(section_block).collect();
        blocks.extend(
            completion
                .and_then(completion::model_tokens_and_cost)
                .map(context_block),
        );
        blocks.push(context_block(footer(&self.task)));
        if !self.buttons.is_empty() {
            let id = self.task.id.to_string();
            blocks.push(actions_block(self.buttons.iter().map(|button| {
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
    let skipped = progress
        .steps
        .len()
        .saturating_sub(Progress::MAX_STEPS_SHOWN);
    let lines: Vec<_> = progress.steps[skipped..]
        .iter()
        .map(|(kind, text)| (kind, mrkdwn::escape_one_line(text, budget::STEP_CHARS)))
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
fn output(output: &OutputTail, result: Option<&str>) -> Option<String> {
    let (text, budget) = match result.map(str::trim).filter(|result| !result.is_empty()) {
        None => (&*output.text, budget::OUTPUT_CHARS),
        Some(result) => {
            let text = output.text.trim_end();
            let rest = text
                .strip_suffix(result)
                .filter(|_| completion::is_shown_whole(result));
            (rest.unwrap_or(text), budget::OUTPUT_WITH_RESULT_CHARS)
        }
    };
    let shown = mrkdwn::render_tail(text, output.cut, budget);
    (!shown.is_empty()).then(|| format!("*Output*\n{shown}"))
}

/// Renders the last line: the ids of the task, its agent, its project and the operator.
fn footer(task: &Task) -> String {
    format!(
        "`{}` · agent `{}` · project {} · asked by <@{}>",
        task.id,
        task.agent_id,
        mrkdwn::escape_one_line(&task.project_id, budget::NAME_CHARS),
        task.origin.user_id,
    )
}

#[cfg(test)]
mod tests;
