//! Ports to the stored tasks and the records that belong to a task, the records of cards, and the
//! bulk operations.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, Attempt, BatchId, CardSubject, ChannelId, ConnectionId, MessageTs, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{BreakerChange, Created, Page};
use crate::{
    agent::KeyId,
    batch::{Batch, TaskChange},
    breaker::Breaker,
    error::StoreResult,
    task::{Completion, LateReport, OutputChunk, OutputTail, ProgressReport, Task, TaskSpec},
};

/// The outcome of storing a new task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TaskCreation {
    /// The task is stored.
    Done,
    /// The same request has created this task before.
    Repeated(TaskId),
    /// There is no such agent; nothing is stored.
    NoAgent,
    /// The person has created as many tasks as is allowed in this hour; nothing is stored.
    HourlyLimitReached,
}

/// The outcome of claiming a task for dispatch.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum ClaimOutcome {
    /// The task and a slot of the agent are claimed: this is the task now.
    Taken(Box<Task>),
    /// The task was changed by another writer first.
    TaskChanged,
    /// The agent is no longer on that connection, has no free slot, or the gate of its breaker has
    /// changed.
    AgentUnavailable,
    /// The breaker was changed by another writer first.
    BreakerChanged,
}

/// The conditions on which a task is claimed, and the change of the breaker that the claim makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClaimConditions<'a> {
    /// The connection that the task is to be sent over.
    pub connection: &'a ConnectionId,
    /// The generation of the agent's gate that the decision is based on.
    pub generation: u64,
    /// The change that the claim makes to the agent's breaker, if any.
    pub change: Option<BreakerChange<'a>>,
}

/// A record that is stored with a change of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AttachedRecord<'a> {
    /// The result of a completed task.
    Completion(&'a Completion),
    /// A terminal message that came too late to count.
    Late(&'a LateReport),
}

/// The outcome of writing a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TransitionWritten {
    /// The transition took place.
    Done,
    /// The task or the breaker was changed by another writer first: both have to be read again.
    Conflict,
    /// The key of the agent's connection is revoked: nothing was written.
    KeyRevoked,
}

/// A task, and what decides on what an agent reports on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedTask {
    /// The task; `None` if there is no such task.
    pub task: Option<Task>,
    /// The agent's circuit breaker.
    pub breaker: Breaker,
    /// Whether the key of the connection over which the agent reports is revoked.
    pub is_key_revoked: bool,
}

/// The limit to which an agent's waiting tasks are counted to compare its load with others'.
pub const MAX_WAITING_COUNTED: usize = 100;

/// The tasks and the records that belong to a task.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Returns the task.
    async fn find(&self, id: TaskId) -> StoreResult<Option<Task>>;
    /// Returns those of the tasks that exist, as they are now: a call for each 100.
    async fn find_all(&self, ids: &BTreeSet<TaskId>) -> StoreResult<Vec<Task>>;
    /// Returns the task, the circuit breaker of the agent that reports on it, and whether the key
    /// of the connection over which it does is revoked.
    async fn find_for_agent(
        &self,
        id: TaskId,
        agent: &AgentId,
        key: Option<&KeyId>,
    ) -> StoreResult<ReportedTask>;
    /// Returns the task's specification.
    async fn spec(&self, id: TaskId) -> StoreResult<Option<TaskSpec>>;
    /// Returns the task's result.
    async fn completion(&self, id: TaskId) -> StoreResult<Option<Completion>>;
    /// Stores a new task, its specification and its place in the queue, once per `request` (Slack's
    /// id of the operator's request), if its agent exists, and, with an `hourly_limit`, if the
    /// person who requests it has created fewer tasks in this hour of the clock.
    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
        hourly_limit: Option<u32>,
    ) -> StoreResult<TaskCreation>;
    /// Returns the task that the request has created, if it has.
    async fn created_by(&self, request: &str) -> StoreResult<Option<TaskId>>;
    /// Claims a pending task: writes the task, the agent's slot and the breaker's permit in one
    /// transaction.
    async fn claim(
        &self,
        before: &Task,
        after: Task,
        conditions: ClaimConditions<'_>,
    ) -> StoreResult<ClaimOutcome>;
    /// Writes any other transition: the task, its place in the queue, the agent's slot, the
    /// attached record and the change of the agent's breaker, in one transaction. With the `key` of
    /// the connection over which the agent asks for it, a transition that frees or takes a slot is
    /// refused if the key is revoked.
    async fn write_transition(
        &self,
        before: &Task,
        after: &Task,
        attached: Option<AttachedRecord<'_>>,
        change: Option<BreakerChange<'_>>,
        key: Option<&KeyId>,
    ) -> StoreResult<TransitionWritten>;
    /// Returns the late reports of a task, sorted by attempt.
    async fn late_reports(&self, task: TaskId) -> StoreResult<Vec<LateReport>>;
}

