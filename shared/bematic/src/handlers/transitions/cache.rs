//! The cache of an execution environment: it saves reads and messages, and nothing depends on it.

use bematic_protocol::{
    ids::{AgentId, TaskId},
    time::Timestamp,
};
use quick_cache::sync::Cache;

use crate::{
    breaker::Breaker,
    task::{FlushInterval, Task},
};

/// The number of tasks and agents that are cached.
const CACHED: usize = 4096;

/// Tasks and breakers as this environment read or wrote them last. Other environments may have
/// written them since: a change that is decided on them is written on condition of their version,
/// and that an event changes nothing is only believed of a record that was just read.
pub(super) struct LocalCache {
    tasks: Cache<TaskId, Task>,
    breakers: Cache<AgentId, Breaker>,
    /// The flush interval in which a refresh of a task's card was last enqueued.
    refreshed: Cache<TaskId, FlushInterval>,
}

impl Default for LocalCache {
    fn default() -> Self {
        Self {
            tasks: Cache::new(CACHED),
            breakers: Cache::new(CACHED),
            refreshed: Cache::new(CACHED),
        }
    }
}

impl LocalCache {
    pub(super) fn task(&self, id: TaskId) -> Option<Task> {
        self.tasks.get(&id)
    }

    pub(super) fn put_task(&self, task: &Task) {
        self.tasks.insert(task.id, task.clone());
    }

    pub(super) fn breaker(&self, agent: &AgentId) -> Option<Breaker> {
        self.breakers.get(agent)
    }

    pub(super) fn put_breaker(&self, agent: &AgentId, breaker: Breaker) {
        self.breakers.insert(agent.clone(), breaker);
    }

    /// Whether a refresh that was enqueued here will show every change that was written until
    /// `now`.
    pub(super) fn refresh_is_under_way(&self, task: TaskId, now: Timestamp) -> bool {
        self.refreshed.get(&task) == Some(FlushInterval::of(now))
    }

    pub(super) fn put_refresh(&self, task: TaskId, at: Timestamp) {
        self.refreshed.insert(task, FlushInterval::of(at));
    }
}
