//! Bulk work, and the queue that it goes on by.

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

/// What became of a chunk of bulk work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// All of it took place.
    Done,
    /// Nothing did: another has gone on with the batch.
    Overtaken,
    /// Nothing did: these tasks have changed.
    Refused(Vec<TaskId>),
}

/// Bulk work.
#[async_trait]
pub trait Batches: Send + Sync {
    /// Bulk work by its id.
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError>;
    /// Stores new bulk work, once per `request` (Slack's id of what the operator did). A repeated
    /// request costs a second call.
    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError>;
    /// Goes on with bulk work and changes its next tasks, in one transaction.
    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[Change],
    ) -> Result<Applied, StoreError>;
    /// Notes that Slack shows it as it is, unless it has gone on since.
    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError>;
    /// What has not gone on for a while ([`Batch::due_at`]), but not for more than a day, and when
    /// it went on last. By an index that lags.
    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError>;
    /// Has it looked at again at `at`, not before.
    async fn look_again(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError>;
}

/// Which bulk work is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchMessage {
    /// Which.
    pub batch_id: BatchId,
}

/// The queue of bulk work.
#[async_trait]
pub trait BatchQueue: Send + Sync {
    /// Has bulk work go on.
    async fn work(&self, batch: BatchId) -> Result<(), QueueError>;
}
