//! Ports to the stored tasks and the records that belong to a task.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, Attempt, ChannelId, ConnectionId, TaskId},
    time::Timestamp,
};

use super::{BreakerChange, Page, Written};
use crate::{
    breaker::Breaker,
    error::StoreError,
    task::{Completion, LateReport, Output, OutputChunk, Step, Task, TaskSpec},
};

/// The outcome of storing a new task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Creation {
    /// The task is stored.
    Done,
    /// The same request has created this task before.
    Repeated(TaskId),
    /// There is no such agent; nothing is stored.
    NoAgent,
}

/// The outcome of claiming a task for dispatch.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Claim {
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

/// The permit to dispatch a task to its agent: the conditions of the claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DispatchPermit<'a> {
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

/// The limit to which an agent's waiting tasks are counted.
pub const WAITING_COUNTED: usize = 100;

/// The tasks and the records that belong to a task.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Returns the task.
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError>;
    /// Returns the task, and the circuit breaker of the agent that reports on it.
    async fn find_with_breaker(
        &self,
        id: TaskId,
        agent: &AgentId,
    ) -> Result<(Option<Task>, Breaker), StoreError>;
    /// Returns the task's specification.
    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError>;
    /// Returns the task's result.
    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError>;
    /// Stores a new task, its specification and its place in the queue, once per `request` (Slack's
    /// id of the operator's request), if its agent exists. A repeated request costs a second call.
    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Creation, StoreError>;
    /// Claims a pending task: writes the task, the agent's slot and the breaker's permit in one
    /// transaction.
    async fn claim(
        &self,
        before: &Task,
        after: Task,
        permit: DispatchPermit<'_>,
    ) -> Result<Claim, StoreError>;
    /// Writes any other transition: the task, its place in the queue, the agent's slot, the
    /// attached record and the change of the agent's breaker, in one transaction.
    async fn transition(
        &self,
        before: &Task,
        after: &Task,
        attached: Option<AttachedRecord<'_>>,
        change: Option<BreakerChange<'_>>,
    ) -> Result<Written, StoreError>;
    /// Returns the late reports of a task, sorted by attempt.
    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError>;
}

/// Lists of tasks: the queues of agents, and the tasks of channels.
#[async_trait]
pub trait TaskLists: Send + Sync {
    /// Returns the tasks of the agent's queue that are due at `now`, in the order of dispatch.
    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError>;
    /// Returns the number of tasks that wait for the agent, due or not, counted up to
    /// [`WAITING_COUNTED`].
    async fn waiting(&self, agent: &AgentId) -> Result<usize, StoreError>;
    /// Returns the channel's tasks, newest first. Reads an index that lags and only has the tasks'
    /// ids: two calls.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError>;
    /// Returns the number of tasks of the channel that come after `cursor`. Reads an index that
    /// lags. A call for each megabyte of the index.
    async fn count_in_channel(&self, channel: &ChannelId, cursor: &str) -> Result<u64, StoreError>;
}

/// The index of tasks by the time at which they have to be checked.
#[async_trait]
pub trait Deadlines: Send + Sync {
    /// Records that Slack shows the task's current version, unless the task has changed since.
    async fn mark_shown(&self, task: &Task) -> Result<(), StoreError>;
    /// Postpones the next check of the task to `at`, since its messages were sent again; unless the
    /// task has changed since.
    async fn postpone(&self, task: &Task, at: Timestamp) -> Result<(), StoreError>;
    /// Returns tasks that have to be checked by now ([`Task::due_at`]), the longest due first.
    /// Reads an index that lags: some may have been checked already. A call for each shard and
    /// page.
    async fn due(&self, now: Timestamp, limit: usize)
    -> Result<Vec<(TaskId, AgentId)>, StoreError>;
}

/// The progress reports of running tasks: steps and output.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Stores a step; a repeated message is stored once.
    async fn add_step(
        &self,
        task: TaskId,
        attempt: Attempt,
        step: &Step,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Returns the attempt's newest steps, newest first.
    async fn steps(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> Result<Vec<Step>, StoreError>;
    /// Stores a chunk of output; a repeated message is stored once. Every hundredth chunk costs
    /// calls that remove the chunks beyond [`crate::task::OutputChunk::KEPT`].
    async fn add_chunk(&self, chunk: &OutputChunk, now: Timestamp) -> Result<(), StoreError>;
    /// Returns the newest output: at least `bytes`, if there is as much.
    async fn output(
        &self,
        task: TaskId,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<Output, StoreError>;
    /// Returns the time at which the attempt's newest report arrived, by the cloud's clock. Two
    /// calls, in parallel.
    async fn last_report(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError>;
}
