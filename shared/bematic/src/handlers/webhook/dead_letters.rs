//! The commands `/bm dead-letters` and `/bm redrive`.

use bematic_protocol::time::Timestamp;
use futures::future::try_join_all;
use strum::IntoEnumIterator as _;
use tracing::info;

use super::Operator;
use crate::{
    dead_letter::QueueName,
    error::BematicError,
    slack::{Reply, text},
};

/// The number of messages of a queue that are redriven at once: as many as fit into Slack's 3 s.
const REDRIVEN: usize = 30;

impl Operator {
    /// Lists the dead letters of all queues in parallel: three calls each.
    pub(super) async fn dead_letters(&self, now: Timestamp) -> Result<Reply, BematicError> {
        let queues = QueueName::iter().map(|queue| self.ports.dead_letters.list(queue));
        let found = try_join_all(queues).await?;
        Ok(Reply::ephemeral(text::dead_letters(&found, now)))
    }

    pub(super) async fn redrive(&self) -> Result<Reply, BematicError> {
        let queues =
            QueueName::iter().map(|queue| self.ports.dead_letters.redrive(queue, REDRIVEN));
        let redriven = try_join_all(queues).await?.into_iter().sum();
        info!(redriven, "dead letters redriven");
        Ok(Reply::ephemeral(text::redriven(redriven)))
    }
}
