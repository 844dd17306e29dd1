//! The terminal message of a run.

use std::time::Duration;

use bematic_protocol::{
    ids::Attempt,
    messages::{AgentMessage, Fault, TaskCancelled, TaskComplete, TaskFailure, limits},
};

use crate::{
    notice::TaskStatus,
    progress_line::ResultFields,
    run::{EndedRun, Outcome, RunKey},
    text::{escaped_len, fit_escaped, shorten},
};

/// Bytes of JSON that a result may take: three quarters of a message, which leaves room for the
/// lists and the envelope.
const RESULT_BUDGET_BYTES: usize = limits::MAX_MESSAGE_BYTES / 4 * 3;
/// Bytes of JSON that a list of files or commands may take.
const LIST_BUDGET_BYTES: usize = limits::MAX_MESSAGE_BYTES / 16;
/// Bytes of JSON that an error may take.
const ERROR_BUDGET_BYTES: usize = limits::MAX_MESSAGE_BYTES / 8;
/// Characters of a session id, which goes into an environment variable later, and of the reason of
/// a cancellation.
const SHORT_FIELD_CHARS: usize = 1000;

/// The cause for which a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopCause {
    /// An operator's cancellation, with its reason.
    Cancelled(String),
    /// A later attempt of the same task.
    Superseded(Option<Attempt>),
    Shutdown,
}

/// The terminal message of `run`, which was stopped for a cause or ended by itself.
pub(super) fn message(run: RunKey, cause: Option<StopCause>, ended: EndedRun) -> AgentMessage {
    let summary = ended.summary;
    match (ended.outcome, cause) {
        (Outcome::Stopped, Some(StopCause::Shutdown) | None) => failure_message(
            run,
            "the agent was stopped before the task ended; retry it when the agent is back",
            true,
            // The command is not what ended the run, whatever it declared before.
            ResultFields {
                recoverable: None,
                ..summary
            },
        ),
        (Outcome::Stopped, Some(StopCause::Cancelled(reason))) => cancelled_message(run, &reason),
        (Outcome::Stopped, Some(StopCause::Superseded(by))) => {
            let by = by.map_or_else(|| "a later attempt".to_owned(), |n| format!("attempt {n}"));
            cancelled_message(run, &format!("{by} of the task replaced this one"))
        }
        (Outcome::NotStarted(sentence), _) => failure_message(run, &sentence, false, summary),
        (Outcome::Failed(how), _) => {
            let error = match &summary.error {
                Some(declared) => format!("{declared} ({how})"),
                None if ended.error_tail.is_empty() => how,
                None => format!("{how}\n\n{}", ended.error_tail),
            };
            failure_message(run, &error, true, summary)
        }
        (Outcome::Succeeded, _) => match summary.error.clone() {
            Some(error) => failure_message(run, &error, false, summary),
            None => complete_message(run, summary, ended.output_tail, ended.duration),
        },
    }
}

/// A task that was stopped on request.
pub(super) fn cancelled_message(run: RunKey, reason: &str) -> AgentMessage {
    AgentMessage::TaskCancelled(TaskCancelled {
        task_id: run.task,
        attempt: run.attempt,
        reason: Some(shorten(reason, SHORT_FIELD_CHARS)),
    })
}

/// The outcome that a terminal message reports, with the reason unless the task is completed.
pub(super) fn status_and_reason(message: &AgentMessage) -> (TaskStatus, Option<String>) {
    match message {
        AgentMessage::TaskComplete(_) => (TaskStatus::Completed, None),
        AgentMessage::TaskCancelled(cancelled) => (TaskStatus::Cancelled, cancelled.reason.clone()),
        AgentMessage::TaskError(failure) => (TaskStatus::Failed, Some(failure.error.clone())),
        _ => (TaskStatus::Failed, None),
    }
}

fn failure_message(
    run: RunKey,
    error: &str,
    recoverable: bool,
    summary: ResultFields,
) -> AgentMessage {
    AgentMessage::TaskError(TaskFailure {
        task_id: run.task,
        attempt: run.attempt,
        error: fit_escaped(error, ERROR_BUDGET_BYTES),
        recoverable: summary.recoverable.unwrap_or(recoverable),
        session_id: summary.session_id.map(|id| shorten(&id, SHORT_FIELD_CHARS)),
        fault: summary.fault.unwrap_or(Fault::Agent),
    })
}

fn complete_message(
    run: RunKey,
    summary: ResultFields,
    output: String,
    duration: Duration,
) -> AgentMessage {
    let result = summary.result.unwrap_or(output);
    let cost = summary.estimated_cost.filter(|cost| cost.is_finite());
    AgentMessage::TaskComplete(TaskComplete {
        task_id: run.task,
        attempt: run.attempt,
        result: fit_escaped(&result, RESULT_BUDGET_BYTES),
        session_id: summary.session_id.map(|id| shorten(&id, SHORT_FIELD_CHARS)),
        input_tokens: summary.input_tokens.unwrap_or_default(),
        output_tokens: summary.output_tokens.unwrap_or_default(),
        estimated_cost: cost.unwrap_or_default().clamp(0.0, 1e9),
        files_changed: fit_list(summary.files_changed, limits::MAX_PATH_CHARS),
        commands_run: fit_list(summary.commands_run, limits::MAX_LINE_CHARS),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        continuations: summary.continuations,
        attachment_results: None,
        model: summary.model.map(|it| shorten(&it, limits::MAX_NAME_CHARS)),
    })
}

/// The beginning of a list, as much as fits.
fn fit_list(entries: Option<Vec<String>>, chars: usize) -> Vec<String> {
    let mut size = 0;
    let entries = entries.unwrap_or_default().into_iter();
    entries
        .map(|entry| shorten(&entry, chars))
        .take_while(|entry| {
            size += escaped_len(entry) + 3;
            size <= LIST_BUDGET_BYTES
        })
        .take(limits::MAX_LIST_ENTRIES)
        .collect()
}
