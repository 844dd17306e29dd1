//! What the handlers need of the outside world, as small traits. The adapters are
//! [`crate::store`], [`crate::queue`], [`crate::gateway`] and [`crate::slack`]; the tests have
//! adapters of their own, in memory. One method is one AWS call unless its doc says otherwise.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Agent, Connection, DrainLease, KeyHash, Project},
    batch::{Batch, Change},
    dead_letter::{DeadLetters, QueueName, Reason},
    error::{GatewayError, QueueError, StoreError},
    ids::{AgentId, Attempt, BatchId, ChannelId, ConnectionId, MessageTs, Subject, TaskId},
    protocol::{AgentStatus, CloudMessage, Spelling},
    task::{Chunk, Completion, LateReport, Step, Task, TaskSpec},
    time::Timestamp,
};

/// What became of putting a record that must not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created<T> {
    /// It is there now.
    New,
    /// This was there before.
    Existing(T),
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It took place.
    Done,
    /// Another changed the record first: read it again and decide anew.
    Conflict,
}

/// What became of claiming a task for dispatch.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Claim {
    /// The task and a slot are taken: this is the task now.
    Taken(Box<Task>),
    /// Another changed the task first.
    TaskChanged,
    /// The agent is not on that connection any more, or has no free slot.
    AgentUnavailable,
}

/// What is kept beside a task when it changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kept<'a> {
    /// What came of it.
    Completion(&'a Completion),
    /// What came too late to count.
    Late(&'a LateReport),
}

/// A page of a list, and where the next one starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Opaque; `None` on the last page.
    pub next: Option<String>,
}

/// The newest output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The text, oldest first.
    pub text: String,
    /// Whether there is more before it.
    pub cut: bool,
}

/// The one Slack message about a task or about bulk work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The message, once Slack has confirmed it; before that, a post may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<MessageTs>,
    /// A digest of what it shows, to leave out updates that change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// When the first post was begun.
    pub begun_at: Timestamp,
}

