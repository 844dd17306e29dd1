//! What of an agent outlives its process.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bematic::task::Slot;
use bematic_protocol::time::Timestamp;

/// An agent's disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// The attempts that it ever began, or refused.
    seen: HashSet<Slot>,
    /// Reports that are not confirmed yet, by message id.
    outbox: BTreeMap<String, Unconfirmed>,
    /// Messages written so far: what makes the next id.
    pub(super) written: u64,
}

#[derive(Debug)]
struct Unconfirmed {
    run: Slot,
    text: String,
    sent_at: Timestamp,
}

impl Disk {
    pub(super) fn has_seen(&self, run: Slot) -> bool {
        self.seen.contains(&run)
    }

    pub(super) fn note_seen(&mut self, run: Slot) {
        self.seen.insert(run);
    }

    /// Whether every report is confirmed.
    pub(super) fn is_quiet(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Keeps a report until it is confirmed.
    pub(super) fn keep(&mut self, id: String, run: Slot, text: String, sent_at: Timestamp) {
        let report = Unconfirmed { run, text, sent_at };
        self.outbox.insert(id, report);
    }

    /// The attempt whose report the message was, if it was one that is kept.
    pub(super) fn confirmed(&mut self, id: &str) -> Option<Slot> {
        self.outbox.remove(id).map(|report| report.run)
    }

    /// The reports that were not confirmed for `patience`; they are sent now.
    pub(super) fn overdue(&mut self, now: Timestamp, patience: Duration) -> Vec<String> {
        let waiting = self.outbox.values_mut();
        let overdue = waiting.filter(|report| now.since(report.sent_at) >= patience);
        overdue
            .map(|report| {
                report.sent_at = now;
                report.text.clone()
            })
            .collect()
    }
}
