//! The adapters to SQS. A message names a task or an agent whose state may have changed; the
//! handler reads that state and decides.

mod dead_letters;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{
        MessageAttributeValue, SendMessageBatchRequestEntry,
        builders::SendMessageBatchRequestEntryBuilder,
    },
};
use bematic::{
    agent::TakeOver,
    batch::Batch,
    dead_letter::Reason,
    error::{QueueError, Source},
    ports::{
        BatchMessage, BatchQueue, DispatchMessage, DispatchQueue, Notifications, NotifyMessage,
        SourceMessage, SourceQueue, TextReply,
    },
    task::FlushInterval,
};
use bematic_protocol::{
    ids::{AgentId, BatchId, MessageTs, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::Serialize;

pub use self::dead_letters::SqsDeadLetters;
use crate::config::QueueUrlPair;

/// The most messages of one SendMessageBatch (SQS's limit).
const SEND_BATCH_LIMIT: usize = 10;
/// The message attribute of a dead letter with the error's stable code.
const CODE_ATTRIBUTE: &str = "code";
/// The message attribute of a dead letter with the error's text.
const REASON_ATTRIBUTE: &str = "reason";

/// A queue, as all ports of queues that functions send to.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// Creates the adapter for the queue with this URL.
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    async fn send_message(&self, message: MessageBuilder) -> Result<(), QueueError> {
        let message = build_entry(message, 0)?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.message_body)
            .set_message_group_id(message.message_group_id)
            .set_message_deduplication_id(message.message_deduplication_id)
            .set_delay_seconds(message.delay_seconds)
            .set_message_attributes(message.message_attributes)
            .send()
            .await
            .map(drop)
            .map_err(call_error("SendMessage"))
    }

    async fn send_messages(&self, messages: Vec<MessageBuilder>) -> Result<(), QueueError> {
        if let [message] = &messages[..] {
            return self.send_message(message.clone()).await;
        }
        let batches = messages.chunks(SEND_BATCH_LIMIT);
        let batches = batches.map(|batch| self.send_batch(batch));
        try_join_all(batches).await.map(drop)
    }

    /// Sends up to [`SEND_BATCH_LIMIT`] messages in one call, and each message that SQS refused
    /// once more in a call of its own.
    async fn send_batch(&self, messages: &[MessageBuilder]) -> Result<(), QueueError> {
        let entries = messages.iter().cloned().enumerate();
        let entries = entries.map(|(id, message)| build_entry(message, id));
        let answer = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.collect::<Result<_, _>>()?))
            .send()
            .await
            .map_err(call_error("SendMessageBatch"))?;
        for refused in answer.failed {
            let id = refused.id.parse().unwrap_or(usize::MAX);
            if let Some(message) = messages.get(id) {
                self.send_message(message.clone()).await?;
            }
        }
        Ok(())
    }
}

/// A message to be sent, alone or in a batch, which has ids of its own.
type MessageBuilder = SendMessageBatchRequestEntryBuilder;

fn message(body: &impl Serialize) -> Result<MessageBuilder, QueueError> {
    let body = serde_json::to_string(body).map_err(call_error("SendMessage"))?;
    Ok(SendMessageBatchRequestEntry::builder().message_body(body))
}

fn build_entry(
    message: MessageBuilder,
    id: usize,
) -> Result<SendMessageBatchRequestEntry, QueueError> {
    let message = message.id(id.to_string()).build();
    message.map_err(call_error("SendMessage"))
}

/// Returns the error for a failed call of `operation`.
fn call_error<E: Into<Source>>(operation: &'static str) -> impl FnOnce(E) -> QueueError {
    move |error| QueueError {
        operation,
        source: error.into(),
    }
}

/// Returns a message of the dispatcher's queue, a standard queue. Each agent is a message group, so
/// that a backlog of one agent does not delay the others (SQS's fair queues).
fn dispatch_message(body: &DispatchMessage, delay: Duration) -> Result<MessageBuilder, QueueError> {
    let group = match body {
        DispatchMessage::AgentQueue { agent_id, .. }
        | DispatchMessage::Task { agent_id, .. }
        | DispatchMessage::AckDeadline { agent_id, .. }
        | DispatchMessage::CloseConnection { agent_id, .. } => agent_id.as_str(),
        DispatchMessage::AuthDeadline { connection_id } => connection_id.as_str(),
        // It cannot be serialized, and is never sent.
        DispatchMessage::Unknown => "unknown",
    };
    let message = message(body)?.message_group_id(group);
    Ok(message.delay_seconds(capped_delay_seconds(delay, 900)))
}

/// Returns a delay in seconds, rounded up so that it is over when the message is delivered; at most
/// SQS's limit.
fn capped_delay_seconds(delay: Duration, limit: i32) -> i32 {
    i32::try_from(delay.as_millis().div_ceil(1000)).map_or(limit, |seconds| seconds.min(limit))
}

