//! Work that was handed out or done again, and must not be.

use bematic::task::{FailureCode, TaskState};
use bematic_test_agent::Run;

use super::evidence::{Charge, Evidence, Offence};
use super::history::{Histories, History};

/// An attempt that was begun more than once, wherever.
pub(super) fn begun(histories: &Histories) -> Vec<Offence> {
    histories
        .all()
        .filter(|(_, history)| history.started.len() > 1)
        .map(|(run, history)| {
            let by: Vec<_> = history.started.iter().map(ToString::to_string).collect();
            twice(
                &run,
                format!("it was begun {} times, by {}", by.len(), by.join(", ")),
            )
        })
        .collect()
}

/// An attempt that was sent though the one before was not over for the cloud, or was the last.
pub(super) fn sent(evidence: &Evidence<'_>, histories: &Histories) -> Vec<Offence> {
    let unasked = histories
        .pairs()
        .filter(|(run, earlier, _)| !earlier.refused && !is_retried(evidence, *run));
    unasked
        .filter_map(|(run, earlier, later)| {
            let why = too_early(evidence, earlier, later)
                .or_else(|| after_the_end(evidence, run, earlier, later))?;
            Some(twice(&run, why))
        })
        .collect()
}

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

/// An attempt that was sent anew, by a message of its own, though its end was confirmed.
pub(super) fn reused(histories: &Histories) -> Vec<Offence> {
    histories
        .all()
        .filter(|(_, history)| {
            let confirmed = history.confirmed_at;
            let mut sent = history.offers.values();
            confirmed.is_some_and(|confirmed| sent.any(|at| *at > confirmed))
        })
        .map(|(run, _)| twice(&run, "it was sent again after its end was confirmed"))
        .collect()
}

/// A task that was ended by another attempt than the newest.
pub(super) fn unfenced(evidence: &Evidence<'_>, histories: &Histories) -> Vec<Offence> {
    let ended = evidence.snapshot.tasks.iter().filter_map(|(id, stored)| {
        let attempt = match &stored.task.state {
            TaskState::Completed { attempt, .. } => *attempt,
            TaskState::Failed {
                attempt, failure, ..
            } if failure.code == FailureCode::AgentError => (*attempt)?,
            _ => return None,
        };
        let newest = histories.newest(*id)?;
        Some((*id, attempt, newest))
    });
    ended
        .filter(|(_, attempt, newest)| newest > attempt)
        .map(|(id, attempt, newest)| {
            let why = format!("attempt {attempt} ended it, though attempt {newest} had been sent");
            twice(&id, why)
        })
        .collect()
}

/// Attempts that were begun after an earlier one of the task, which nobody had asked for: their
/// acknowledgement did not get through in time.
pub(super) fn repeated(evidence: &Evidence<'_>, histories: &Histories) -> usize {
    let begun_again = histories.pairs().filter(|(run, earlier, later)| {
        !earlier.started.is_empty() && !later.started.is_empty() && !is_retried(evidence, *run)
    });
    begun_again.count()
}

fn is_retried(evidence: &Evidence<'_>, run: Run) -> bool {
    let wishes = evidence.known.tasks.get(&run.task_id);
    wishes.is_some_and(|wishes| wishes.retried)
}

fn twice(about: &impl ToString, why: impl Into<String>) -> Offence {
    Offence::new(Charge::RunTwice, about, why)
}
