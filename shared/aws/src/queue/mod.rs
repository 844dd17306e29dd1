//! SQS. A message names what may have changed; it never carries the work.

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

/// The dispatcher's queue: standard and fair, one message group an agent.
#[derive(Debug, Clone)]
pub struct SqsDispatch(Target);

impl SqsDispatch {
    /// On the queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

fn dispatch(body: &DispatchMessage, delay: Duration) -> Result<Outgoing, QueueError> {
    let group = match body {
        DispatchMessage::Drain { agent_id, .. }
        | DispatchMessage::Task { agent_id, .. }
        | DispatchMessage::AckDeadline { agent_id, .. } => agent_id.as_str(),
        DispatchMessage::AuthDeadline { connection_id } => connection_id.as_str(),
    };
    Ok(Outgoing::new(body)?.group(group).after(delay))
}

#[async_trait]
impl DispatchQueue for SqsDispatch {
    async fn send(&self, body: &DispatchMessage, delay: Duration) -> Result<(), QueueError> {
        self.0.send(dispatch(body, delay)?).await
    }

    async fn send_all(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError> {
        let messages = messages.iter();
        let messages = messages.map(|(body, delay)| dispatch(body, *delay));
        self.0.send_all(messages.collect::<Result<_, _>>()?).await
    }
}

/// The queue of bulk work: standard.
#[derive(Debug, Clone)]
pub struct SqsBatches(Target);

impl SqsBatches {
    /// On the queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

#[async_trait]
impl BatchQueue for SqsBatches {
    async fn work(&self, batch_id: BatchId) -> Result<(), QueueError> {
        self.0
            .send(Outgoing::new(&BatchMessage { batch_id })?)
            .await
    }
}

/// The notifier's queue: first in first out within a task.
#[derive(Debug, Clone)]
pub struct SqsNotifications(Target);

impl SqsNotifications {
    /// On the queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self(Target { client, url })
    }
}

/// One for each task and flush interval: SQS drops the others.
fn refresh(task_id: TaskId, now: Timestamp) -> Result<Outgoing, QueueError> {
    let once = format!("{task_id}-{}", FlushInterval::of(now));
    let message = Outgoing::new(&NotifyMessage::Refresh { task_id })?;
    Ok(message.group(task_id.to_string()).once(once))
}

#[async_trait]
impl Notifications for SqsNotifications {
    async fn refresh(&self, tasks: &[TaskId], now: Timestamp) -> Result<(), QueueError> {
        let messages = tasks.iter().map(|task| refresh(*task, now));
        self.0.send_all(messages.collect::<Result<_, _>>()?).await
    }

    async fn batch_changed(&self, batch: &Batch) -> Result<(), QueueError> {
        let batch_id = batch.id;
        let once = if batch.is_finished() {
            format!("{batch_id}-v{}", batch.version)
        } else {
            format!("{batch_id}-{}", FlushInterval::of(batch.updated_at))
        };
        let message = Outgoing::new(&NotifyMessage::Batch { batch_id })?;
        let message = message.group(batch_id.to_string()).once(once);
        self.0.send(message).await
    }

    async fn breaker_changed(&self, agent: &AgentId, generation: u64) -> Result<(), QueueError> {
        let agent_id = agent.clone();
        let message = Outgoing::new(&NotifyMessage::Breaker { agent_id })?;
        let message = message.group(format!("breaker-{agent}"));
        self.0
            .send(message.once(format!("breaker-{agent}-{generation}")))
            .await
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
        self.0.send(message.once(event_id)).await
    }
}

/// A queue that a function is fed from.
#[derive(Debug, Clone)]
pub struct SqsSource {
    queue: Target,
    dead: Target,
    max_receives: u32,
}

impl SqsSource {
    /// The queue, its dead-letter queue, and how often a message is received before it goes there.
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
        // Up: a call that comes early is refused again. SQS: 12 h at most.
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

    async fn bury(&self, message: Received<'_>, reason: &Reason) -> Result<(), QueueError> {
        let buried = Outgoing {
            body: message.body.to_owned(),
            group: message.group.map(ToOwned::to_owned),
            once: message.fifo.then(|| format!("buried-{}", message.id)),
            delay: None,
            reason: Some(reason.clone()),
        };
        self.dead.send(buried).await
    }
}