#[async_trait]
impl DispatchQueue for SqsQueue {
    async fn send(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError> {
        let messages = messages.iter();
        let messages = messages.map(|(body, delay)| dispatch_message(body, *delay));
        self.send_messages(messages.collect::<Result<_, _>>()?)
            .await
    }
}

/// The queue of bulk operations is a standard queue.
#[async_trait]
impl BatchQueue for SqsQueue {
    async fn enqueue(&self, batch_id: BatchId) -> Result<(), QueueError> {
        self.send_message(message(&BatchMessage { batch_id })?)
            .await
    }
}

/// Returns a message of the notifier's queue, a FIFO queue. Each task, bulk operation and agent's
/// breaker is a message group. SQS drops a second message with the same deduplication id within
/// 5 min.
fn notification_message(
    body: &NotifyMessage,
    group: impl Into<String>,
    deduplication_id: impl Into<String>,
) -> Result<MessageBuilder, QueueError> {
    Ok(message(body)?
        .message_group_id(group)
        .message_deduplication_id(deduplication_id))
}

#[async_trait]
impl Notifications for SqsQueue {
    async fn enqueue_refreshes(&self, tasks: &[TaskId], now: Timestamp) -> Result<(), QueueError> {
        let interval = FlushInterval::of(now);
        let messages = tasks.iter().map(|&task_id| {
            let body = NotifyMessage::Refresh { task_id };
            notification_message(&body, task_id.to_string(), format!("{task_id}-{interval}"))
        });
        self.send_messages(messages.collect::<Result<_, _>>()?)
            .await
    }

    async fn enqueue_batch_refresh(&self, batch: &Batch) -> Result<(), QueueError> {
        let batch_id = batch.id;
        let deduplication_id = if batch.is_finished() {
            format!("{batch_id}-v{}", batch.version)
        } else {
            format!("{batch_id}-{}", FlushInterval::of(batch.updated_at))
        };
        let body = NotifyMessage::Batch { batch_id };
        self.send_message(notification_message(
            &body,
            batch_id.to_string(),
            deduplication_id,
        )?)
        .await
    }

    async fn enqueue_breaker_notice(
        &self,
        agent: &AgentId,
        generation: u64,
    ) -> Result<(), QueueError> {
        let agent_id = agent.clone();
        let group = format!("breaker-{agent}");
        let deduplication_id = format!("{group}-{generation}");
        let body = NotifyMessage::Breaker { agent_id };
        self.send_message(notification_message(&body, group, deduplication_id)?)
            .await
    }

    async fn enqueue_take_over_notice(&self, take_over: &TakeOver) -> Result<(), QueueError> {
        // Two machines with one key replace each other at each reconnect: SQS de-duplicates for 5 min.
        let group = format!("take-over-{}", take_over.agent_id);
        let body = NotifyMessage::TakeOver(take_over.clone());
        self.send_message(notification_message(&body, group.clone(), group)?)
            .await
    }

    async fn enqueue_reply(&self, reply: TextReply) -> Result<(), QueueError> {
        let place = reply.thread_ts.as_ref().map(MessageTs::as_str);
        let group = format!("{}-{}", reply.channel_id, place.unwrap_or(&reply.event_id));
        let deduplication_id = reply.event_id.clone();
        let body = NotifyMessage::Reply(reply);
        self.send_message(notification_message(&body, group, deduplication_id)?)
            .await
    }
}

/// The queue that triggers a function, with its dead-letter queue.
#[derive(Debug, Clone)]
pub struct SqsSourceQueue {
    queue: SqsQueue,
    dead_letters: SqsQueue,
    max_receives: u32,
}

impl SqsSourceQueue {
    /// Creates the adapter for a queue whose messages go to the dead-letter queue after
    /// `max_receives`.
    pub fn new(client: Client, urls: QueueUrlPair, max_receives: u32) -> Self {
        Self {
            queue: SqsQueue::new(client.clone(), urls.source),
            dead_letters: SqsQueue::new(client, urls.dead_letters),
            max_receives,
        }
    }
}

#[async_trait]
impl SourceQueue for SqsSourceQueue {
    fn max_receives(&self) -> u32 {
        self.max_receives
    }

    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        self.queue
            .client
            .change_message_visibility()
            .queue_url(&self.queue.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(capped_delay_seconds(delay, 43_200))
            .send()
            .await
            .map(drop)
            .map_err(call_error("ChangeMessageVisibility"))
    }

    async fn send_to_dead_letters(
        &self,
        message: SourceMessage<'_>,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        let mut copy = SendMessageBatchRequestEntry::builder()
            .message_body(message.body)
            .set_message_group_id(message.group.map(ToOwned::to_owned));
        if message.fifo {
            copy = copy.message_deduplication_id(format!("buried-{}", message.id));
        }
        for (name, text) in [
            (CODE_ATTRIBUTE, &reason.code),
            (REASON_ATTRIBUTE, &reason.text),
        ] {
            let value = MessageAttributeValue::builder().data_type("String");
            let value = value.string_value(text).build();
            copy = copy.message_attributes(name, value.map_err(call_error("SendMessage"))?);
        }
        self.dead_letters.send_message(copy).await
    }
}
