//! The checks of every attempt: no work was done or handed out twice, and its report is in the store.

use bematic::task::{FailureCode, TaskState, TerminalMessage};
use bematic_protocol::ids::Attempt;
use bematic_test_agent::{Report, Run};

use super::evidence::{Charge, Evidence, Offences};
use super::history::{Histories, History, pairs};

pub(super) fn check(evidence: &Evidence<'_>, histories: &Histories, offences: &mut Offences) {
    for (run, history) in histories {
        if history.started.len() > 1 {
            let by: Vec<_> = history.started.iter().map(ToString::to_string).collect();
            let why = format!("it was begun {} times, by {}", by.len(), by.join(", "));
            offences.add(Charge::RunTwice, run, why);
        }
        let mut sent = history.offers.values();
        if let Some(confirmed) = history.confirmed_at
            && sent.any(|at| *at > confirmed)
        {
            let why = "it was sent again after its end was confirmed";
            offences.add(Charge::RunTwice, run, why);
        }
        match (&history.report, history.confirmed_at) {
            (Some(_), None) => {
                let why = "its agent reports how it ended over and over, and is not confirmed";
                offences.add(Charge::Stuck, run, why);
            }
            (Some(report), Some(_)) => {
                if let Some(why) = lost(evidence, *run, report) {
                    offences.add(Charge::Lost, run, why);
                }
            }
            (None, _) => {}
        }
    }
    let unasked = pairs(histories)
        .filter(|(run, earlier, _)| !earlier.refused && !is_retried(evidence, *run));
    for (run, earlier, later) in unasked {
        let why = too_early(evidence, earlier, later)
            .or_else(|| after_the_end(evidence, run, earlier, later));
        if let Some(why) = why {
            offences.add(Charge::RunTwice, &run, why);
        }
    }
}

/// Counts the attempts that were begun after an earlier one of the task without an operator's command:
/// the acknowledgement of the earlier one did not get through in time.
pub(super) fn repeated(evidence: &Evidence<'_>, histories: &Histories) -> usize {
    let begun_again = pairs(histories).filter(|(run, earlier, later)| {
        !earlier.started.is_empty() && !later.started.is_empty() && !is_retried(evidence, *run)
    });
    begun_again.count()
}

fn is_retried(evidence: &Evidence<'_>, run: Run) -> bool {
    evidence.operators.retried.contains(&run.task_id)
}

/// The next attempt was sent while this one was at work and could still be acknowledged.
fn too_early(evidence: &Evidence<'_>, earlier: &History, later: &History) -> Option<String> {
    let (first, second) = (earlier.sent_at()?, later.sent_at()?);
    let after = second.since(first);
    (!earlier.started.is_empty() && after < evidence.ack_deadline).then(|| {
        format!(
            "it was at work, and the next attempt was sent {} ms after it, when it could still be \
             acknowledged",
            after.as_millis()
        )
    })
}

/// The next attempt was sent although this one had ended the task.
fn after_the_end(
    evidence: &Evidence<'_>,
    run: Run,
    earlier: &History,
    later: &History,
) -> Option<String> {
    let (confirmed, sent) = (earlier.confirmed_at?, later.sent_at()?);
    let stored = evidence.snapshot.tasks.get(&run.task_id)?;
    let was_late = stored.late.iter().any(|late| late.attempt == run.attempt);
    (sent > confirmed && !was_late)
        .then(|| "its end was confirmed as the task's, and yet another attempt was sent".to_owned())
}

/// A report that was confirmed to the agent is not in the store: neither as the task's end by this
/// attempt, nor as a late report, nor replaced after an operator's retry.
fn lost(evidence: &Evidence<'_>, run: Run, report: &Report) -> Option<String> {
    let Some(stored) = evidence.snapshot.tasks.get(&run.task_id) else {
        return Some("an agent ran it, and the store does not have it".to_owned());
    };
    let state = &stored.task.state;
    let mut late = stored.late.iter().filter(|it| it.attempt == run.attempt);
    let is_overwritten = is_retried(evidence, run)
        && (!state.is_terminal() || state.last_attempt() > Some(run.attempt));
    let (ended, kept) = match report {
        Report::Completed(result) => {
            let kept = match (state, &stored.completion) {
                (TaskState::Completed { attempt, .. }, Some(kept)) => {
                    *attempt == run.attempt && kept.result == *result
                }
                _ => false,
            };
            let is_late = late.any(|it| {
                matches!(&it.outcome, TerminalMessage::Completed(late) if late.result == *result)
            });
            ("completed", kept || is_late)
        }
        Report::Failed => {
            let kept = matches!(state, TaskState::Failed { attempt, failure, .. }
                if *attempt == Some(run.attempt) && failure.code == FailureCode::AgentError);
            ("failed", kept || is_overwritten || late.next().is_some())
        }
        Report::Cancelled => {
            let kept = matches!(state, TaskState::Cancelled { .. });
            ("cancelled", kept || is_overwritten || late.next().is_some())
        }
    };
    (!kept).then(|| {
        format!(
            "it was reported as {ended} and confirmed; the store has neither that, nor that it came \
             late: it says {} after attempt {}",
            state.name(),
            state.last_attempt().map_or(0, Attempt::number)
        )
    })
}