/// Lists of tasks: the queues of agents, and the tasks of channels.
#[async_trait]
pub trait TaskLists: Send + Sync {
    /// Returns the tasks of the agent's queue that are due at `now`, in the order of dispatch.
    async fn queued(&self, agent: &AgentId, now: Timestamp, limit: usize)
    -> StoreResult<Vec<Task>>;
    /// Returns the number of tasks that wait for the agent, due or not, counted up to `limit`.
    async fn count_in_queue(&self, agent: &AgentId, limit: usize) -> StoreResult<usize>;
    /// Returns the channel's tasks, newest first. Reads an index that lags and only has the tasks'
    /// ids: two calls.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Task>>;
    /// Returns the number of tasks of the channel that come after `cursor`. Reads an index that
    /// lags. A call for each megabyte of the index.
    async fn count_after_in_channel(&self, channel: &ChannelId, cursor: &str) -> StoreResult<u64>;
}

/// The index of tasks by the time at which they have to be checked.
#[async_trait]
pub trait Deadlines: Send + Sync {
    /// Records that Slack shows the task's current version, unless the task has changed since.
    async fn mark_shown(&self, task: &Task) -> StoreResult<()>;
    /// Postpones the next check of the task to `at`, since its messages were sent again; unless the
    /// task has changed since.
    async fn postpone(&self, task: &Task, at: Timestamp) -> StoreResult<()>;
    /// Returns tasks that have to be checked by now ([`Task::due_at`]), the longest due first.
    /// Reads an index that lags: some may have been checked already. A call for each shard and
    /// page.
    async fn due(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<(TaskId, AgentId)>>;
}

/// The progress reports of running tasks: steps and output.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Stores a progress report; a repeated message is stored once. Now and then it costs calls
    /// that remove the reports beyond [`crate::task::ProgressReport::MAX_KEPT_PER_ATTEMPT`].
    async fn add_progress_report(
        &self,
        task: TaskId,
        attempt: Attempt,
        report: &ProgressReport,
        now: Timestamp,
    ) -> StoreResult<()>;
    /// Returns the attempt's newest progress reports, newest first.
    async fn progress_reports(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> StoreResult<Vec<ProgressReport>>;
    /// Stores a chunk of output; a repeated message is stored once. Every hundredth chunk costs
    /// calls that remove the chunks beyond [`crate::task::OutputChunk::MAX_KEPT_PER_ATTEMPT`], and
    /// every thousandth in an environment does, whatever the positions are.
    async fn add_chunk(&self, chunk: &OutputChunk, now: Timestamp) -> StoreResult<()>;
    /// Returns the newest output: at least `bytes`, if there is as much.
    async fn output(&self, task: TaskId, attempt: Attempt, bytes: usize)
    -> StoreResult<OutputTail>;
    /// Returns the time at which the attempt's newest report arrived, by the cloud's clock. Two
    /// calls, in parallel.
    async fn last_report_at(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> StoreResult<Option<Timestamp>>;
}

/// The record of the one Slack message about a task, a bulk operation or a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CardRecord {
    /// The message's timestamp in Slack, once Slack has confirmed the post; before that, a post may
    /// be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<MessageTs>,
    /// A digest of the message's content, used to skip updates that change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// The time at which the first post was begun.
    pub begun_at: Timestamp,
}

/// The records of Bematic's messages in Slack.
#[async_trait]
pub trait CardRecords: Send + Sync {
    /// Returns the record of the message about a subject.
    async fn find(&self, about: CardSubject) -> StoreResult<Option<CardRecord>>;
    /// Stores the record before the first post; if there is one already, returns the existing one.
    async fn begin_post(
        &self,
        about: CardSubject,
        card: &CardRecord,
    ) -> StoreResult<Created<CardRecord>>;
    /// Writes the record of what the message shows now.
    async fn save(&self, about: CardSubject, card: &CardRecord) -> StoreResult<()>;
}

/// The outcome of applying a chunk of a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BatchWritten {
    /// All changes of the chunk were written.
    Done,
    /// Nothing was written: another worker has advanced the bulk operation.
    Overtaken,
    /// Nothing was written: these tasks have changed.
    Refused(Vec<TaskId>),
}

/// The bulk operations.
#[async_trait]
pub trait Batches: Send + Sync {
    /// Returns the bulk operation with this id.
    async fn find(&self, id: BatchId) -> StoreResult<Option<Batch>>;
    /// Stores a new bulk operation, once per `request` (Slack's id of the operator's request).
    async fn create(&self, batch: &Batch, request: &str) -> StoreResult<Created<BatchId>>;
    /// Advances a bulk operation and changes its next tasks, in one transaction.
    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[TaskChange],
    ) -> StoreResult<BatchWritten>;
    /// Records that Slack shows the bulk operation's current version, unless it has advanced since.
    async fn mark_shown(&self, batch: &Batch) -> StoreResult<()>;
    /// Returns the bulk operations that have not advanced for a while ([`Batch::due_at`]), but for
    /// no more than a day, with the time at which each advanced last. Reads an index that lags.
    async fn stalled(&self, now: Timestamp, limit: usize)
    -> StoreResult<Vec<(BatchId, Timestamp)>>;
    /// Postpones the next check of the bulk operation to `at`.
    async fn postpone(&self, id: BatchId, at: Timestamp) -> StoreResult<()>;
}
