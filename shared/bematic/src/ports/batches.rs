//! Ports to the stored bulk operations, and to the queue that drives them.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{BatchId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Created;
use crate::{
    batch::{Batch, Change},
    error::{QueueError, StoreError},
};

/// The outcome of applying a chunk of a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// All changes of the chunk were written.
    Done,
    /// Nothing was written: another worker has advanced the bulk operation.
    Overtaken,
    /// Nothing was written: these tasks have changed.
    Refused(Vec<TaskId>),
}

/// The bulk operations.
#[async_trait]
pub trait Batches: Send + Sync {
    /// Returns the bulk operation with this id.
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError>;
    /// Stores a new bulk operation, once per `request` (Slack's id of the operator's request). A
    /// repeated request costs a second call.
    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError>;
    /// Advances a bulk operation and changes its next tasks, in one transaction.
    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[Change],
    ) -> Result<Applied, StoreError>;
    /// Records that Slack shows the bulk operation's current version, unless it has advanced since.
    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError>;
    /// Returns the bulk operations that have not advanced for a while ([`Batch::due_at`]), but for
    /// no more than a day, with the time at which each advanced last. Reads an index that lags.
    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError>;
    /// Postpones the next check of the bulk operation to `at`.
    async fn postpone(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError>;
}

/// A message of the queue of bulk operations: the bulk operation to advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchMessage {
    /// The bulk operation.
    pub batch_id: BatchId,
}

/// The queue of bulk operations.
#[async_trait]
pub trait BatchQueue: Send + Sync {
    /// Enqueues a message that makes the worker advance the bulk operation.
    async fn enqueue(&self, batch: BatchId) -> Result<(), QueueError>;
}
