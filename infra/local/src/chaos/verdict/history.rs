//! The ledger sorted by attempts.

use std::collections::BTreeMap;

use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;
use bematic_test_agent::{Deed, Entry, Report, Run, What};

/// The histories of all attempts; those of one task are neighbours, in order.
pub(super) type Histories = BTreeMap<Run, History>;

/// The history of one attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The messages that offered the attempt, and the time of each.
    pub(super) offers: BTreeMap<String, Timestamp>,
    /// The agents that began the attempt.
    pub(super) started: Vec<AgentId>,
    pub(super) refused: bool,
    pub(super) died: bool,
    pub(super) report: Option<Report>,
    pub(super) confirmed_at: Option<Timestamp>,
}

impl History {
    /// Returns the time of the first message.
    pub(super) fn sent_at(&self) -> Option<Timestamp> {
        self.offers.values().min().copied()
    }

    fn add(&mut self, entry: &Entry, deed: &Deed) {
        match deed {
            Deed::Offered { message, sent_at } => {
                self.offers.insert(message.clone(), *sent_at);
            }
            Deed::Refused => self.refused = true,
            Deed::Started => self.started.push(entry.agent.clone()),
            Deed::Reported(report) => self.report = Some(report.clone()),
            Deed::Died => self.died = true,
            Deed::Confirmed => self.confirmed_at = self.confirmed_at.or(Some(entry.at)),
        }
    }
}

/// Sorts a ledger by attempts.
pub(super) fn histories(ledger: &[Entry]) -> Histories {
    let mut histories = Histories::new();
    for entry in ledger {
        if let What::Run(run, deed) = &entry.what {
            histories.entry(*run).or_default().add(entry, deed);
        }
    }
    histories
}

/// Returns every attempt with the next one of its task.
pub(super) fn pairs(histories: &Histories) -> impl Iterator<Item = (Run, &History, &History)> {
    let pairs = histories.iter().zip(histories.iter().skip(1));
    pairs
        .filter(|((run, _), (next, _))| run.task_id == next.task_id)
        .map(|((run, earlier), (_, later))| (*run, earlier, later))
}
