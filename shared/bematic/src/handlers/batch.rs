//! `batch`: bulk operations on many tasks.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{ids::TaskId, time::Timestamp};
use tracing::{error, info, warn};

use super::transitions::{TransitionOutcome, Transitions};
use crate::{
    batch::{Batch, BatchState, Chunk, TaskChange},
    error::{BematicError, Result, TaskError, chain},
    ports::{BatchMessage, BatchWritten, Ports},
};

/// The time for which one message is handled before the rest is left to the next message: well
/// within the function's timeout of 60 s.
const WORK_TIME_BUDGET: Duration = Duration::from_secs(40);

/// Handles the queue of bulk operations.
pub struct BatchWorker {
    ports: Arc<Ports>,
    transitions: Transitions,
}

impl BatchWorker {
    /// Creates a worker with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Advances a bulk operation. Does nothing if another worker advances it at the same time. After
    /// an error the message has to be handled again; nothing is done or counted twice.
    pub async fn handle(&self, message: BatchMessage) -> Result<()> {
        let id = message.batch_id;
        let Some(mut batch) = self.ports.batches.find(id).await? else {
            warn!(batch = %id, "there is no such bulk operation");
            return Ok(());
        };
        let start = self.ports.clock.now();
        loop {
            let cursor = match &batch.state {
                BatchState::Finished { .. } => {
                    return Ok(self
                        .ports
                        .notifications
                        .enqueue_batch_refresh(&batch)
                        .await?);
                }
                _ if self.ports.clock.now().since(start) > WORK_TIME_BUDGET => {
                    return Ok(self.ports.batch_queue.enqueue(id).await?);
                }
                BatchState::New => None,
                BatchState::Working { cursor, .. } => Some(cursor.clone()),
            };
            let next = match cursor {
                None => self.begin(&batch).await?,
                Some(cursor) => self.process_chunk(&batch, &cursor).await?,
            };
            let Some(next) = next else {
                info!(batch = %id, "another worker advances the bulk operation");
                return Ok(());
            };
            batch = next;
        }
    }

    /// Counts the tasks to examine: the full length of the progress bar.
    async fn begin(&self, batch: &Batch) -> Result<Option<Batch>> {
        let channel = &batch.origin.channel_id;
        let first = batch.first_cursor();
        let total = self
            .ports
            .lists
            .count_after_in_channel(channel, &first)
            .await?;
        let next = batch.after_start(total, self.ports.clock.now());
        match self.ports.batches.apply(batch, &next, &[]).await? {
            BatchWritten::Done => Ok(Some(next)),
            BatchWritten::Overtaken | BatchWritten::Refused(_) => Ok(None),
        }
    }

    /// Handles one chunk in one transaction. A task that has changed meanwhile is removed from the
    /// chunk and changed on its own, so that it cannot fail the others. Returns `None` if another
    /// worker was faster.
    async fn process_chunk(&self, batch: &Batch, cursor: &str) -> Result<Option<Batch>> {
        let (channel, limit) = (&batch.origin.channel_id, batch.kind.chunk_size());
        let page = self
            .ports
            .lists
            .in_channel(channel, limit, Some(cursor))
            .await?;
        let now = self.ports.clock.now();
        let mut chunk = Chunk::of_page(batch, page.items, &self.ports.settings.policy, now);
        loop {
            let next = batch.after_chunk(&chunk, page.next.clone(), now);
            match self
                .ports
                .batches
                .apply(batch, &next, &chunk.changes)
                .await?
            {
                BatchWritten::Done => {
                    self.enqueue_chunk_follow_ups(&next, &chunk.changes, now)
                        .await?;
                    return Ok(Some(next));
                }
                BatchWritten::Overtaken => return Ok(None),
                BatchWritten::Refused(tasks) => {
                    for change in chunk.split_off(&tasks) {
                        self.change_single(batch, change.before.id, &mut chunk, now)
                            .await?;
                    }
                }
            }
        }
    }

    /// Changes a single task and counts the outcome: reads the task again and decides anew.
    async fn change_single(
        &self,
        batch: &Batch,
        id: TaskId,
        chunk: &mut Chunk,
        now: Timestamp,
    ) -> Result<()> {
        let Some(task) = self.ports.tasks.find(id).await? else {
            chunk.unchanged += 1;
            return Ok(());
        };
        // A bulk operation ends no attempt by itself, so there is no event for a breaker.
        let decide = |task: &_| {
            Ok((
                batch.changed_task(task, &self.ports.settings.policy, now)?,
                None,
            ))
        };
        match self
            .transitions
            .change_task(task, decide, None, None, now)
            .await
        {
            Ok(TransitionOutcome::Changed(_)) => chunk.changed += 1,
            Ok(TransitionOutcome::Unchanged(..)) => chunk.unchanged += 1,
            Err(error @ BematicError::Task(TaskError::TaskContended(_))) => {
                error!(batch = %batch.id, task = %id, code = error.code(), error = %chain(&error), "task not changed by bulk operation");
                chunk.failed.push(id);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Enqueues the messages that a chunk's changes call for. If this fails, the sweeper finds the
    /// tasks.
    async fn enqueue_chunk_follow_ups(
        &self,
        batch: &Batch,
        changes: &[TaskChange],
        now: Timestamp,
    ) -> Result<()> {
        let tally = batch.tally;
        info!(batch = %batch.id, ?tally, "chunk of bulk operation done");
        let tasks: Vec<_> = changes.iter().map(|change| &change.after).collect();
        let progress = async {
            Ok(self
                .ports
                .notifications
                .enqueue_batch_refresh(batch)
                .await?)
        };
        futures::try_join!(
            progress,
            self.transitions.enqueue_bulk_follow_ups(&tasks, now)
        )?;
        Ok(())
    }
}
