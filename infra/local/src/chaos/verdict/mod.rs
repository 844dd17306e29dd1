//! The verdict on a run: it compares the agents' ledger, the answers that the operators got, the store
//! and Slack. Pure, so that a test can plant each violation and see it found.
//!
//! | violation | what is checked, once all has come to rest |
//! |---|---|
//! | lost | A task that an operator was told of is in the store. A report that was confirmed to its agent is there too: as the task's end by that attempt, or as a late report; a result to the letter. (Excepted are an end that a retry has overwritten, and a cancellation of a task that is cancelled anyway.) A task that is over has a message in Slack that says how. |
//! | run twice | No attempt was begun twice, by one agent or by two. No attempt was sent while the one before was at work and could still be acknowledged, nor after that one's end was confirmed as the task's end. No attempt was sent anew once its end was confirmed. No attempt ended the task though a later one had been sent. |
//! | stuck | Every task is over, and every report is confirmed. |
//! | slot leaked | No agent has a slot taken by an attempt that is not at it. |
//! | card doubled | No task has two messages. |
//! | breaker wrong | No breaker waits for a probe that is not at its agent, or counted an attempt twice; its gate is the one in its agent's record. |
//!
//! A later attempt is no violation while an earlier one works whose acknowledgement did not get through in
//! time: the cloud cannot know that. It is counted as repeated.

mod checks;
mod reconnects;
mod records;

use std::collections::BTreeMap;

use bematic::task::TaskState;
use serde::Serialize;

use self::checks::Checks;
use self::reconnects::HandshakeToDispatchTimes;
use self::records::attempt_histories;
pub(super) use self::records::{Records, Violation, ViolationKind};

/// The result of a run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    /// Tasks in the store.
    pub(super) submitted: usize,
    /// Tasks whose creation was confirmed to an operator.
    pub(super) confirmed: usize,
    pub(super) completed: usize,
    /// Tasks that failed, by cause.
    pub(super) failed: BTreeMap<&'static str, usize>,
    pub(super) cancelled: usize,
    pub(super) started: usize,
    /// Attempts that were begun after an earlier one of the task, without an operator's command.
    pub(super) repeated: usize,
    /// Attempts that ended with their agent.
    pub(super) died: usize,
    /// Tasks with a report that came too late.
    pub(super) late: usize,
    pub(super) opened: u64,
    /// How long it took from a reconnection until the queue was dispatched.
    pub(super) reconnects: HandshakeToDispatchTimes,
    #[serde(rename = "offences")]
    pub(super) violations: Vec<Violation>,
}

impl Verdict {
    pub(super) fn count_violations(&self, kind: ViolationKind) -> usize {
        let of_kind = self.violations.iter().filter(|it| it.kind == kind);
        of_kind.count()
    }
}

/// Judges a run.
pub(super) fn judge(records: &Records) -> Verdict {
    let histories = attempt_histories(&records.ledger);
    let checks = Checks {
        records,
        histories: &histories,
        violations: Vec::new(),
    };
    let breakers = records.snapshot.breakers.values();
    let mut verdict = Verdict {
        submitted: records.snapshot.tasks.len(),
        confirmed: records.operators.tasks.len(),
        started: histories.values().map(|run| run.started.len()).sum(),
        repeated: checks.count_reruns_without_command(),
        died: histories.values().filter(|run| run.died).count(),
        opened: breakers.map(|breaker| breaker.incidents).sum(),
        reconnects: HandshakeToDispatchTimes::of(records),
        violations: checks.check_all(),
        ..Verdict::default()
    };
    for stored in records.snapshot.tasks.values() {
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
