//! What an environment remembers of tasks that run: it saves calls, and nothing depends on it.

use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};
use quick_cache::sync::Cache;

use crate::task::{ChunkOrder, FLUSH_INTERVAL, Task, TaskState};

/// Running tasks that are remembered.
const REMEMBERED: usize = 4096;

/// Tasks that run, and when the notifier was last told of them.
pub struct Running {
    /// Attempts known to be past their acknowledgement, and whose they are: true for good.
    attempts: Cache<(TaskId, Attempt), AgentId>,
    told: Cache<TaskId, Timestamp>,
    /// The number of the next piece of output, where every one until now came here.
    whole: Cache<(TaskId, Attempt), u64>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            attempts: Cache::new(REMEMBERED),
            told: Cache::new(REMEMBERED),
            whole: Cache::new(REMEMBERED),
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

    /// A piece of output has come here.
    pub(super) fn heard(&self, task: TaskId, attempt: Attempt, order: &ChunkOrder) {
        let key = (task, attempt);
        let next = self.whole.get(&key).unwrap_or_default();
        match order {
            ChunkOrder::Seq(seq) if *seq == next => self.whole.insert(key, next + 1),
            // Once more.
            ChunkOrder::Seq(seq) if *seq < next => {}
            _ => drop(self.whole.remove(&key)),
        }
    }

    /// The notifier was told at `now` of what an attempt reports. Where other environments hear of
    /// it too, one of them may have told before in the same flush interval: then SQS has dropped this
    /// message for theirs, which is as old as the interval at most.
    pub(super) fn told_of_report(&self, task: TaskId, attempt: Attempt, now: Timestamp) {
        let alone = self.whole.get(&(task, attempt)).is_some();
        let interval = u64::try_from(FLUSH_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let began = Timestamp::from_millis(now.as_millis() / interval * interval);
        self.told(task, if alone { now } else { began });
    }

    /// Whether a refresh is under way that will show what was written until `now`: the notifier's
    /// queue holds a message back for the flush interval.
    pub(super) fn is_under_way(&self, task: TaskId, now: Timestamp) -> bool {
        let last = self.told.get(&task);
        last.is_some_and(|last| last <= now && now.since(last) < FLUSH_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FIRST: Attempt = Attempt::FIRST;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(3_000_000 + millis)
    }

    #[test]
    fn what_is_told_here_alone_is_told_again_after_three_seconds() {
        let (running, task) = (Running::default(), TaskId::new(Uuid::nil()));
        for seq in [0, 1, 1, 2] {
            running.heard(task, FIRST, &ChunkOrder::Seq(seq));
        }
        running.told_of_report(task, FIRST, at(2900));
        assert!(running.is_under_way(task, at(5899)));
        assert!(!running.is_under_way(task, at(5900)));
    }

    #[test]
    fn where_others_hear_of_it_too_their_message_may_be_the_one_that_was_kept() {
        for orders in [
            vec![],
            vec![ChunkOrder::Seq(0), ChunkOrder::Seq(2)],
            vec![ChunkOrder::Seq(7)],
        ] {
            let (running, task) = (Running::default(), TaskId::new(Uuid::nil()));
            for order in &orders {
                running.heard(task, FIRST, order);
            }
            running.told_of_report(task, FIRST, at(2900));
            assert!(running.is_under_way(task, at(2999)), "{orders:?}");
            assert!(!running.is_under_way(task, at(3000)), "{orders:?}");
        }
    }
}
