//! Sending messages to a queue, one at a time or in batches.

use std::time::Duration;

use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};
use bematic::{dead_letter::Reason, error::QueueError};
use futures::future::try_join_all;
use serde::Serialize;

use super::{failure::failed, reason};

/// The most messages of one SendMessageBatch (SQS's limit).
const BATCH_LIMIT: usize = 10;

/// A message to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) body: String,
    /// The message group: the unit of order on a FIFO queue, of fairness on a standard one.
    pub(super) group: Option<String>,
    /// The deduplication id, on a FIFO queue: SQS drops a second message with the same id within
    /// 5 min.
    pub(super) deduplication_id: Option<String>,
    /// Seconds before the message is delivered.
    pub(super) delay: Option<i32>,
    /// The reason that the message goes to a dead-letter queue.
    pub(super) reason: Option<Reason>,
}

impl Outgoing {
    pub(super) fn new<T: Serialize>(body: &T) -> Result<Self, QueueError> {
        let body = serde_json::to_string(body).map_err(|error| failed("SendMessage", error))?;
        Ok(Self {
            body,
            group: None,
            deduplication_id: None,
            delay: None,
            reason: None,
        })
    }

    pub(super) fn group(self, group: impl Into<String>) -> Self {
        Self {
            group: Some(group.into()),
            ..self
        }
    }

    pub(super) fn deduplicated_by(self, id: impl Into<String>) -> Self {
        Self {
            deduplication_id: Some(id.into()),
            ..self
        }
    }

    /// Delays the message by `delay`, rounded up to seconds, so that its timer has ended when it is
    /// delivered; SQS allows at most 15 min.
    pub(super) fn after(self, delay: Duration) -> Self {
        let seconds = delay.as_millis().div_ceil(1000).min(900);
        Self {
            delay: i32::try_from(seconds).ok().filter(|seconds| *seconds > 0),
            ..self
        }
    }

    fn entry(self, id: usize) -> Result<SendMessageBatchRequestEntry, QueueError> {
        SendMessageBatchRequestEntry::builder()
            .id(id.to_string())
            .message_body(self.body)
            .set_message_group_id(self.group)
            .set_message_deduplication_id(self.deduplication_id)
            .set_delay_seconds(self.delay)
            .build()
            .map_err(|error| failed("SendMessageBatch", error))
    }
}

/// A queue that messages are sent to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) url: String,
}

impl Target {
    pub(super) async fn send(&self, message: Outgoing) -> Result<(), QueueError> {
        let attributes = message.reason.as_ref().map(reason::attributes);
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .set_message_group_id(message.group)
            .set_message_deduplication_id(message.deduplication_id)
            .set_delay_seconds(message.delay)
            .set_message_attributes(attributes.transpose()?)
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("SendMessage", error))
    }

    pub(super) async fn send_all(&self, messages: Vec<Outgoing>) -> Result<(), QueueError> {
        if let [message] = &messages[..] {
            return self.send(message.clone()).await;
        }
        let batches = messages.chunks(BATCH_LIMIT);
        let batches = batches.map(|batch| self.send_batch(batch));
        try_join_all(batches).await.map(drop)
    }

    /// Sends up to [`BATCH_LIMIT`] messages in one call, and each message that SQS refused once
    /// more in a call of its own.
    async fn send_batch(&self, messages: &[Outgoing]) -> Result<(), QueueError> {
        let entries = messages.iter().cloned().enumerate();
        let entries: Vec<_> = entries
            .map(|(id, message)| message.entry(id))
            .collect::<Result<_, _>>()?;
        let answer = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| failed("SendMessageBatch", error))?;
        for refused in answer.failed {
            let message = refused
                .id
                .parse()
                .ok()
                .and_then(|id: usize| messages.get(id));
            if let Some(message) = message {
                self.send(message.clone()).await?;
            }
        }
        Ok(())
    }
}
