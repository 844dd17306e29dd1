//! What an environment remembers of tasks that run: it saves calls, and nothing depends on it.

use quick_cache::sync::Cache;

use crate::{
    ids::{AgentId, Attempt, TaskId},
    task::{FLUSH_INTERVAL, Task, TaskState},
    time::Timestamp,
};

/// Running tasks that are remembered.
const REMEMBERED: usize = 4096;

/// Tasks that run, and when the notifier was last told of them.
pub struct Running {
    /// Attempts known to be past their acknowledgement, and whose they are: true for good.
    attempts: Cache<(TaskId, Attempt), AgentId>,
    told: Cache<TaskId, Timestamp>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            attempts: Cache::new(REMEMBERED),
            told: Cache::new(REMEMBERED),
        }
    }
}

impl Running {
    /// The agent runs the attempt.
    pub(super) fn note(&self, task: TaskId, attempt: Attempt, agent: &AgentId) {
        self.attempts.insert((task, attempt), agent.clone());
    }

    /// The same of a task that was just seen, if it runs and nobody wants it to stop.
    pub(super) fn note_task(&self, task: &Task) {
        if let TaskState::Processing {
            attempt,
            cancel: None,
            ..
        } = task.state
        {
            self.note(task.id, attempt, &task.agent_id);
        }
    }

    /// Whether the agent is known to run the attempt.
    pub(super) fn is_known(&self, task: TaskId, attempt: Attempt, agent: &AgentId) -> bool {
        self.attempts.get(&(task, attempt)).as_ref() == Some(agent)
    }

    /// The notifier was told of the task at `at` or later.
    pub(super) fn told(&self, task: TaskId, at: Timestamp) {
        self.told.insert(task, at);
    }

    /// Whether a refresh is under way that will show what was written until `now`: the notifier's
    /// queue holds a message back for the flush interval.
    pub(super) fn is_under_way(&self, task: TaskId, now: Timestamp) -> bool {
        let last = self.told.get(&task);
        last.is_some_and(|last| last <= now && now.since(last) < FLUSH_INTERVAL)
    }
}
