//! Bulk work: what an operator wants of all tasks of a channel that it fits, and how far it is.
//!
//! It goes through the channel from the newest task to the oldest, a chunk at a time. A chunk is one
//! transaction: its tasks and the count of them change together or not at all, so that each is
//! counted once however often the message comes. A task that is in the way of its chunk is changed by
//! itself: should that be repeated after a failure, it is counted as left as it was. What is asked for
//! later than the bulk work itself is not touched.

use std::time::Duration;

use bematic_protocol::{
    ids::{BatchId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::task::{Origin, Task, TaskEvent, TaskPolicy, TaskState, Unchanged};

/// Bulk work as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// What is to be done.
    pub kind: BatchKind,
    /// Whose tasks, and who asked for it.
    pub origin: Origin,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it went on last.
    pub updated_at: Timestamp,
    /// How often it went on: the condition of the next write.
    pub version: u64,
    /// The version that Slack shows, once it is done.
    #[serde(default)]
    pub shown: u64,
    /// What came of the tasks that were looked at.
    #[serde(default)]
    pub tally: Tally,
    /// The first [`Batch::NAMED`] tasks that could not be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<TaskId>,
    /// How far it is.
    #[serde(flatten)]
    pub state: BatchState,
}

/// What is done to each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BatchKind {
    /// Those that are not over are stopped.
    Cancel,
    /// Those that failed are tried again.
    Retry,
    /// Those that are over are put away: lists leave them out.
    Archive,
}

/// How far bulk work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum BatchState {
    /// Nobody has begun.
    New,
    /// Under way.
    Working {
        /// The tasks that there were in the channel.
        total: u64,
        /// Where the next chunk begins.
        cursor: String,
    },
    /// Done.
    Finished {
        /// The tasks that there were in the channel.
        total: u64,
        /// When.
        finished_at: Timestamp,
    },
}

/// What came of the tasks that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Those that changed.
    pub changed: u64,
    /// Those that there was nothing to do about.
    pub unchanged: u64,
    /// Those that could not be changed.
    pub failed: u64,
}

impl Tally {
    /// All that were looked at.
    pub const fn looked_at(&self) -> u64 {
        self.changed + self.unchanged + self.failed
    }
}

/// A task before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// As it was read.
    pub before: Task,
    /// As it is to be.
    pub after: Task,
}

impl BatchKind {
    /// Writes of one transaction (DynamoDB's limit), one of which is the batch itself.
    const WRITES: usize = 100;

    /// Tasks of one chunk. A task that enters or leaves a queue is two writes.
    pub const fn chunk(self) -> usize {
        match self {
            Self::Archive => Self::WRITES - 1,
            Self::Cancel | Self::Retry => (Self::WRITES - 1) / 2,
        }
    }
}

impl Batch {
    /// Tasks that are named as failed.
    pub const NAMED: usize = 10;
    /// Work that has not gone on for this long has lost its message. A run of the function takes
    /// 60 s at most, and says how far it is after each chunk.
    pub const STALLED_AFTER: Duration = Duration::from_secs(90);

    /// Not yet begun.
    pub const fn new(id: BatchId, kind: BatchKind, origin: Origin, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            origin,
            created_at: now,
            updated_at: now,
            version: 1,
            shown: 0,
            tally: Tally {
                changed: 0,
                unchanged: 0,
                failed: 0,
            },
            failed: Vec::new(),
            state: BatchState::New,
        }
    }

    /// What is to become of a task.
    ///
    /// # Errors
    /// [`Unchanged`]: there is nothing to do about it.
    pub fn change(
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
            BatchKind::Archive => task.put_away(),
        }
    }

    /// Begun, with this many tasks to look at.
    #[must_use]
    pub fn begun(&self, total: u64, now: Timestamp) -> Self {
        let cursor = self.first_cursor();
        self.next(BatchState::Working { total, cursor }, now)
    }

    /// Where the first chunk begins: with the newest task that there was when it was asked for.
    pub fn first_cursor(&self) -> String {
        Task::place_until(self.created_at)
    }

    /// After a chunk, and before the one that begins at `cursor`, if there is one.
    #[must_use]
    pub fn gone_on(&self, chunk: &Chunk, cursor: Option<String>, now: Timestamp) -> Self {
        let total = self.total().unwrap_or_default();
        let state = match cursor {
            Some(cursor) => BatchState::Working { total, cursor },
            None => BatchState::Finished {
                total,
                finished_at: now,
            },
        };
        let mut next = self.next(state, now);
        next.tally.changed += count(chunk.changes.len()) + chunk.alone.changed;
        next.tally.unchanged += chunk.alone.unchanged;
        next.tally.failed += chunk.alone.failed;
        next.failed.extend(&chunk.failed);
        next.failed.truncate(Self::NAMED);
        next
    }

    fn next(&self, state: BatchState, now: Timestamp) -> Self {
        Self {
            state,
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The tasks that there were when it began.
    pub const fn total(&self) -> Option<u64> {
        match self.state {
            BatchState::New => None,
            BatchState::Working { total, .. } | BatchState::Finished { total, .. } => Some(total),
        }
    }

    /// Whether it is done.
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, BatchState::Finished { .. })
    }

    /// When somebody should look at it: `None` once it is done and Slack shows it.
    pub fn due_at(&self) -> Option<Timestamp> {
        let over = self.is_finished() && self.shown >= self.version;
        (!over).then(|| self.updated_at + Self::STALLED_AFTER)
    }
}

/// Tasks that change in one transaction, and what came of those beside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// What changes together.
    pub changes: Vec<Change>,
    /// What came of those that do not.
    alone: Tally,
    failed: Vec<TaskId>,
}

impl Chunk {
    /// Of some tasks, as they were read.
    pub fn of(batch: &Batch, tasks: Vec<Task>, policy: &TaskPolicy, now: Timestamp) -> Self {
        let mut chunk = Self::default();
        for before in tasks {
            match batch.change(&before, policy, now) {
                Ok(after) => chunk.changes.push(Change { before, after }),
                Err(_) => chunk.alone.unchanged += 1,
            }
        }
        chunk
    }

    /// Takes out those that hold up the others.
    pub fn split_off(&mut self, tasks: &[TaskId]) -> Vec<Change> {
        let all = std::mem::take(&mut self.changes);
        let (out, rest) = all
            .into_iter()
            .partition(|change| tasks.contains(&change.before.id));
        self.changes = rest;
        out
    }

    /// Notes what came of a task that was taken out.
    pub fn note(&mut self, task: TaskId, outcome: Alone) {
        match outcome {
            Alone::Changed => self.alone.changed += 1,
            Alone::Unchanged => self.alone.unchanged += 1,
            Alone::Failed => {
                self.alone.failed += 1;
                self.failed.push(task);
            }
        }
    }
}

/// What came of a task by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// It changed.
    Changed,
    /// There was nothing to do about it any more.
    Unchanged,
    /// It could not be changed.
    Failed,
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
