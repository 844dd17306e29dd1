//! Bulk operations: an operator's command for all tasks of a channel that qualify.
//!
//! A bulk operation goes from the newest task to the oldest that were there at the request, a chunk
//! at a time. A chunk is one transaction: its tasks and their count change together or not at all. A
//! task that prevents its chunk's transaction is changed on its own: if that is repeated after a
//! failure, the task is counted as unchanged.

use std::time::Duration;

use bematic_protocol::{
    ids::{BatchId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::task::{Origin, Task, TaskEvent, TaskPolicy, TaskState, Unchanged};

/// A bulk operation, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// The id of the bulk operation.
    pub id: BatchId,
    /// The change to make to each task.
    pub kind: BatchKind,
    /// The channel whose tasks are changed, and the operator who asked for it.
    pub origin: Origin,
    /// The time of the operator's request.
    pub created_at: Timestamp,
    /// The time at which the bulk operation advanced last.
    pub updated_at: Timestamp,
    /// The number of times the bulk operation was written: the condition of the next write.
    pub version: u64,
    /// The version that Slack shows, once the bulk operation is finished.
    #[serde(default)]
    pub shown: u64,
    /// The outcomes for the tasks that were examined.
    #[serde(default)]
    pub tally: Tally,
    /// The first [`Batch::MAX_FAILED_LISTED`] tasks that could not be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<TaskId>,
    /// The progress.
    #[serde(flatten)]
    pub state: BatchState,
}

/// The change that a bulk operation makes to each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BatchKind {
    /// Tasks that are not over are cancelled.
    Cancel,
    /// Tasks that failed are retried.
    Retry,
    /// Tasks that are over are archived: lists leave them out.
    Archive,
}

/// The progress of a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum BatchState {
    /// The bulk operation has not begun.
    New,
    /// The bulk operation is in progress.
    Working {
        /// The number of tasks in the channel at the beginning.
        total: u64,
        /// The cursor at which the next chunk begins.
        cursor: String,
    },
    /// The bulk operation is finished.
    Finished {
        /// The number of tasks in the channel at the beginning.
        total: u64,
        /// The time at which it finished.
        finished_at: Timestamp,
    },
}

/// The outcomes for the tasks that were examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// The number of tasks that changed.
    pub changed: u64,
    /// The number of tasks that did not qualify.
    pub unchanged: u64,
    /// The number of tasks that could not be changed.
    pub failed: u64,
}

impl Tally {
    pub(crate) const fn examined_count(&self) -> u64 {
        self.changed + self.unchanged + self.failed
    }
}

/// A task before and after its change.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskChange {
    /// The task as it was read.
    pub before: Task,
    /// The task as it is to be written.
    pub after: Task,
}

impl BatchKind {
    /// DynamoDB's limit of writes in one transaction, one of which is the bulk operation itself.
    const TRANSACTION_WRITE_LIMIT: usize = 100;

    /// Returns the number of tasks in one chunk. One that enters or leaves a queue is two writes.
    pub(crate) const fn chunk_size(self) -> usize {
        match self {
            Self::Archive => Self::TRANSACTION_WRITE_LIMIT - 1,
            Self::Cancel | Self::Retry => (Self::TRANSACTION_WRITE_LIMIT - 1) / 2,
        }
    }
}

impl Batch {
    /// The number of failed tasks that are listed by id.
    pub const MAX_FAILED_LISTED: usize = 10;
    /// The time without progress after which the message was lost: an invocation takes 60 s at most.
    pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(90);

    /// Returns a bulk operation that has not begun.
    pub fn new(id: BatchId, kind: BatchKind, origin: Origin, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            origin,
            created_at: now,
            updated_at: now,
            version: 1,
            shown: 0,
            tally: Tally::default(),
            failed: Vec::new(),
            state: BatchState::New,
        }
    }

    /// Returns the task as the bulk operation changes it, if it qualifies.
    pub fn changed_task(
        &self,
        task: &Task,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Task, Unchanged> {
        match self.kind {
            BatchKind::Cancel => {
                let by = self.origin.user_id.clone();
                task.after(TaskEvent::CancelRequested(by), policy, now)
            }
            BatchKind::Retry => match task.state {
                TaskState::Failed { .. } => task.after(TaskEvent::Retried, policy, now),
                _ => Err(Unchanged::NotDue),
            },
            BatchKind::Archive => task.to_archived(),
        }
    }

    /// Returns the bulk operation after its beginning, with this many tasks to examine.
    pub(crate) fn after_start(&self, total: u64, now: Timestamp) -> Self {
        let cursor = self.first_cursor();
        self.with_state(BatchState::Working { total, cursor }, now)
    }

    /// Returns the cursor of the first chunk: the newest task at the operator's request.
    pub(crate) fn first_cursor(&self) -> String {
        Task::max_channel_sort_key(self.created_at)
    }

    /// Returns the bulk operation after a chunk; the next begins at `cursor`, if there is one.
    pub(crate) fn after_chunk(
        &self,
        chunk: &Chunk,
        cursor: Option<String>,
        now: Timestamp,
    ) -> Self {
        let total = self.total().unwrap_or_default();
        let state = match cursor {
            Some(cursor) => BatchState::Working { total, cursor },
            None => BatchState::Finished {
                total,
                finished_at: now,
            },
        };
        let mut next = self.with_state(state, now);
        next.tally.changed += chunk.changes.len() as u64 + chunk.changed;
        next.tally.unchanged += chunk.unchanged;
        next.tally.failed += chunk.failed.len() as u64;
        next.failed.extend(&chunk.failed);
        next.failed.truncate(Self::MAX_FAILED_LISTED);
        next
    }

    /// Returns the bulk operation in this state, as its next version.
    fn with_state(&self, state: BatchState, now: Timestamp) -> Self {
        Self {
            state,
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Returns the number of tasks in the channel at the beginning.
    pub const fn total(&self) -> Option<u64> {
        match self.state {
            BatchState::New => None,
            BatchState::Working { total, .. } | BatchState::Finished { total, .. } => Some(total),
        }
    }

    /// Whether the bulk operation is finished.
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, BatchState::Finished { .. })
    }

    /// Returns the time of the next check: `None` once it is finished and Slack shows that.
    pub fn due_at(&self) -> Option<Timestamp> {
        let over = self.is_finished() && self.shown >= self.version;
        (!over).then(|| self.updated_at + Self::STALLED_AFTER)
    }
}

/// Tasks that change in one transaction, and the outcomes for the other tasks of the chunk.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The changes of the transaction.
    pub changes: Vec<TaskChange>,
    /// The number of tasks that changed on their own.
    pub changed: u64,
    /// The number of tasks that did not qualify.
    pub unchanged: u64,
    /// The tasks that could not be changed.
    pub failed: Vec<TaskId>,
}

impl Chunk {
    /// Builds a chunk from tasks as they were read.
    pub(crate) fn of_page(
        batch: &Batch,
        tasks: Vec<Task>,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Self {
        let mut chunk = Self::default();
        for before in tasks {
            match batch.changed_task(&before, policy, now) {
                Ok(after) => chunk.changes.push(TaskChange { before, after }),
                Err(_) => chunk.unchanged += 1,
            }
        }
        chunk
    }

    /// Removes the changes of these tasks from the chunk, since they prevent the transaction.
    pub(crate) fn split_off(&mut self, tasks: &[TaskId]) -> Vec<TaskChange> {
        let is_out = |change: &mut TaskChange| tasks.contains(&change.before.id);
        self.changes.extract_if(.., is_out).collect()
    }
}
