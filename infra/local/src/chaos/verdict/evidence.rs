//! The evidence of a verdict, and the offences that it may find.

use std::time::Duration;

use bematic::task::Slot;
use bematic_test_agent::Entry;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use crate::chaos::operator::OperatorRecord;
use crate::chaos::snapshot::Snapshot;

/// The records of a run that a verdict is founded on.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The agents' record of what they did.
    pub ledger: &'a [Entry],
    /// The answers that the operators got.
    pub operators: &'a OperatorRecord,
    /// The store and Slack.
    pub snapshot: &'a Snapshot,
    /// The time within which an attempt must be acknowledged.
    pub ack_deadline: Duration,
    /// Tasks that an agent takes at once.
    pub capacity: usize,
}

impl Evidence<'_> {
    /// Whether a slot, or a breaker's permit, is that of the attempt that holds its task.
    pub(super) fn is_held(&self, slot: &str) -> bool {
        slot.parse::<Slot>().is_ok_and(|slot| {
            let stored = self.snapshot.tasks.get(&slot.task_id);
            stored.is_some_and(|stored| stored.task.state.held() == Some(slot.attempt))
        })
    }
}

/// A kind of offence, which is something that may not happen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "camelCase")]
pub enum Charge {
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
    /// A breaker counted an attempt twice, waits for a probe that is over, or differs from the agent's
    /// record.
    #[strum(serialize = "breakers wrong")]
    BreakerWrong,
}

/// An offence that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offence {
    /// The kind.
    pub charge: Charge,
    /// The task, the attempt or the agent.
    pub about: String,
    /// The reason, in a sentence.
    pub why: String,
}

/// The offences found so far.
#[derive(Debug, Default)]
pub(super) struct Offences(pub(super) Vec<Offence>);

impl Offences {
    pub(super) fn add(&mut self, charge: Charge, about: &impl ToString, why: impl Into<String>) {
        self.0.push(Offence {
            charge,
            about: about.to_string(),
            why: why.into(),
        });
    }
}
