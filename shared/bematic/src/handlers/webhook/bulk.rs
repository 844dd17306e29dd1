//! The commands `/bm cancel all`, `/bm retry failed` and `/bm archive`.

use bematic_protocol::time::Timestamp;
use tracing::info;

use super::Operator;
use crate::{
    batch::{Batch, BatchKind},
    error::BematicError,
    ports::Created,
    slack::{Reply, text},
    task::Origin,
};

impl Operator {
    /// Stores a bulk operation, and enqueues its beginning and the refresh of its card: a
    /// transaction and two messages. A repeated request only sends the messages again.
    pub(super) async fn bulk(
        &self,
        kind: BatchKind,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<Reply, BematicError> {
        let mut batch = Batch::new(self.ports.ids.batch(), kind, origin, now);
        match self.ports.batches.create(&batch, request).await? {
            Created::New => info!(batch = %batch.id, ?kind, "bulk operation created"),
            Created::Existing(first) => {
                info!(batch = %first, "request repeated");
                batch = self.ports.batches.find(first).await?.unwrap_or(batch);
            }
        }
        futures::try_join!(
            self.ports.batch_queue.enqueue(batch.id),
            self.ports.notifications.batch_changed(&batch),
        )?;
        Ok(Reply::ephemeral(text::bulk_accepted(kind)))
    }
}