/// Tasks and all that hangs on them.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// A task.
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError>;
    /// What it runs.
    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError>;
    /// What came of it.
    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError>;
    /// Stores a new task, its specification and its place in the queue, once per `request`
    /// (Slack's id of what the operator did). A repeated request costs a second call.
    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Created<TaskId>, StoreError>;
    /// Claims a pending task over `connection`: the task and the agent's slot in one transaction.
    async fn claim(
        &self,
        before: &Task,
        after: Task,
        connection: &ConnectionId,
    ) -> Result<Claim, StoreError>;
    /// Any other transition: the task, its place in the queue, the agent's slot and what is kept
    /// in one transaction.
    async fn transition(
        &self,
        before: &Task,
        after: &Task,
        kept: Option<Kept<'_>>,
    ) -> Result<Written, StoreError>;
    /// Notes that Slack shows the task as it is, unless it has changed since.
    async fn mark_shown(&self, task: &Task) -> Result<(), StoreError>;
    /// Notes that the task was told of again, so that it is not before `at` that somebody should
    /// look at it anew; unless it has changed since.
    async fn look_again(&self, task: &Task, at: Timestamp) -> Result<(), StoreError>;
    /// Tasks that somebody should look at by now ([`Task::due_at`]), the longest due first. By an
    /// index that lags: some may be done already. A call for each shard and page.
    async fn due(&self, now: Timestamp, limit: usize)
    -> Result<Vec<(TaskId, AgentId)>, StoreError>;
    /// When the attempt's newest report came, by our clock. Two calls, side by side.
    async fn last_report(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// What came too late, by attempt.
    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError>;
    /// The agent's queue that is due at `now`, in the order that it is to be worked off.
    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError>;
    /// The channel's tasks, newest first.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError>;
    /// How many tasks of the channel come after `cursor`. By an index that lags. A call for each
    /// megabyte of them.
    async fn count_in_channel(&self, channel: &ChannelId, cursor: &str) -> Result<u64, StoreError>;
    /// Keeps a step; the same message twice is one step.
    async fn add_step(
        &self,
        task: TaskId,
        attempt: Attempt,
        step: &Step,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The attempt's newest steps, newest first.
    async fn steps(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> Result<Vec<Step>, StoreError>;
    /// Keeps a piece of output; the same message twice is one piece. Every hundredth piece costs
    /// calls that remove those beyond [`crate::task::Chunk::KEPT`].
    async fn add_chunk(&self, chunk: &Chunk, now: Timestamp) -> Result<(), StoreError>;
    /// The newest output of at least `bytes`, if there is as much.
    async fn output(
        &self,
        task: TaskId,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<Output, StoreError>;
}

/// Which messages Slack has of us.
#[async_trait]
pub trait Cards: Send + Sync {
    /// The message about a subject.
    async fn card(&self, about: Subject) -> Result<Option<Card>, StoreError>;
    /// Begins the first post; whoever is second gets what the first wrote.
    async fn begin_card(&self, about: Subject, card: &Card) -> Result<Created<Card>, StoreError>;
    /// Writes what the message shows now.
    async fn save_card(&self, about: Subject, card: &Card) -> Result<(), StoreError>;
}

/// What became of a chunk of bulk work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// All of it took place.
    Done,
    /// Nothing did: another has gone on with the batch.
    Overtaken,
    /// Nothing did: these tasks have changed.
    Refused(Vec<TaskId>),
}

/// Bulk work.
#[async_trait]
pub trait Batches: Send + Sync {
    /// Bulk work by its id.
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError>;
    /// Stores new bulk work, once per `request` (Slack's id of what the operator did). A repeated
    /// request costs a second call.
    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError>;
    /// Goes on with bulk work and changes its next tasks, in one transaction.
    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[Change],
    ) -> Result<Applied, StoreError>;
    /// Notes that Slack shows it as it is, unless it has gone on since.
    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError>;
    /// What has not gone on for a while ([`Batch::due_at`]), but not for more than a day, and when
    /// it went on last. By an index that lags.
    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError>;
    /// Has it looked at again at `at`, not before.
    async fn look_again(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError>;
}

/// What became of asking for the right to drain an agent's queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Drain {
    /// It is ours; this is the agent.
    Ours(Box<Agent>),
    /// Another has it, and was told to look again before it stops.
    Asked,
    /// There is no such agent.
    NoAgent,
}

/// What became of giving back the right to drain.
#[derive(Debug, Clone, PartialEq)]
pub enum Released {
    /// Given back, or lost to another before.
    Done,
    /// Somebody asked meanwhile: it is still ours; this is the agent.
    AskedAgain(Box<Agent>),
}

/// Agents, their connections and keys.
#[async_trait]
pub trait Agents: Send + Sync {
    /// An agent.
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError>;
    /// All agents, by name. Several calls.
    async fn list(&self) -> Result<Vec<Agent>, StoreError>;
    /// Makes an agent, unless it exists.
    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError>;
    /// Adds a key to an agent.
    async fn add_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Whether the key is the agent's.
    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError>;
    /// Removes all keys of an agent, and says how many. Several calls.
    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError>;
    /// A connection.
    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError>;
    /// Notes a connection that has yet to authenticate.
    async fn admit(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError>;
    /// Binds a connection to an agent: the newer wins. Two calls.
    async fn bind(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        now: Timestamp,
    ) -> Result<Bound, StoreError>;
    /// Notes a sign of life and, the first time, the spelling; gives back the connection.
    async fn greet(
        &self,
        id: &ConnectionId,
        spelling: Spelling,
        now: Timestamp,
    ) -> Result<Connection, StoreError>;
    /// Forgets a connection, and marks its agent offline if it was the current one. Two calls, or
    /// three if the agent is not known.
    async fn unbind(
        &self,
        id: &ConnectionId,
        agent: Option<&AgentId>,
        now: Timestamp,
    ) -> Result<Unbound, StoreError>;
    /// What the agent said of itself at `sent_at`, by its clock, over `connection`, and the agent
    /// after that; over an older one, or before what it said last, it changes nothing.
    async fn report(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError>;
    /// Notes a sign of life over the agent's current connection, and gives back the agent; `None`
    /// if that is not its connection (any more).
    async fn alive(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &SignOfLife,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError>;
    /// Notes that the agent was sent a ping that it has to echo.
    async fn pinged(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Notes that the agent was sent a ping since it seems not to hear us: no work for it until it
    /// has echoed that.
    async fn doubted(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The connected agents of one shard of [`CONNECTED_SHARDS`], a page at a time. By an index
    /// that lags.
    async fn connected(&self, shard: u32, cursor: Option<&str>) -> Result<Page<Agent>, StoreError>;
    /// Connections that should have authenticated by `now`. By an index that lags.
    async fn unauthenticated(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConnectionId>, StoreError>;
    /// Asks for the right to drain the agent's queue. One call, or two if another has it.
    async fn begin_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        now: Timestamp,
    ) -> Result<Drain, StoreError>;
    /// Gives it back, unless somebody asked since `requests` was read.
    async fn end_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        requests: u64,
    ) -> Result<Released, StoreError>;
}

/// How long a connection may take to authenticate in band.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(10);

/// Parts that the index of connected agents has.
pub const CONNECTED_SHARDS: u32 = 4;

/// What a heartbeat says beside "I am alive".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignOfLife {
    /// The tasks that the agent has, if it says.
    pub tasks: Option<Vec<TaskId>>,
    /// The time of the ping that it answers.
    pub echoes: Option<Timestamp>,
}

/// What became of binding a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// It is the agent's connection now, in place of this one.
    Current {
        /// The older connection, to be closed.
        replaced: Option<ConnectionId>,
    },
    /// A newer one is: this one is to be closed.
    Replaced,
    /// There is no such agent.
    NoAgent,
}

/// What became of forgetting a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbound {
    /// Its agent is offline now.
    Offline(AgentId),
    /// It was not anybody's current connection.
    Stale,
}

/// Projects, by channel.
#[async_trait]
pub trait Projects: Send + Sync {
    /// The channel's project.
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError>;
    /// All projects, by channel. Several calls.
    async fn list(&self) -> Result<Vec<Project>, StoreError>;
    /// Stores a channel's project in place of any other.
    async fn put(&self, project: &Project) -> Result<(), StoreError>;
}

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
    },
    /// A timer of the task may have ended, or somebody wants it to stop.
    Task {
        /// The task.
        task_id: TaskId,
        /// Its agent: what one agent causes delays no other.
        agent_id: AgentId,
    },
    /// The connection should have authenticated by now.
    AuthDeadline {
        /// The connection.
        connection_id: ConnectionId,
    },
}

