//! The verdict on a run: it compares the agents' ledger, the answers that the operators got, the store
//! and Slack. Pure, so that a test can plant each offence and see it found.
//!
//! | charge | what is checked, once all has come to rest |
//! |---|---|
//! | lost | A task that an operator was told of is in the store. A report that was confirmed to its agent is there too: as the task's end by that attempt, or as a late report; a result to the letter. (Excepted are an end that a retry has overwritten, and a cancellation of a task that is cancelled anyway.) A task that is over has a message in Slack that says how. |
//! | run twice | No attempt was begun twice, by one agent or by two. No attempt was sent while the one before was at work and could still be acknowledged, nor after that one's end was confirmed as the task's end. No attempt was sent anew once its end was confirmed. No attempt ended the task though a later one had been sent. |
//! | stuck | Every task is over, and every report is confirmed. |
//! | slot leaked | No agent has a slot taken by an attempt that is not at it. |
//! | card doubled | No task has two messages. |
//! | breaker wrong | No breaker waits for a probe that is not at its agent, or counted an attempt twice; its gate is the one in its agent's record. |
//!
//! A later attempt is no offence while an earlier one works whose acknowledgement did not get through in
//! time: the cloud cannot know that. It is counted as repeated.

mod agents;
mod attempts;
mod evidence;
mod history;
mod reconnect;
mod tasks;

use std::collections::BTreeMap;

use bematic::task::TaskState;
use serde::Serialize;

use self::evidence::Offences;
pub use self::evidence::{Charge, Evidence, Offence};
use self::history::histories;
pub use self::reconnect::Reconnects;

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Tasks in the store.
    pub submitted: usize,
    /// Tasks whose creation was confirmed to an operator.
    pub confirmed: usize,
    /// Tasks that were done.
    pub completed: usize,
    /// Tasks that failed, by cause.
    pub failed: BTreeMap<&'static str, usize>,
    /// Tasks that were stopped.
    pub cancelled: usize,
    /// Attempts that were begun.
    pub started: usize,
    /// Attempts that were begun after an earlier one of the task, without an operator's command.
    pub repeated: usize,
    /// Attempts that ended with their agent.
    pub died: usize,
    /// Tasks with a report that came too late.
    pub late: usize,
    /// How often breakers opened.
    pub opened: u64,
    /// How long it took from a reconnection until the queue was dispatched.
    pub reconnects: Reconnects,
    /// Things that happened and may not.
    pub offences: Vec<Offence>,
}

impl Verdict {
    /// Offences of one kind.
    pub fn count(&self, charge: Charge) -> usize {
        let of_kind = self.offences.iter().filter(|it| it.charge == charge);
        of_kind.count()
    }
}

/// Judges a run.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let histories = histories(evidence.ledger);
    let mut offences = Offences::default();
    attempts::check(evidence, &histories, &mut offences);
    tasks::check(evidence, &histories, &mut offences);
    agents::check(evidence, &mut offences);
    offences.0.sort_by_key(|offence| offence.charge);
    let breakers = evidence.snapshot.breakers.values();
    let mut verdict = Verdict {
        submitted: evidence.snapshot.tasks.len(),
        confirmed: evidence.operators.tasks.len(),
        started: histories.values().map(|run| run.started.len()).sum(),
        repeated: attempts::repeated(evidence, &histories),
        died: histories.values().filter(|run| run.died).count(),
        opened: breakers.map(|breaker| breaker.incidents).sum(),
        reconnects: Reconnects::of(evidence),
        offences: offences.0,
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
    verdict
}

#[cfg(test)]
mod tests;
