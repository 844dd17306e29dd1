//! SQS. A message names what may have changed; it never carries the work.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::{Client, operation::send_message::builders::SendMessageFluentBuilder};
use serde::Serialize;

use crate::{
    error::QueueError,
    ids::TaskId,
    ports::{DispatchMessage, DispatchQueue, Notifications, NotifyMessage, Visibility},
    task::{FLUSH_INTERVAL, Task},
    time::Timestamp,
};

fn message<T: Serialize>(
    client: &Client,
    url: &str,
    body: &T,
) -> Result<SendMessageFluentBuilder, QueueError> {
    let body = serde_json::to_string(body).map_err(|error| QueueError {
        operation: "SendMessage",
        source: Box::new(error),
    })?;
    Ok(client.send_message().queue_url(url).message_body(body))
}

async fn send(message: SendMessageFluentBuilder) -> Result<(), QueueError> {
    match message.send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(QueueError {
            operation: "SendMessage",
            source: Box::new(error),
        }),
    }
}

/// The dispatcher's queue: standard and fair, one message group an agent.
#[derive(Debug, Clone)]
pub struct SqsDispatch {
    client: Client,
    url: String,
}

impl SqsDispatch {
    /// On the queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

#[async_trait]
impl DispatchQueue for SqsDispatch {
    async fn send(&self, body: &DispatchMessage, delay: Duration) -> Result<(), QueueError> {
        let group = match body {
            DispatchMessage::Drain { agent_id } | DispatchMessage::Task { agent_id, .. } => {
                agent_id.as_str()
            }
            DispatchMessage::AuthDeadline { connection_id } => connection_id.as_str(),
        };
        let mut message = message(&self.client, &self.url, body)?.message_group_id(group);
        // Up: a message that comes early would find nothing due.
        let seconds = delay.as_millis().div_ceil(1000).min(900);
        if seconds > 0 {
            message = message.delay_seconds(i32::try_from(seconds).unwrap_or(900));
        }
        send(message).await
    }
}

/// The notifier's queue: first in first out within a task.
#[derive(Debug, Clone)]
pub struct SqsNotifications {
    client: Client,
    url: String,
}

impl SqsNotifications {
    /// On the queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    async fn refresh(&self, task_id: TaskId, once: String) -> Result<(), QueueError> {
        let message = message(&self.client, &self.url, &NotifyMessage::Refresh { task_id })?;
        send(
            message
                .message_group_id(task_id.to_string())
                .message_deduplication_id(once),
        )
        .await
    }
}

#[async_trait]
impl Notifications for SqsNotifications {
    async fn changed(&self, task: &Task) -> Result<(), QueueError> {
        self.refresh(task.id, format!("{}-v{}", task.id, task.version))
            .await
    }

    async fn not_shown(&self, task: &Task, now: Timestamp) -> Result<(), QueueError> {
        let window = now.as_secs() / (5 * 60);
        let once = format!("{}-v{}-w{window}", task.id, task.version);
        self.refresh(task.id, once).await
    }

    async fn reported(&self, task: TaskId, now: Timestamp) -> Result<(), QueueError> {
        let interval = u128::from(now.as_millis()) / FLUSH_INTERVAL.as_millis();
        self.refresh(task, format!("{task}-t{interval}")).await
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
        let message = message(&self.client, &self.url, reply)?
            .message_group_id(format!("{channel_id}-{thread_ts}"))
            .message_deduplication_id(event_id);
        send(message).await
    }
}

/// A queue that a function is fed from.
#[derive(Debug, Clone)]
pub struct SqsSource {
    client: Client,
    url: String,
}

impl SqsSource {
    /// The queue.
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

#[async_trait]
impl Visibility for SqsSource {
    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        // Up: a call that comes early is refused again. SQS: 12 h at most.
        let seconds = delay.as_millis().div_ceil(1000).min(43_200);
        let call = self.client.change_message_visibility().queue_url(&self.url);
        let call = call.receipt_handle(receipt_handle);
        match call
            .visibility_timeout(i32::try_from(seconds).unwrap_or(43_200))
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(QueueError {
                operation: "ChangeMessageVisibility",
                source: Box::new(error),
            }),
        }
    }
}
