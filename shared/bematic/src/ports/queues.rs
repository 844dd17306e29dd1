//! Ports to the queues and dead-letter queues, and the messages that the queues carry.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, BatchId, ChannelId, ConnectionId, MessageTs, TaskId, UserId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    agent::TakeOver,
    batch::Batch,
    dead_letter::{DeadLetterQueueSummary, QueueName, Reason},
    error::QueueError,
};

/// A message of the dispatcher's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum DispatchMessage {
    /// The agent's queue has to be dispatched: the queue, the connection or the capacity may have
    /// changed.
    #[serde(rename = "drain")]
    AgentQueue {
        /// The agent.
        agent_id: AgentId,
        /// The task whose card is to be refreshed whatever the outcome of the dispatch: one message
        /// is enough where a change of a task concerns both. A delayed message has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refresh: Option<TaskId>,
    },
    /// The task has to be checked: a timer may have ended, or the task is to be cancelled.
    Task {
        /// The task.
        task_id: TaskId,
        /// The task's agent: the queue's message group, so that one agent's messages delay no
        /// other's.
        agent_id: AgentId,
        /// The number of renewed leases whose timers have led to this one, each sent by the one
        /// before.
        #[serde(default, skip_serializing_if = "is_zero")]
        renewals: u8,
    },
    /// The deadline for the acknowledgement of the attempt has passed. If the attempt was
    /// acknowledged, its lease began without a message of its own.
    AckDeadline {
        /// The task.
        task_id: TaskId,
        /// The task's agent.
        agent_id: AgentId,
    },
    /// The deadline for the authentication of the connection has passed.
    AuthDeadline {
        /// The connection.
        connection_id: ConnectionId,
    },
    /// The connection has to be closed, and could not be when another replaced it or its key was
    /// revoked. It is never its agent's current one again.
    CloseConnection {
        /// The connection.
        connection_id: ConnectionId,
        /// The connection's agent.
        agent_id: AgentId,
    },
    /// A kind that this version does not know: a newer one has sent it, during an update.
    #[serde(other, skip_serializing)]
    Unknown,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl DispatchMessage {
    /// Returns a message that has a task checked.
    pub const fn task(task_id: TaskId, agent_id: AgentId) -> Self {
        Self::Task {
            task_id,
            agent_id,
            renewals: 0,
        }
    }

    /// Returns a message that only has the agent's queue dispatched.
    pub const fn agent_queue(agent_id: AgentId) -> Self {
        Self::AgentQueue {
            agent_id,
            refresh: None,
        }
    }
}

/// The dispatcher's queue.
#[async_trait]
pub trait DispatchQueue: Send + Sync {
    /// Sends messages, each to be received after its delay (at most 15 min, the limit of SQS): one
    /// call for each ten.
    async fn send(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError>;
}

/// A message of the notifier's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum NotifyMessage {
    /// The task may have changed: its card is to be refreshed.
    Refresh {
        /// The task.
        task_id: TaskId,
    },
    /// The bulk operation may have advanced: its card is to be refreshed.
    Batch {
        /// The bulk operation.
        batch_id: BatchId,
    },
    /// The gate of an agent's breaker may have changed: the operations channel is to be notified.
    Breaker {
        /// The agent.
        agent_id: AgentId,
    },
    /// Another address has taken over an agent's connection: the operations channel is to be
    /// notified. There is no stored state to render the notice from.
    TakeOver(TakeOver),
    /// A mention that created no task, or a refused button, is to be answered.
    Reply(TextReply),
    /// A kind that this version does not know: a newer one has sent it, during an update.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// The reply to a request that changed nothing: there is no stored state to render it from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextReply {
    /// Slack's id of the request, used to send the reply once.
    pub event_id: String,
    /// The channel of the request.
    pub channel_id: ChannelId,
    /// The thread to reply in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_ts: Option<MessageTs>,
    /// The only person who sees the reply; `None` if everybody in the channel does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_for: Option<UserId>,
    /// The text of the reply.
    pub text: String,
}

/// The notifier's queue.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Enqueues a refresh of each task's card: one for each task and flush interval that `now` falls
    /// into, delivered after its end. A call for each ten.
    async fn enqueue_refreshes(&self, tasks: &[TaskId], now: Timestamp) -> Result<(), QueueError>;
    /// Enqueues a refresh of the bulk operation's card within the flush interval; the refresh for
    /// its end is never skipped.
    async fn enqueue_batch_refresh(&self, batch: &Batch) -> Result<(), QueueError>;
    /// Enqueues a notice that the gate of the agent's breaker has changed: one message for each
    /// generation.
    async fn enqueue_breaker_notice(
        &self,
        agent: &AgentId,
        generation: u64,
    ) -> Result<(), QueueError>;
    /// Enqueues a notice of a take-over: at most one message in 5 min for an agent.
    async fn enqueue_take_over_notice(&self, take_over: &TakeOver) -> Result<(), QueueError>;
    /// Enqueues a reply.
    async fn enqueue_reply(&self, reply: TextReply) -> Result<(), QueueError>;
}

/// A message of the queue of bulk operations: the bulk operation to advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchMessage {
    /// The bulk operation.
    pub batch_id: BatchId,
}

/// The queue of bulk operations.
#[async_trait]
pub trait BatchQueue: Send + Sync {
    /// Enqueues a message that makes the worker advance the bulk operation.
    async fn enqueue(&self, batch: BatchId) -> Result<(), QueueError>;
}

/// A message as a function received it from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceMessage<'a> {
    /// The message id that SQS gave it.
    pub id: &'a str,
    /// The message's body.
    pub body: &'a str,
    /// The message group, within which messages are in order.
    pub group: Option<&'a str>,
    /// Whether the queue is first-in-first-out; then its dead-letter queue is too.
    pub fifo: bool,
}

/// The queue that invokes a function.
#[async_trait]
pub trait SourceQueue: Send + Sync {
    /// Returns how often a message is received before it becomes a dead letter.
    fn max_receives(&self) -> u32;
    /// Makes the received message visible again after `delay` (at most 12 h, the limit of SQS).
    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError>;
    /// Puts a copy of the message into the dead-letter queue, with the reason.
    async fn send_to_dead_letters(
        &self,
        message: SourceMessage<'_>,
        reason: &Reason,
    ) -> Result<(), QueueError>;
}

/// The dead-letter queues of the functions.
#[async_trait]
pub trait DeadLetterQueues: Send + Sync {
    /// Returns some of a queue's dead letters: three calls.
    async fn list(&self, queue: QueueName) -> Result<DeadLetterQueueSummary, QueueError>;
    /// Returns the approximate number of a queue's dead letters.
    async fn count(&self, queue: QueueName) -> Result<usize, QueueError>;
    /// Moves dead letters from before now back to their queue, `limit` or a few more, and returns
    /// their number. Two calls for each, one for each ten, and one to count them.
    async fn redrive(&self, queue: QueueName, limit: usize) -> Result<usize, QueueError>;
}
