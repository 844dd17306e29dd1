//! The records of a run that its verdict is founded on, and what they may violate.

use std::collections::BTreeMap;
use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;
use bematic_test_agent::{AgentEvent, AttemptEvent, Entry, RunKey, TerminalReport};
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use crate::chaos::operator::AllOperatorsRecord;
use crate::chaos::system::Snapshot;

#[derive(Debug)]
pub(in crate::chaos) struct Records {
    /// What the agents did.
    pub(in crate::chaos) ledger: Vec<Entry>,
    pub(in crate::chaos) operators: AllOperatorsRecord,
    pub(in crate::chaos) snapshot: Snapshot,
    /// The time within which an attempt must be acknowledged.
    pub(in crate::chaos) ack_deadline: Duration,
    /// Tasks that an agent takes at once.
    pub(in crate::chaos) capacity: usize,
}

/// The histories of all attempts; those of one task are neighbours, in order.
pub(super) type AttemptHistories = BTreeMap<RunKey, AttemptHistory>;

/// What happened to one attempt, by the ledger.
#[derive(Debug, Default)]
pub(super) struct AttemptHistory {
    /// The messages that offered the attempt, and the time of each.
    pub(super) offers: BTreeMap<String, Timestamp>,
    /// The agents that began the attempt.
    pub(super) started: Vec<AgentId>,
    pub(super) refused: bool,
    pub(super) died: bool,
    pub(super) report: Option<TerminalReport>,
    pub(super) confirmed_at: Option<Timestamp>,
}

impl AttemptHistory {
    pub(super) fn first_offer_sent_at(&self) -> Option<Timestamp> {
        self.offers.values().min().copied()
    }
}

pub(super) fn attempt_histories(ledger: &[Entry]) -> AttemptHistories {
    let mut histories = AttemptHistories::new();
    for entry in ledger {
        let AgentEvent::Run(run, event) = &entry.what else {
            continue;
        };
        let history = histories.entry(*run).or_default();
        match event {
            AttemptEvent::Offered { message, sent_at } => {
                history.offers.insert(message.clone(), *sent_at);
            }
            AttemptEvent::Refused => history.refused = true,
            AttemptEvent::Started => history.started.push(entry.agent.clone()),
            AttemptEvent::Reported(report) => history.report = Some(report.clone()),
            AttemptEvent::Died => history.died = true,
            AttemptEvent::Confirmed => {
                history.confirmed_at = history.confirmed_at.or(Some(entry.at));
            }
        }
    }
    histories
}

/// Returns every attempt with the next one of its task.
pub(super) fn successive_attempts(
    histories: &AttemptHistories,
) -> impl Iterator<Item = (RunKey, &AttemptHistory, &AttemptHistory)> {
    histories
        .iter()
        .zip(histories.iter().skip(1))
        .filter(|((run, _), (next, _))| run.task_id == next.task_id)
        .map(|((run, earlier), (_, later))| (*run, earlier, later))
}

/// A kind of violation, which is something that may not happen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "camelCase")]
pub(in crate::chaos) enum ViolationKind {
    /// Something that was confirmed is not there.
    #[strum(serialize = "lost")]
    Lost,
    /// Work was done or handed out again that must not be.
    #[strum(serialize = "run twice in one attempt")]
    RunTwice,
    /// Something never ends.
    #[strum(serialize = "stuck")]
    Stuck,
    /// A slot is taken by nothing.
    #[strum(serialize = "slots leaked")]
    SlotLeaked,
    /// A task has two messages in Slack.
    #[strum(serialize = "cards doubled")]
    CardDoubled,
    /// A breaker counted an attempt twice, awaits a probe that is over, or contradicts the agent's record.
    #[strum(serialize = "breakers wrong")]
    BreakerWrong,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::chaos) struct Violation {
    #[serde(rename = "charge")]
    pub(in crate::chaos) kind: ViolationKind,
    /// The task, the attempt or the agent.
    pub(in crate::chaos) about: String,
    /// The reason, in a sentence.
    pub(in crate::chaos) why: String,
}
