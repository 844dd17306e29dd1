//! The adapters to SQS. A message names a task or an agent whose state may have changed; the
//! handler reads that state and decides.

mod dead_letters;
mod failure;
mod reason;
mod target;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;

pub use self::dead_letters::SqsDeadLetters;
use self::{
    failure::failed,
    target::{Outgoing, Target},
};
use crate::config::QueueUrls;
use bematic::{
    batch::Batch,
    dead_letter::Reason,
    error::QueueError,
    ports::{
        BatchMessage, BatchQueue, DispatchMessage, DispatchQueue, Notifications, NotifyMessage,
        Received, SourceQueue,
    },
    task::FlushInterval,
};
use bematic_protocol::{
    ids::{AgentId, BatchId, TaskId},
    time::Timestamp,
};

/// Sends to the dispatcher's queue, a standard queue. Each agent is a message group, so that a
/// backlog of one agent does not delay the others (SQS's fair queues).
#[derive(Debug, Clone)]
pub struct SqsDispatch(Target);

impl SqsDispatch {
    /// Creates the adapter for the queue at `url`.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

fn dispatch(body: &DispatchMessage, delay: Duration) -> Result<Outgoing, QueueError> {
    let group = match body {
        DispatchMessage::AgentQueue { agent_id, .. }
        | DispatchMessage::Task { agent_id, .. }
        | DispatchMessage::AckDeadline { agent_id, .. } => agent_id.as_str(),
        DispatchMessage::AuthDeadline { connection_id } => connection_id.as_str(),
    };
    Ok(Outgoing::new(body)?.group(group).after(delay))
}

#[async_trait]
impl DispatchQueue for SqsDispatch {
    async fn send(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError> {
        let messages = messages.iter();
        let messages = messages.map(|(body, delay)| dispatch(body, *delay));
        self.0.send_all(messages.collect::<Result<_, _>>()?).await
    }
}

/// Sends to the queue of bulk operations, a standard queue.
#[derive(Debug, Clone)]
pub struct SqsBatches(Target);

impl SqsBatches {
    /// Creates the adapter for the queue at `url`.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

#[async_trait]
impl BatchQueue for SqsBatches {
    async fn enqueue(&self, batch_id: BatchId) -> Result<(), QueueError> {
        self.0
            .send(Outgoing::new(&BatchMessage { batch_id })?)
            .await
    }
}

/// Sends to the notifier's queue, a FIFO queue. Each task, bulk operation and agent's breaker is a
/// message group.
#[derive(Debug, Clone)]
pub struct SqsNotifications(Target);

impl SqsNotifications {
    /// Creates the adapter for the queue at `url`.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

/// Returns the message that refreshes a task's card. Its deduplication id names the task and the
/// flush interval, so that SQS keeps one message for each interval.
fn refresh(task_id: TaskId, now: Timestamp) -> Result<Outgoing, QueueError> {
    let deduplication_id = format!("{task_id}-{}", FlushInterval::of(now));
    let message = Outgoing::new(&NotifyMessage::Refresh { task_id })?;
    let message = message.group(task_id.to_string());
    Ok(message.deduplicated_by(deduplication_id))
}

#[async_trait]
impl Notifications for SqsNotifications {
    async fn refresh(&self, tasks: &[TaskId], now: Timestamp) -> Result<(), QueueError> {
        let messages = tasks.iter().map(|task| refresh(*task, now));
        self.0.send_all(messages.collect::<Result<_, _>>()?).await
    }

    async fn batch_changed(&self, batch: &Batch) -> Result<(), QueueError> {
        let batch_id = batch.id;
        let deduplication_id = if batch.is_finished() {
            format!("{batch_id}-v{}", batch.version)
        } else {
            format!("{batch_id}-{}", FlushInterval::of(batch.updated_at))
        };
        let message = Outgoing::new(&NotifyMessage::Batch { batch_id })?;
        let message = message.group(batch_id.to_string());
        self.0.send(message.deduplicated_by(deduplication_id)).await
    }

    async fn breaker_changed(&self, agent: &AgentId, generation: u64) -> Result<(), QueueError> {
        let agent_id = agent.clone();
        let message = Outgoing::new(&NotifyMessage::Breaker { agent_id })?;
        let message = message.group(format!("breaker-{agent}"));
        let deduplication_id = format!("breaker-{agent}-{generation}");
        self.0.send(message.deduplicated_by(deduplication_id)).await
    }

    async fn reply(&self, reply: &NotifyMessage) -> Result<(), QueueError> {
        let NotifyMessage::Reply {
            event_id,
            thread_ts,
            channel_id,
            ..
        } = reply
        else {
            return Ok(());
        };
        let message = Outgoing::new(reply)?.group(format!("{channel_id}-{thread_ts}"));
        self.0.send(message.deduplicated_by(event_id)).await
    }
}

/// The queue that triggers a function, with its dead-letter queue.
#[derive(Debug, Clone)]
pub struct SqsSource {
    queue: Target,
    dead: Target,
    max_receives: u32,
}

impl SqsSource {
    /// Creates the adapter for a queue whose messages go to the dead-letter queue after
    /// `max_receives`.
    pub fn new(client: Client, urls: QueueUrls, max_receives: u32) -> Self {
        Self {
            queue: Target {
                client: client.clone(),
                url: urls.source,
            },
            dead: Target {
                client,
                url: urls.dead_letters,
            },
            max_receives,
        }
    }
}

#[async_trait]
impl SourceQueue for SqsSource {
    fn max_receives(&self) -> u32 {
        self.max_receives
    }

    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        // Rounded up, so that the retry is not before `delay` is over; SQS allows at most 12 h.
        let seconds = delay.as_millis().div_ceil(1000).min(43_200);
        self.queue
            .client
            .change_message_visibility()
            .queue_url(&self.queue.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(i32::try_from(seconds).unwrap_or(43_200))
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("ChangeMessageVisibility", error))
    }

    async fn send_to_dead_letters(
        &self,
        message: Received<'_>,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        let buried = Outgoing {
            body: message.body.to_owned(),
            group: message.group.map(ToOwned::to_owned),
            deduplication_id: message.fifo.then(|| format!("buried-{}", message.id)),
            delay: None,
            reason: Some(reason.clone()),
        };
        self.dead.send(buried).await
    }
}