/// The dispatcher's queue.
#[async_trait]
pub trait DispatchQueue: Send + Sync {
    /// Sends `message`, to be seen after `delay` (at most 15 min).
    async fn send(&self, message: &DispatchMessage, delay: Duration) -> Result<(), QueueError>;
    /// Sends many: a call for each ten.
    async fn send_all(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError>;
}

/// Which bulk work is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchMessage {
    /// Which.
    pub batch_id: BatchId,
}

/// The queue of bulk work.
#[async_trait]
pub trait BatchQueue: Send + Sync {
    /// Has bulk work go on.
    async fn work(&self, batch: BatchId) -> Result<(), QueueError>;
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
    /// The task's state changed: seen within the flush interval, never left out.
    async fn changed(&self, task: &Task) -> Result<(), QueueError>;
    /// Many tasks' state changed: a call for each ten.
    async fn all_changed(&self, tasks: &[&Task]) -> Result<(), QueueError>;
    /// Bulk work went on: seen within the flush interval, and its end never left out.
    async fn batch_changed(&self, batch: &Batch) -> Result<(), QueueError>;
    /// The same once more, at most every 5 min (SQS's window of de-duplication).
    async fn not_shown(&self, task: &Task, now: Timestamp) -> Result<(), QueueError>;
    /// The task reported something at `now`: at most one message a flush interval.
    async fn reported(&self, task: TaskId, now: Timestamp) -> Result<(), QueueError>;
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
    /// Gives back to a queue what it gave up until now, `limit` or a few more, and says how many.
    /// Two calls for each, one for each ten, and one to count them.
    async fn redrive(&self, queue: QueueName, limit: usize) -> Result<usize, QueueError>;
}

/// Whether a message reached API Gateway for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It was taken. (It may still go to a connection that just died.)
    Sent,
    /// The connection is gone.
    Gone,
}

/// The sending side of the WebSocket API.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Sends a message, spelled as the connection spells.
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<Delivery, GatewayError>;
    /// Closes a connection; one that is gone is closed already.
    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError>;
}
