//! The time that a reconnected agent waited for its work.
//!
//! The time counts from the handshake, if tasks were waiting for the agent then: those made before and
//! first offered after. It ends once all of them were offered, or all slots of the agent are busy,
//! whichever is first. A connection that ends before is counted as cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::Timestamp;
use bematic_test_agent::{AgentEvent, AttemptEvent, RunKey};
use serde::Serialize;

use super::records::Records;

/// The times from a handshake until the queue was dispatched, in milliseconds.
#[derive(Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::chaos) struct HandshakeToDispatchTimes {
    /// Connections that stayed until the waiting tasks were dispatched.
    pub(in crate::chaos) drained: usize,
    /// Connections that ended before.
    pub(in crate::chaos) cut_short: usize,
    pub(in crate::chaos) p50: u64,
    pub(in crate::chaos) p95: u64,
    pub(in crate::chaos) max: u64,
}

/// The queue of one agent, as of some entry of the ledger.
#[derive(Default)]
struct AgentQueueState {
    /// The agent's tasks that were not offered yet, with the times at which they were made.
    unoffered: BTreeMap<TaskId, Timestamp>,
    running: BTreeSet<RunKey>,
    /// The time of the handshake, and the tasks that have been waiting since; `None` once dispatched.
    waiting: Option<(Timestamp, BTreeSet<TaskId>)>,
}

impl HandshakeToDispatchTimes {
    pub(super) fn of(records: &Records) -> Self {
        let mut queues = BTreeMap::<&AgentId, AgentQueueState>::new();
        for entry in &records.ledger {
            let queue = queues.entry(&entry.agent).or_default();
            if let AgentEvent::Run(RunKey { task_id, .. }, AttemptEvent::Offered { .. }) =
                &entry.what
                && let Some(stored) = records.snapshot.tasks.get(task_id)
            {
                queue.unoffered.insert(*task_id, stored.task.created_at);
            }
        }
        let (mut took, mut cut_short) = (Vec::new(), 0);
        for entry in &records.ledger {
            let queue = queues.entry(&entry.agent).or_default();
            match &entry.what {
                AgentEvent::Connected => {
                    let made_before = queue.unoffered.iter().filter(|(_, made)| **made < entry.at);
                    let waiting: BTreeSet<_> = made_before.map(|(task, _)| *task).collect();
                    queue.waiting = (!waiting.is_empty()).then_some((entry.at, waiting));
                }
                AgentEvent::Disconnected => {
                    cut_short += usize::from(queue.waiting.take().is_some());
                }
                AgentEvent::Run(run, AttemptEvent::Offered { .. }) => {
                    queue.unoffered.remove(&run.task_id);
                    if let Some((_, waiting)) = &mut queue.waiting {
                        waiting.remove(&run.task_id);
                    }
                }
                AgentEvent::Run(run, AttemptEvent::Started) => drop(queue.running.insert(*run)),
                AgentEvent::Run(run, AttemptEvent::Reported(_) | AttemptEvent::Died) => {
                    queue.running.remove(run);
                }
                AgentEvent::Run(_, AttemptEvent::Refused | AttemptEvent::Confirmed) => {}
            }
            let is_busy = queue.running.len() >= records.capacity;
            let dispatched = queue
                .waiting
                .take_if(|(_, tasks)| is_busy || tasks.is_empty());
            took.extend(dispatched.map(|(since, _)| entry.at.since(since)));
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

/// Returns the smallest duration that so many percent do not exceed; 0 of none.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let found = sorted.get(rank).map_or(0, Duration::as_millis);
    u64::try_from(found).unwrap_or(u64::MAX)
}
