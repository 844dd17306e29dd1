//! The queues, what they carry, and what comes of what fails.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, BatchId, ChannelId, ConnectionId, MessageTs, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    batch::Batch,
    dead_letter::{DeadLetters, QueueName, Reason},
    error::QueueError,
};

/// What the dispatcher is told to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum DispatchMessage {
    /// The agent's queue, connection or capacity may have changed.
    Drain {
        /// The agent.
        agent_id: AgentId,
        /// The task whose card is to be refreshed whatever comes of that: one message does where a
        /// change of a task concerns both. A message that waits has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refresh: Option<TaskId>,
    },
    /// A timer of the task may have ended, or somebody wants it to stop.
    Task {
        /// The task.
        task_id: TaskId,
        /// Its agent: what one agent causes delays no other.
        agent_id: AgentId,
    },
    /// The attempt should have been acknowledged by now. If it was, its lease began without a
    /// message of its own.
    AckDeadline {
        /// The task.
        task_id: TaskId,
        /// Its agent.
        agent_id: AgentId,
    },
    /// The connection should have authenticated by now.
    AuthDeadline {
        /// The connection.
        connection_id: ConnectionId,
    },
}

impl DispatchMessage {
    /// Only the agent's queue is to be looked at.
    pub const fn drain(agent_id: AgentId) -> Self {
        Self::Drain {
            agent_id,
            refresh: None,
        }
    }
}

/// The dispatcher's queue.
#[async_trait]
pub trait DispatchQueue: Send + Sync {
    /// Sends `message`, to be seen after `delay` (at most 15 min).
    async fn send(&self, message: &DispatchMessage, delay: Duration) -> Result<(), QueueError>;
    /// Sends many: a call for each ten.
    async fn send_all(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError>;
}

/// What the notifier is told to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum NotifyMessage {
    /// The task may have changed.
    Refresh {
        /// The task.
        task_id: TaskId,
    },
    /// Bulk work may have gone on.
    Batch {
        /// Which.
        batch_id: BatchId,
    },
    /// What an agent's breaker lets through may have changed.
    Breaker {
        /// The agent.
        agent_id: AgentId,
    },
    /// An answer to a mention that made no task: there is no state to render it from.
    Reply {
        /// Slack's id of the event, sent once each.
        event_id: String,
        /// Where.
        channel_id: ChannelId,
        /// The thread to answer in.
        thread_ts: MessageTs,
        /// The text.
        text: String,
    },
}

/// The notifier's queue.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Enqueues a refresh of each task's card: one for each task and flush interval that `now` falls
    /// into, delivered after its end. A call for each ten.
    async fn refresh(&self, tasks: &[TaskId], now: Timestamp) -> Result<(), QueueError>;
    /// Bulk work went on: seen within the flush interval, and its end never left out.
    async fn batch_changed(&self, batch: &Batch) -> Result<(), QueueError>;
    /// What the agent's breaker lets through has changed: one message a generation.
    async fn breaker_changed(&self, agent: &AgentId, generation: u64) -> Result<(), QueueError>;
    /// A text for a thread.
    async fn reply(&self, message: &NotifyMessage) -> Result<(), QueueError>;
}

/// A message as a function received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// SQS's id of it.
    pub id: &'a str,
    /// What it says.
    pub body: &'a str,
    /// What it was in order with.
    pub group: Option<&'a str>,
    /// Whether its queue is first in first out; then its dead-letter queue is too.
    pub fifo: bool,
    /// How often it was received, this time included.
    pub times: u32,
}

/// The queue that a function is fed from.
#[async_trait]
pub trait SourceQueue: Send + Sync {
    /// How often a message is received before it is given up.
    fn max_receives(&self) -> u32;
    /// Gives the received message again after `delay` (at most 12 h).
    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError>;
    /// Puts a copy of the message into the dead-letter queue, with the reason.
    async fn bury(&self, message: Received<'_>, reason: &Reason) -> Result<(), QueueError>;
}

/// What the functions gave up on.
#[async_trait]
pub trait DeadLetterQueues: Send + Sync {
    /// Some of a queue's dead letters: three calls.
    async fn list(&self, queue: QueueName) -> Result<DeadLetters, QueueError>;
    /// How many a queue has, as far as SQS knows.
    async fn count(&self, queue: QueueName) -> Result<usize, QueueError>;
    /// Gives back to a queue what it gave up until now, `limit` or a few more, and says how many.
    /// Two calls for each, one for each ten, and one to count them.
    async fn redrive(&self, queue: QueueName, limit: usize) -> Result<usize, QueueError>;
}
