//! The first lines of a card: the state of the task, and advice.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

use super::{budget, view::TaskView};
use crate::{
    slack::{
        mrkdwn,
        text::{duration, progress_bar},
    },
    task::{Failure, FailureCode, TaskState},
};

/// Returns the state as one phrase, and further details, a line each.
pub(super) fn status(view: &TaskView, now: Timestamp) -> (String, Vec<String>) {
    let state = &view.task.state;
    let agent = &view.task.agent_id;
    let after = |verb: &str, took: &str| match elapsed(state, now) {
        Some(time) => format!("{verb} {took} {}", duration(time)),
        None => verb.to_owned(),
    };
    match state {
        TaskState::Pending {
            not_before,
            last_error,
            ..
        } => (
            format!("Waiting for agent {agent}"),
            waiting(view.offline, *not_before, last_error.as_deref()),
        ),
        TaskState::Dispatched { cancel: None, .. } => (
            format!("Sent to agent {agent}"),
            vec!["It has not accepted the task yet.".to_owned()],
        ),
        TaskState::Processing { cancel: None, .. } => (
            after(&format!("Running on agent {agent}"), "for"),
            view.progress
                .percent
                .map(progress_bar)
                .into_iter()
                .collect(),
        ),
        TaskState::Dispatched {
            cancel: Some(request),
            ..
        }
        | TaskState::Processing {
            cancel: Some(request),
            ..
        } => (
            format!("Stopping on agent {agent}"),
            vec![format!("<@{}> asked for it.", request.by)],
        ),
        TaskState::Completed { .. } => (completed_phrase(view, now), Vec::new()),
        TaskState::Failed { failure, .. } => (after("Failed", "after"), failure_details(failure)),
        TaskState::Cancelled { by, reason, .. } => {
            let by = by.as_ref().map(|by| format!("<@{by}> asked for it."));
            let reason = reason.as_deref().map(reason_line);
            (
                after("Cancelled", "after"),
                by.into_iter().chain(reason).collect(),
            )
        }
    }
}

/// Renders the duration of a completed task, by the agent's own measure where there is one.
fn completed_phrase(view: &TaskView, now: Timestamp) -> String {
    let reported = view
        .completion
        .as_ref()
        .map(|it| Duration::from_millis(it.duration_ms))
        .filter(|time| !time.is_zero());
    match reported.or_else(|| elapsed(&view.task.state, now)) {
        Some(time) => format!("Completed in {}", duration(time)),
        None => "Completed".to_owned(),
    }
}

/// Returns how long a task took, or has been running.
fn elapsed(state: &TaskState, now: Timestamp) -> Option<Duration> {
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

/// Renders the details of a waiting task. The card is not refreshed when the agent is back but has
/// no room yet: so the text about the agent is in the past tense.
fn waiting(offline: bool, not_before: Option<Timestamp>, last_error: Option<&str>) -> Vec<String> {
    let lines = [
        offline.then(|| "The agent was offline: the task waits until it is back.".to_owned()),
        not_before.map(|at| format!("Waits until {} before the next attempt.", time_of_day(at))),
        last_error.map(|error| format!("The last attempt failed. {}", reason_line(error))),
    ];
    lines.into_iter().flatten().collect()
}

/// Formats a time of day, as Slack shows it in each reader's own time zone.
fn time_of_day(at: Timestamp) -> String {
    let secs = at.as_secs();
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("<!date^{secs}^{{time_secs}}|{hour:02}:{minute:02}:{second:02} UTC>")
}

fn reason_line(reason: &str) -> String {
    format!(
        "Reason: {}",
        mrkdwn::escape_one_line(reason, budget::REASON_CHARS)
    )
}

fn failure_details(failure: &Failure) -> Vec<String> {
    let code: &str = failure.code.into();
    let message = mrkdwn::render_head(&failure.message, budget::FAILURE_MESSAGE_CHARS);
    let quoted = message.lines().map(|line| format!("> {line}"));
    [format!("`{code}`")]
        .into_iter()
        .chain(quoted)
        .chain([advice(failure).to_owned()])
        .collect()
}

const fn advice(failure: &Failure) -> &'static str {
    match (failure.code, failure.recoverable) {
        (FailureCode::AgentError, true) => "Run it again: the agent says that this may help.",
        (FailureCode::AgentError, false) => {
            "Look at the output for the cause, then change the prompt or the project and run it \
             again."
        }
        (FailureCode::Refused, _) => {
            "The agent will not take this task. Check that its folder exists and is one that the \
             agent may use, then run it again."
        }
        (FailureCode::AttemptsExhausted, _) => {
            "No attempt was accepted. See with `/bm agents` whether the agent is busy, then press \
             Retry."
        }
        (FailureCode::AgentLost, _) => {
            "See what it has done on the agent's machine before you press Retry."
        }
        (FailureCode::Expired, _) => {
            "See with `/bm agents` when the agent was last there; then press Retry."
        }
    }
}
