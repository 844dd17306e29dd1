//! The cache of an execution environment: it saves reads and messages, and nothing depends on it.

use bematic_protocol::ids::{AgentId, TaskId};
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
    pub(super) tasks: Cache<TaskId, Task>,
    pub(super) breakers: Cache<AgentId, Breaker>,
    /// The flush interval in which a refresh of a task's card was last enqueued.
    pub(super) refreshed: Cache<TaskId, FlushInterval>,
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
