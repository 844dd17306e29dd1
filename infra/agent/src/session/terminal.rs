//! The terminal message of a run.

use bematic_protocol::{
    ids::Attempt,
    messages::{AgentMessage, Fault, TaskCancelled, TaskComplete, TaskFailure, limits},
};

use crate::{
    event::{Ended, Outcome},
    progress_line::Summary,
    run_key::RunKey,
    text::{escaped_len, fit_escaped, shorten},
    ui::Status,
};

/// Bytes of JSON that a result may take: three quarters of a message, which leaves room for the
/// lists and the envelope.
const RESULT_BUDGET: usize = limits::MESSAGE_BYTES / 4 * 3;
/// Bytes of JSON that a list of files or commands may take.
const LIST_BUDGET: usize = limits::MESSAGE_BYTES / 16;
/// Bytes of JSON that an error may take.
const ERROR_BUDGET: usize = limits::MESSAGE_BYTES / 8;
/// Characters of a session id; it goes into an environment variable later.
const SESSION_CHARS: usize = 1000;

/// The cause for which a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// An operator's cancellation, with its reason.
    Cancelled(String),
    /// A later attempt of the same task.
    Superseded(Option<Attempt>),
    /// The agent stops.
    Shutdown,
}

/// The terminal message of `run`, which was stopped for a cause or ended by itself.
pub(super) fn message(run: RunKey, cause: Option<&Cause>, ended: Ended) -> AgentMessage {
    match (&ended.outcome, cause) {
        (Outcome::Stopped, Some(Cause::Shutdown) | None) => failure(
            run,
            "the agent was stopped before the task ended; retry it when the agent is back",
            true,
            // The command is not what ended the run, whatever it declared before.
            Summary {
                recoverable: None,
                ..ended.summary
            },
        ),
        (Outcome::Stopped, Some(Cause::Cancelled(reason))) => cancelled(run, reason),
        (Outcome::Stopped, Some(Cause::Superseded(by))) => {
            let by = by.map_or_else(|| "a later attempt".to_owned(), |n| format!("attempt {n}"));
            cancelled(run, &format!("{by} of the task replaced this one"))
        }
        (Outcome::NotStarted(sentence), _) => failure(run, sentence, false, ended.summary),
        (Outcome::Failed(how), _) => {
            let error = failed(how, &ended.summary, &ended.error_tail);
            failure(run, &error, true, ended.summary)
        }
        (Outcome::Succeeded, _) => match ended.summary.error.clone() {
            Some(error) => failure(run, &error, false, ended.summary),
            None => complete(run, ended),
        },
    }
}

/// A task that was stopped on request.
pub(super) fn cancelled(run: RunKey, reason: &str) -> AgentMessage {
    AgentMessage::TaskCancelled(TaskCancelled {
        task_id: run.task,
        attempt: run.attempt,
        reason: Some(shorten(reason, SESSION_CHARS)),
    })
}

/// The outcome that a terminal message reports, with the reason unless the task is completed.
pub(super) fn outcome(message: &AgentMessage) -> (Status, Option<String>) {
    match message {
        AgentMessage::TaskComplete(_) => (Status::Completed, None),
        AgentMessage::TaskCancelled(cancelled) => (Status::Cancelled, cancelled.reason.clone()),
        AgentMessage::TaskError(failure) => (Status::Failed, Some(failure.error.clone())),
        _ => (Status::Failed, None),
    }
}

fn failed(how: &str, summary: &Summary, error_tail: &str) -> String {
    match &summary.error {
        Some(declared) => format!("{declared} ({how})"),
        None if error_tail.is_empty() => how.to_owned(),
        None => format!("{how}\n\n{error_tail}"),
    }
}

fn failure(run: RunKey, error: &str, recoverable: bool, summary: Summary) -> AgentMessage {
    AgentMessage::TaskError(TaskFailure {
        task_id: run.task,
        attempt: run.attempt,
        error: fit_escaped(error, ERROR_BUDGET),
        recoverable: summary.recoverable.unwrap_or(recoverable),
        session_id: summary.session_id.map(|id| shorten(&id, SESSION_CHARS)),
        fault: summary.fault.unwrap_or(Fault::Agent),
    })
}

fn complete(run: RunKey, ended: Ended) -> AgentMessage {
    let summary = ended.summary;
    let result = summary.result.unwrap_or(ended.output_tail);
    let cost = summary.estimated_cost.unwrap_or_default();
    AgentMessage::TaskComplete(TaskComplete {
        task_id: run.task,
        attempt: run.attempt,
        result: fit_escaped(&result, RESULT_BUDGET),
        session_id: summary.session_id.map(|id| shorten(&id, SESSION_CHARS)),
        input_tokens: summary.input_tokens.unwrap_or_default(),
        output_tokens: summary.output_tokens.unwrap_or_default(),
        estimated_cost: if cost.is_finite() {
            cost.clamp(0.0, 1e9)
        } else {
            0.0
        },
        files_changed: list(summary.files_changed, limits::PATH_CHARS),
        commands_run: list(summary.commands_run, limits::LINE_CHARS),
        duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        continuations: summary.continuations,
        attachment_results: None,
        model: summary
            .model
            .map(|model| shorten(&model, limits::NAME_CHARS)),
    })
}

/// The beginning of a list, as much as fits.
fn list(entries: Option<Vec<String>>, chars: usize) -> Vec<String> {
    let mut budget = LIST_BUDGET;
    let fits = |entry: &String| {
        let len = escaped_len(entry) + 3;
        let fits = len <= budget;
        budget = budget.saturating_sub(len);
        fits
    };
    let entries = entries.unwrap_or_default().into_iter();
    entries
        .map(|entry| shorten(&entry, chars))
        .take_while(fits)
        .take(limits::LIST)
        .collect()
}
