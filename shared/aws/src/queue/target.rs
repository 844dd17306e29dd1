//! A message on its way to a queue, alone or with others.

use std::time::Duration;

use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};
use bematic::{dead_letter::Reason, error::QueueError};
use futures::future::try_join_all;
use serde::Serialize;

use super::{failure::failed, reason};

/// Messages of one SendMessageBatch (SQS's limit).
const AT_ONCE: usize = 10;

/// A message, not yet sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) body: String,
    /// What it must not delay, or be out of order with.
    pub(super) group: Option<String>,
    /// Sent once in 5 min under this name, on a FIFO queue.
    pub(super) once: Option<String>,
    pub(super) delay: Option<i32>,
    /// Why it is in a dead-letter queue.
    pub(super) reason: Option<Reason>,
}

impl Outgoing {
    pub(super) fn new<T: Serialize>(body: &T) -> Result<Self, QueueError> {
        let body = serde_json::to_string(body).map_err(|error| failed("SendMessage", error))?;
        Ok(Self {
            body,
            group: None,
            once: None,
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

    pub(super) fn once(self, once: impl Into<String>) -> Self {
        Self {
            once: Some(once.into()),
            ..self
        }
    }

    /// Up: a message that comes early would find nothing due. SQS: 15 min at most.
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
            .set_message_deduplication_id(self.once)
            .set_delay_seconds(self.delay)
            .build()
            .map_err(|error| failed("SendMessageBatch", error))
    }
}

/// A queue to send to.
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
            .set_message_deduplication_id(message.once)
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
        let batches = messages.chunks(AT_ONCE).map(|batch| self.send_batch(batch));
        try_join_all(batches).await.map(drop)
    }

    /// Each entry stands alone: what of it SQS did not take is sent once more by itself.
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
