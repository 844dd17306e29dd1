//! Tasks and all that hangs on them.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, Attempt, ChannelId, ConnectionId, TaskId},
    time::Timestamp,
};

use super::{Page, Turn, Written};
use crate::{
    breaker::Breaker,
    error::StoreError,
    task::{Chunk, Completion, LateReport, Step, Task, TaskSpec},
};

/// What became of storing a new task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Creation {
    /// It is stored.
    Done,
    /// The same request made this one before.
    Repeated(TaskId),
    /// There is no such agent; nothing is stored.
    NoAgent,
}

/// What became of claiming a task for dispatch.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Claim {
    /// The task and a slot are taken: this is the task now.
    Taken(Box<Task>),
    /// Another changed the task first.
    TaskChanged,
    /// The agent is not on that connection any more, has no free slot, or its gate has moved.
    AgentUnavailable,
    /// Another changed the breaker first.
    BreakerChanged,
}

/// What lets a task pass to its agent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass<'a> {
    /// The connection that it is to be sent over.
    pub connection: &'a ConnectionId,
    /// The generation of the agent's gate that this was decided on.
    pub generation: u64,
    /// What this does to the agent's breaker, if anything.
    pub turn: Option<Turn<'a>>,
}

/// What is kept beside a task when it changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kept<'a> {
    /// What came of it.
    Completion(&'a Completion),
    /// What came too late to count.
    Late(&'a LateReport),
}

/// The newest output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The text, oldest first.
    pub text: String,
    /// Whether there is more before it.
    pub cut: bool,
}

/// As many waiting tasks of an agent are counted, if there are more.
pub const WAITING_COUNTED: usize = 100;

/// Tasks and all that hangs on them.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// A task.
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError>;
    /// A task, and the circuit breaker of the agent that speaks of it.
    async fn find_with_breaker(
        &self,
        id: TaskId,
        agent: &AgentId,
    ) -> Result<(Option<Task>, Breaker), StoreError>;
    /// What it runs.
    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError>;
    /// What came of it.
    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError>;
    /// Stores a new task, its specification and its place in the queue, once per `request`
    /// (Slack's id of what the operator did), if there is its agent. A repeated request costs a
    /// second call.
    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Creation, StoreError>;
    /// Claims a pending task: the task, the agent's slot and the breaker's permit in one
    /// transaction.
    async fn claim(&self, before: &Task, after: Task, pass: Pass<'_>) -> Result<Claim, StoreError>;
    /// Any other transition: the task, its place in the queue, the agent's slot, what is kept and
    /// what it says to the agent's breaker in one transaction.
    async fn transition(
        &self,
        before: &Task,
        after: &Task,
        kept: Option<Kept<'_>>,
        turn: Option<Turn<'_>>,
    ) -> Result<Written, StoreError>;
    /// What came too late, by attempt.
    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError>;
}

/// Lists of tasks: the queues of agents, and those of channels.
#[async_trait]
pub trait TaskLists: Send + Sync {
    /// The agent's queue that is due at `now`, in the order that it is to be worked off.
    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError>;
    /// How many wait for the agent, due or not, counted to [`WAITING_COUNTED`].
    async fn waiting(&self, agent: &AgentId) -> Result<usize, StoreError>;
    /// The channel's tasks, newest first. By an index that lags, and one that only names them: two
    /// calls.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError>;
    /// How many tasks of the channel come after `cursor`. By an index that lags. A call for each
    /// megabyte of them.
    async fn count_in_channel(&self, channel: &ChannelId, cursor: &str) -> Result<u64, StoreError>;
}

/// Tasks that somebody should look at by a time.
#[async_trait]
pub trait Deadlines: Send + Sync {
    /// Notes that Slack shows the task as it is, unless it has changed since.
    async fn mark_shown(&self, task: &Task) -> Result<(), StoreError>;
    /// Notes that the task was told of again, so that it is not before `at` that somebody should
    /// look at it anew; unless it has changed since.
    async fn look_again(&self, task: &Task, at: Timestamp) -> Result<(), StoreError>;
    /// Tasks that somebody should look at by now ([`Task::due_at`]), the longest due first. By an
    /// index that lags: some may be done already. A call for each shard and page.
    async fn due(&self, now: Timestamp, limit: usize)
    -> Result<Vec<(TaskId, AgentId)>, StoreError>;
}

/// What running tasks report: steps and output.
#[async_trait]
pub trait Reports: Send + Sync {
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
    /// When the attempt's newest report came, by our clock. Two calls, side by side.
    async fn last_report(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError>;
}
