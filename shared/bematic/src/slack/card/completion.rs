//! The parts of a card about the result of a task, and about late reports.

use super::budget;
use crate::{
    slack::{mrkdwn, text::count_with_noun},
    task::{Completion, LateReport, TerminalMessage},
};

/// Renders the result, or its beginning if it is long.
pub(super) fn result(result: &str) -> Option<String> {
    let shown = mrkdwn::render_head(result, budget::RESULT_CHARS);
    (!shown.is_empty()).then(|| format!("*Result*\n{shown}"))
}

/// Whether a result is shown as a whole.
pub(super) fn is_shown_whole(result: &str) -> bool {
    result.len() <= budget::RESULT_CHARS * 4
        && mrkdwn::utf16_len(&mrkdwn::from_markdown(&mrkdwn::clean_terminal_text(result)))
            <= budget::RESULT_CHARS
}

/// Renders the number of changed files, and the first of them by name.
pub(super) fn changed_files(completion: &Completion) -> Option<String> {
    let files = &completion.files_changed;
    let count = format!("*{} changed*", count_with_noun(files.len(), "file"));
    let named = files.iter().take(budget::MAX_FILES).map(|path| {
        format!(
            "• {}",
            mrkdwn::escape_one_line(path, budget::FILE_PATH_CHARS)
        )
    });
    let more = files.len().saturating_sub(budget::MAX_FILES);
    let more = (more > 0).then(|| format!("and {more} more"));
    let lines: Vec<_> = std::iter::once(count).chain(named).chain(more).collect();
    (!files.is_empty()).then(|| lines.join("\n"))
}

/// Renders model, tokens and cost, as far as the agent reported them.
pub(super) fn model_tokens_and_cost(completion: &Completion) -> Option<String> {
    let (read, written) = (completion.input_tokens, completion.output_tokens);
    let (model, cost) = (completion.model.as_deref(), completion.estimated_cost);
    let figures = [
        model.map(|model| mrkdwn::escape_one_line(model, budget::NAME_CHARS)),
        (read > 0 || written > 0).then(|| {
            format!(
                "{} tokens in, {} out",
                group_digits(read),
                group_digits(written)
            )
        }),
        (cost > 0.0).then(|| dollars(cost)),
    ];
    let figures: Vec<_> = figures
        .into_iter()
        .flatten()
        .filter(|figure| !figure.is_empty())
        .collect();
    (!figures.is_empty()).then(|| figures.join(" · "))
}

fn dollars(cost: f64) -> String {
    /// The largest cost that is shown: a number can be written with 300 digits.
    const MAX: f64 = 1e9;
    match cost {
        0.0..0.0001 => "under $0.0001".to_owned(),
        0.0..1.0 => format!("${cost:.4}"),
        _ => format!("${:.2}", cost.min(MAX)),
    }
}

/// Formats a number in groups of three digits: `1 234 567`.
fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b' ')).into_owned()
}

/// Renders a late report.
pub(super) fn late_report(report: &LateReport) -> String {
    let (verb, text) = match &report.outcome {
        TerminalMessage::Completed(completion) => ("completed", Some(completion.result.as_str())),
        TerminalMessage::Failed(failure) => ("failed", Some(failure.message.as_str())),
        TerminalMessage::Cancelled(reason) => ("was stopped", reason.as_deref()),
    };
    let first = format!(":snail: *Late:* attempt {} {verb}", report.attempt);
    match mrkdwn::escape_one_line(text.unwrap_or_default(), budget::LATE_REPORT_CHARS) {
        text if text.is_empty() => first,
        text => format!("{first}: {text}"),
    }
}
