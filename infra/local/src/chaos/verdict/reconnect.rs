//! How long an agent that came back waited for its work.
//!
//! It counts from the handshake, if tasks were waiting for the agent then: those made before and
//! first offered after. It has drained once all of them were offered, or all slots of the agent are
//! busy, whichever is first. A connection that ends before is counted as cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::Timestamp;
use bematic_test_agent::Run;
use serde::Serialize;

use super::evidence::Evidence;
use bematic_test_agent::{Deed, Entry, What};

/// How long it took from a handshake to a drained queue, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconnects {
    /// Connections with work waiting that stayed until it was drained.
    pub drained: usize,
    /// Connections that ended before.
    pub cut_short: usize,
    /// Half of them took at most this.
    pub p50: u64,
    /// Nineteen of twenty took at most this.
    pub p95: u64,
    /// None took longer.
    pub max: u64,
}

/// A connection whose queue is not drained yet.
struct Draining {
    since: Timestamp,
    waiting: BTreeSet<TaskId>,
}

/// One agent's ledger, read from the start.
struct Reading {
    capacity: usize,
    /// Its tasks that were not offered yet, by when they were made.
    unoffered: BTreeMap<TaskId, Timestamp>,
    running: BTreeSet<String>,
    draining: Option<Draining>,
    took: Vec<Duration>,
    cut_short: usize,
}

impl Reconnects {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let mut by_agent = BTreeMap::<&AgentId, Vec<&Entry>>::new();
        for entry in evidence.ledger {
            by_agent.entry(&entry.agent).or_default().push(entry);
        }
        let (mut took, mut cut_short) = (Vec::new(), 0);
        for entries in by_agent.into_values() {
            let read = Reading::of(evidence, &entries);
            took.extend(read.took);
            cut_short += read.cut_short;
        }
        took.sort_unstable();
        Self {
            drained: took.len(),
            cut_short,
            p50: percentile(&took, 50),
            p95: percentile(&took, 95),
            max: percentile(&took, 100),
        }
    }
}

impl Reading {
    fn of(evidence: &Evidence<'_>, entries: &[&Entry]) -> Self {
        let mut reading = Self {
            capacity: evidence.capacity,
            unoffered: unoffered(evidence, entries),
            running: BTreeSet::new(),
            draining: None,
            took: Vec::new(),
            cut_short: 0,
        };
        for entry in entries {
            reading.read(entry);
        }
        reading
    }

    fn read(&mut self, entry: &Entry) {
        match &entry.what {
            What::Connected => self.connected(entry.at),
            What::Disconnected => self.cut_short += usize::from(self.draining.take().is_some()),
            What::Run(run, deed) => self.ran(*run, deed),
        }
        let drained = self.draining.as_ref().is_some_and(|draining| {
            draining.waiting.is_empty() || self.running.len() >= self.capacity
        });
        if drained && let Some(draining) = self.draining.take() {
            self.took.push(entry.at.since(draining.since));
        }
    }

    fn connected(&mut self, at: Timestamp) {
        let made_before = self.unoffered.iter().filter(|(_, made)| **made < at);
        let waiting: BTreeSet<_> = made_before.map(|(task, _)| *task).collect();
        if !waiting.is_empty() {
            self.draining = Some(Draining { since: at, waiting });
        }
    }

    fn ran(&mut self, run: Run, deed: &Deed) {
        match deed {
            Deed::Offered { .. } => {
                self.unoffered.remove(&run.task_id);
                if let Some(draining) = &mut self.draining {
                    draining.waiting.remove(&run.task_id);
                }
            }
            Deed::Started => drop(self.running.insert(run.to_string())),
            Deed::Reported(_) | Deed::Died => drop(self.running.remove(&run.to_string())),
            Deed::Refused | Deed::Confirmed => {}
        }
    }
}

/// The tasks that the agent was ever offered, by when they were made.
fn unoffered(evidence: &Evidence<'_>, entries: &[&Entry]) -> BTreeMap<TaskId, Timestamp> {
    let offered = entries.iter().filter_map(|entry| match &entry.what {
        What::Run(run, Deed::Offered { .. }) => Some(run.task_id),
        _ => None,
    });
    offered
        .filter_map(|task| Some((task, evidence.snapshot.tasks.get(&task)?.task.created_at)))
        .collect()
}

/// The smallest that so many of a hundred do not exceed; 0 of none.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let found = sorted.get(rank).map_or(0, Duration::as_millis);
    u64::try_from(found).unwrap_or(u64::MAX)
}
