//! A task's card: the task as one Slack message. Pure: the same view gives the same message, so
//! that an update that would change nothing can be skipped.
//!
//! Every part has a budget, measured by [`mrkdwn::size`]. Together they stay under
//! [`Message::CHARS`]: see the numbers in [`budget`], and the property test.

mod batch;
mod budget;
mod completion;
mod notice;
mod status;
mod view;

pub use self::{
    batch::batch_card,
    notice::{RESET, closed_notice, opened_notice},
    view::{CardAction, OutputTail, TaskView},
};

use bematic_protocol::messages::StepKind;

use super::{
    Message,
    message::{actions, context, section},
    mrkdwn,
    text::emoji,
};
use crate::task::{Progress, Task};

/// Renders a task's card.
pub fn card(view: &TaskView<'_>) -> Message {
    let (phrase, details) = status::status(view);
    let emoji = emoji(&view.task.state);
    let title = mrkdwn::line(&view.task.title, budget::TITLE);
    let result = view.completion.map(|it| it.result.as_str());
    let skipped = view.late.len().saturating_sub(budget::LATES);
    let late: Vec<_> = view.late[skipped..].iter().map(completion::late).collect();
    let first = [
        vec![format!("{emoji} *{phrase}*")],
        details,
        vec![title.clone()],
    ]
    .concat();
    let sections = [
        Some(first.join("\n")),
        steps(view.progress),
        output(view.output, result),
        result.and_then(completion::result),
        view.completion.and_then(completion::files),
        (!late.is_empty()).then(|| late.join("\n")),
    ];
    let mut blocks: Vec<_> = sections.into_iter().flatten().map(section).collect();
    blocks.extend(view.completion.and_then(completion::figures).map(context));
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
        text: format!("{emoji} {phrase}: {title}"),
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

/// Renders the end of the output. Many agents end their output with the result: a result that is
/// shown below as a whole is left out.
fn output(output: OutputTail<'_>, result: Option<&str>) -> Option<String> {
    let (text, budget) = match result.map(str::trim).filter(|result| !result.is_empty()) {
        None => (output.text, budget::OUTPUT),
        Some(result) => {
            let text = output.text.trim_end();
            let whole = completion::fits(result);
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

#[cfg(test)]
mod tests;
