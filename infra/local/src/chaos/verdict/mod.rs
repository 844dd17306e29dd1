//! What a run has shown, by comparing what the agents did, what the operators were told, what the
//! store holds and what Slack shows. Pure, so that a test can plant each offence and see it found.
//!
//! | charge | what is checked, once all has come to rest |
//! |---|---|
//! | lost | A task that an operator was told of is in the store. A report that was confirmed to its agent is there too: as the task's end by that attempt, or as a late report; a result to the letter. (What a retry has overwritten is excepted, as is a stop of what is stopped anyway.) A task that is over has a message in Slack that says how. |
//! | run twice | No attempt was begun twice, by one agent or by two. No attempt was sent while the one before was at work and could still be acknowledged, nor after that one's end was confirmed as the task's end. No attempt was sent anew once its end was confirmed. No attempt ended the task though a later one had been sent. |
//! | stuck | Every task is over, and every report is confirmed. |
//! | slot leaked | No agent has a slot taken by an attempt that is not at it. |
//! | card doubled | No task has two messages. |
//! | breaker wrong | No breaker waits for a probe that is not at its agent, or counted an attempt twice; what it lets through is what its agent's record says. |
//!
//! Not held against the cloud: a later attempt while an earlier one works whose acknowledgement
//! did not get through in time, for the cloud cannot know. It is counted, as repeated.

mod breakers;
mod evidence;
mod history;
mod lost;
mod reconnect;
mod rest;
mod twice;

use std::collections::BTreeMap;

use bematic::task::TaskState;
use serde::Serialize;

pub use self::evidence::{Charge, Evidence, Offence};
use self::history::Histories;
pub use self::reconnect::Reconnects;

/// What a run has shown.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Tasks in the store.
    pub submitted: usize,
    /// Tasks that operators were told of.
    pub confirmed: usize,
    /// Tasks that were done.
    pub completed: usize,
    /// Tasks that failed, by cause.
    pub failed: BTreeMap<&'static str, usize>,
    /// Tasks that were stopped.
    pub cancelled: usize,
    /// Attempts that were begun.
    pub started: usize,
    /// Attempts that were begun after an earlier one of the task, without an operator's wish.
    pub repeated: usize,
    /// Attempts that ended with their agent.
    pub died: usize,
    /// Tasks with a report that came too late.
    pub late: usize,
    /// How often breakers opened.
    pub opened: u64,
    /// How long it took from a reconnection until the queue was drained.
    pub reconnects: Reconnects,
    /// What happened and may not.
    pub offences: Vec<Offence>,
}

impl Verdict {
    /// Offences of one kind.
    pub fn count(&self, charge: Charge) -> usize {
        let of_kind = self.offences.iter().filter(|it| it.charge == charge);
        of_kind.count()
    }
}

/// Judges.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let histories = Histories::of(evidence.ledger);
    let mut verdict = Verdict {
        submitted: evidence.snapshot.tasks.len(),
        confirmed: evidence.known.tasks.len(),
        started: histories.all().map(|(_, run)| run.started.len()).sum(),
        repeated: twice::repeated(evidence, &histories),
        died: histories.all().filter(|(_, run)| run.died).count(),
        opened: breakers::opened(evidence),
        reconnects: Reconnects::of(evidence),
        ..Verdict::default()
    };
    for stored in evidence.snapshot.tasks.values() {
        verdict.late += usize::from(!stored.late.is_empty());
        match &stored.task.state {
            TaskState::Completed { .. } => verdict.completed += 1,
            TaskState::Cancelled { .. } => verdict.cancelled += 1,
            TaskState::Failed { failure, .. } => {
                *verdict.failed.entry(failure.code.into()).or_default() += 1;
            }
            _ => {}
        }
    }
    let checks = [
        lost::tasks(evidence),
        lost::reports(evidence, &histories),
        lost::cards(evidence),
        twice::begun(&histories),
        twice::sent(evidence, &histories),
        twice::reused(&histories),
        twice::unfenced(evidence, &histories),
        rest::tasks(evidence),
        rest::reports(&histories),
        rest::slots(evidence),
        rest::cards(evidence),
        breakers::check(evidence),
    ];
    verdict.offences = checks.into_iter().flatten().collect();
    verdict
}

#[cfg(test)]
mod tests;
