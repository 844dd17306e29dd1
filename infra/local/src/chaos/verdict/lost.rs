//! What was confirmed to somebody, and is not there.

use bematic::task::{FailureCode, TaskState, TerminalMessage};
use bematic_protocol::ids::TaskId;
use bematic_test_agent::Run;

use super::evidence::{Charge, Evidence, Offence};
use super::history::Histories;
use crate::chaos::snapshot::Stored;
use bematic_test_agent::Report;

/// Tasks that an operator was told of.
pub(super) fn tasks(evidence: &Evidence<'_>) -> Vec<Offence> {
    let known = evidence.known.tasks.keys();
    known
        .filter(|task| !evidence.snapshot.tasks.contains_key(task))
        .map(|task| {
            lost(
                task,
                "an operator was told of it, and the store does not have it",
            )
        })
        .collect()
}

/// Reports that an agent was told have arrived.
pub(super) fn reports(evidence: &Evidence<'_>, histories: &Histories) -> Vec<Offence> {
    let confirmed = histories.all().filter_map(|(run, history)| {
        history.confirmed_at?;
        Some((run, history.report.as_ref()?))
    });
    confirmed
        .filter_map(|(run, report)| {
            let retried = is_retried(evidence, run.task_id);
            let problem = match evidence.snapshot.tasks.get(&run.task_id) {
                Some(stored) => problem(run, report, stored, retried)?,
                None => "an agent ran it, and the store does not have it".to_owned(),
            };
            Some(lost(&run, problem))
        })
        .collect()
}

fn problem(run: Run, report: &Report, stored: &Stored, retried: bool) -> Option<String> {
    let state = &stored.task.state;
    let kept = match report {
        Report::Completed(result) => is_end(run, result, stored) || is_late(run, result, stored),
        Report::Failed => overwritten(run, state, retried) || failed(run, stored),
        Report::Cancelled => {
            matches!(state, TaskState::Cancelled { .. })
                || overwritten(run, state, retried)
                || has_late(run, stored)
        }
    };
    let said = match report {
        Report::Completed(_) => "completed",
        Report::Failed => "failed",
        Report::Cancelled => "cancelled",
    };
    let state_is = (state.name(), state.last_attempt());
    (!kept).then(|| {
        format!(
            "it was reported as {said} and confirmed; the store has neither that, nor that it came \
             late: it says {} after attempt {}",
            state_is.0,
            state_is.1.map_or(0, bematic_protocol::ids::Attempt::number)
        )
    })
}

fn is_end(run: Run, result: &str, stored: &Stored) -> bool {
    let TaskState::Completed { attempt, .. } = stored.task.state else {
        return false;
    };
    let kept = stored.completion.as_ref().map(|kept| kept.result.as_str());
    attempt == run.attempt && kept == Some(result)
}

fn is_late(run: Run, result: &str, stored: &Stored) -> bool {
    stored.late.iter().any(|late| match &late.outcome {
        TerminalMessage::Completed(kept) => late.attempt == run.attempt && kept.result == result,
        _ => false,
    })
}

fn has_late(run: Run, stored: &Stored) -> bool {
    stored.late.iter().any(|late| late.attempt == run.attempt)
}

fn failed(run: Run, stored: &Stored) -> bool {
    let own = match &stored.task.state {
        TaskState::Failed {
            attempt, failure, ..
        } => *attempt == Some(run.attempt) && failure.code == FailureCode::AgentError,
        _ => false,
    };
    own || has_late(run, stored)
}

/// An operator had it tried again, and what ended it before is no more.
fn overwritten(run: Run, state: &TaskState, retried: bool) -> bool {
    retried && (!state.is_terminal() || state.last_attempt() > Some(run.attempt))
}

fn is_retried(evidence: &Evidence<'_>, task: TaskId) -> bool {
    let wishes = evidence.known.tasks.get(&task);
    wishes.is_some_and(|wishes| wishes.retried)
}

/// Messages of Slack that say how a task ended.
pub(super) fn cards(evidence: &Evidence<'_>) -> Vec<Offence> {
    let over = evidence.snapshot.tasks.iter();
    over.filter_map(|(id, stored)| {
        let word = match stored.task.state {
            TaskState::Completed { .. } => "Completed",
            TaskState::Failed { .. } => "Failed",
            TaskState::Cancelled { .. } => "Cancelled",
            _ => return None,
        };
        let cards = evidence.snapshot.cards.get(id).map_or(&[][..], |all| all);
        if cards.iter().any(|card| says(card, word)) {
            return None;
        }
        Some(lost(
            id,
            match cards.first() {
                Some(card) => format!(
                    "it is {}, and Slack shows {card:?}",
                    stored.task.state.name()
                ),
                None => format!(
                    "it is {}, and Slack has no message of it",
                    stored.task.state.name()
                ),
            },
        ))
    })
    .collect()
}

/// A notification begins with a picture and the status.
fn says(card: &str, word: &str) -> bool {
    let words = card.split_once(' ').map(|(_, words)| words);
    words.is_some_and(|words| words.starts_with(word))
}

fn lost(about: &impl ToString, why: impl Into<String>) -> Offence {
    Offence::new(Charge::Lost, about, why)
}
