//! What a verdict is founded on, and what it may find.

use std::time::Duration;

use serde::Serialize;
use strum::IntoStaticStr;

use crate::chaos::operator::Known;
use crate::chaos::snapshot::Snapshot;
use bematic_test_agent::Entry;

/// What a verdict is founded on.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What the agents did.
    pub ledger: &'a [Entry],
    /// What the operators were told.
    pub known: &'a Known,
    /// The store and Slack.
    pub snapshot: &'a Snapshot,
    /// How long an attempt may take to be acknowledged.
    pub ack_deadline: Duration,
    /// Tasks that an agent takes at once.
    pub capacity: usize,
}

/// What may not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr)]
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
    /// A breaker holds what is over, or is not what the agent's record says.
    #[strum(serialize = "breakers wrong")]
    BreakerWrong,
}

impl Charge {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Lost,
        Self::RunTwice,
        Self::Stuck,
        Self::SlotLeaked,
        Self::CardDoubled,
        Self::BreakerWrong,
    ];
}

/// Something that happened and may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offence {
    /// What kind.
    pub charge: Charge,
    /// The task, the attempt or the agent.
    pub about: String,
    /// What is wrong, in a sentence.
    pub why: String,
}

impl Offence {
    pub(super) fn new(charge: Charge, about: &impl ToString, why: impl Into<String>) -> Self {
        Self {
            charge,
            about: about.to_string(),
            why: why.into(),
        }
    }
}
