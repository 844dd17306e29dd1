//! Bulk operations.

use std::time::Duration;

use async_trait::async_trait;
use bematic::{
    batch::{Batch, TaskChange},
    error::StoreError,
    ports::{BatchWritten, Batches, Created},
};
use bematic_protocol::{
    ids::{BatchId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    TaskStore, keys,
    table::{parse_record, query_first_items},
    write::{Write, WriteLabel},
};

/// How long a bulk operation's record is kept.
const BATCH_TTL: Duration = Duration::from_hours(30 * 24);
/// How long after it was due a stalled bulk operation is found, to be continued.
const STALLED_BATCH_WINDOW: Duration = Duration::from_hours(24);

/// The bulk operation that a request of Slack created.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchRequestRecord {
    batch_id: BatchId,
}

#[async_trait]
impl Batches for TaskStore {
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        self.tasks.find(&keys::batch(id)).await
    }

    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError> {
        let created = BatchRequestRecord { batch_id: batch.id };
        let request = self.prepare_put_request(request, &created, batch.created_at)?;
        let writes = vec![
            (WriteLabel::Request, request),
            (
                WriteLabel::Batch,
                self.prepare_put_batch(batch)?.if_absent(),
            ),
        ];
        let mut refused = self.tasks.transact(writes).await?;
        if refused.is_empty() {
            return Ok(Created::New);
        }
        let Some(item) = refused.remove(&WriteLabel::Request) else {
            return Err(StoreError::Corrupt {
                key: keys::batch(batch.id).to_string(),
                source: "the id of a new bulk operation is taken".into(),
            });
        };
        let first: BatchRequestRecord = parse_record(item)?;
        Ok(Created::Existing(first.batch_id))
    }

    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[TaskChange],
    ) -> Result<BatchWritten, StoreError> {
        // The label of a write is its task's id, or `None` for the bulk operation's record.
        let mut writes = vec![(
            None,
            self.prepare_put_batch(after)?.if_version(before.version)?,
        )];
        for TaskChange { before, after } in changes {
            let task_writes = self.transition_writes(before, after, None, None, None, None)?;
            writes.extend(task_writes.into_iter().map(|(_, it)| (Some(after.id), it)));
        }
        let refused = self.tasks.transact(writes).await?;
        if refused.is_empty() {
            return Ok(BatchWritten::Done);
        }
        let tasks: Option<Vec<TaskId>> = refused.into_keys().collect();
        Ok(tasks.map_or(BatchWritten::Overtaken, BatchWritten::Refused))
    }

    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError> {
        let update = self.tasks.prepare_update(keys::batch(batch.id));
        let update = update.if_version(batch.version)?;
        let update = update.set("shown", batch.version)?.remove_due();
        update.send().await.map(drop)
    }

    async fn postpone(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError> {
        let update = self
            .tasks
            .prepare_update(keys::batch(id))
            .postpone_due(at)?;
        update.send().await.map(drop)
    }

    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError> {
        let (from, now) = ((now - STALLED_BATCH_WINDOW).to_string(), now.to_string());
        let range = [
            (":pk", keys::UNFINISHED_BATCHES_PARTITION),
            (":from", &from),
            (":now", &now),
        ];
        let query = self
            .tasks
            .build_query("duePk = :pk AND dueSk BETWEEN :from AND :now", range);
        let items = query_first_items(query.index_name("due"), limit).await?;
        let batches: Vec<Batch> = self.tasks.find_for_index_items(&items).await?;
        Ok(batches.iter().map(|it| (it.id, it.updated_at)).collect())
    }
}

impl TaskStore {
    /// Returns the write of a bulk operation, which is in the index `due` until it is done.
    fn prepare_put_batch(&self, batch: &Batch) -> Result<Write, StoreError> {
        self.tasks
            .prepare_put(&keys::batch(batch.id), batch)?
            .set("expiresAt", (batch.created_at + BATCH_TTL).as_secs())?
            .set_due(keys::UNFINISHED_BATCHES_PARTITION, batch.due_at())
    }
}
