//! The store in memory: what DynamoDB does, without DynamoDB.

mod agents;
mod breakers;
mod bulk;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, Attempt, BatchId, ChannelId, ConnectionId, Subject, TaskId},
    time::Timestamp,
};

use super::Calls;
use crate::{
    agent::{Agent, Connection, Project},
    batch::Batch,
    breaker::{Breaker, Logged, Said, report_finish},
    error::StoreError,
    ports::{
        Blind, Card, Claim, Creation, Kept, Output, Page, Pass, Projects, Tasks, Turn,
        WAITING_COUNTED, Written,
    },
    task::{
        Begin, Chunk, ChunkOrder, Completion, Finish, LateReport, Step, Task, TaskSpec, TaskState,
    },
};

/// Both tables.
#[derive(Default)]
pub(crate) struct Memory {
    calls: Arc<Calls>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    tasks: BTreeMap<TaskId, Task>,
    /// When to look at a task of this version that was told of again.
    again: BTreeMap<TaskId, (u64, Timestamp)>,
    /// What the indexes show, while they lag.
    indexed: Option<BTreeMap<TaskId, Task>>,
    specs: BTreeMap<TaskId, TaskSpec>,
    completions: BTreeMap<TaskId, Completion>,
    late: BTreeMap<(TaskId, Attempt), LateReport>,
    reported: BTreeMap<(TaskId, Attempt), Timestamp>,
    cards: BTreeMap<Subject, Card>,
    batches: BTreeMap<BatchId, Batch>,
    batches_again: BTreeMap<BatchId, Timestamp>,
    batch_requests: BTreeMap<String, BatchId>,
    requests: BTreeMap<String, TaskId>,
    steps: BTreeMap<(TaskId, Attempt, Timestamp, String), Step>,
    chunks: BTreeMap<(TaskId, Attempt, ChunkOrder, Option<String>), String>,
    agents: BTreeMap<AgentId, Agent>,
    status_at: BTreeMap<AgentId, Timestamp>,
    breakers: BTreeMap<AgentId, Breaker>,
    logged: BTreeMap<AgentId, Vec<Logged>>,
    keys: BTreeSet<(AgentId, String)>,
    connections: BTreeMap<ConnectionId, Connection>,
    projects: BTreeMap<ChannelId, Project>,
}

impl Memory {
    pub(crate) fn new(calls: Arc<Calls>) -> Self {
        Self {
            calls,
            tables: Mutex::default(),
        }
    }

    async fn call(&self, name: &'static str) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.calls.call::<StoreError>(name).await?;
        Ok(self.tables.lock().unwrap())
    }

    /// The task as it is, without a call being counted.
    pub(crate) fn task(&self, id: TaskId) -> Option<Task> {
        self.tables.lock().unwrap().tasks.get(&id).cloned()
    }

    /// Sets when the task's state ends by itself.
    pub(crate) fn set_timer(&self, id: TaskId, at: Timestamp) {
        let mut tables = self.tables.lock().unwrap();
        tables.tasks.get_mut(&id).unwrap().timer = Some(at);
    }

    /// What came too late of a task.
    pub(crate) fn late(&self, id: TaskId) -> Vec<LateReport> {
        let tables = self.tables.lock().unwrap();
        let of_task = tables.late.iter().filter(|(key, _)| key.0 == id);
        of_task.map(|(_, report)| report.clone()).collect()
    }

    /// From now on, the index of channels shows what there is now.
    pub(crate) fn lag(&self) {
        let mut tables = self.tables.lock().unwrap();
        tables.indexed = Some(tables.tasks.clone());
    }

    /// All tasks as they are.
    pub(crate) fn all_tasks(&self) -> Vec<Task> {
        self.tables
            .lock()
            .unwrap()
            .tasks
            .values()
            .cloned()
            .collect()
    }

    /// The agent as it is.
    pub(crate) fn agent(&self, id: &AgentId) -> Option<Agent> {
        self.tables.lock().unwrap().agents.get(id).cloned()
    }

    /// The connection as it is.
    pub(crate) fn connection_of(&self, id: &ConnectionId) -> Option<Connection> {
        self.tables.lock().unwrap().connections.get(id).cloned()
    }

    /// The attempt's whole output.
    pub(crate) fn whole_output(&self, id: TaskId, attempt: Attempt) -> String {
        let tables = self.tables.lock().unwrap();
        let of_attempt =
            |key: &&(TaskId, Attempt, ChunkOrder, Option<String>)| key.0 == id && key.1 == attempt;
        tables
            .chunks
            .iter()
            .filter(|(key, _)| of_attempt(key))
            .map(|(_, text)| &**text)
            .collect()
    }

    /// How many steps are kept.
    pub(crate) fn step_count(&self) -> usize {
        self.tables.lock().unwrap().steps.len()
    }
}

impl Tables {
    /// What the channel's list shows.
    fn listed(&self, channel: &ChannelId) -> impl Iterator<Item = &Task> {
        let indexed = self.indexed.as_ref().unwrap_or(&self.tasks).values();
        indexed.filter(|task| task.origin.channel_id == *channel && !task.archived)
    }

    fn agent_mut(&mut self, task: &Task) -> Option<&mut Agent> {
        self.agents.get_mut(&task.agent_id)
    }

    /// The task, and its agent's slot.
    fn write(&mut self, before: &Task, after: &Task) {
        if let (Some(slot), None) = (before.slot(), after.slot())
            && let Some(agent) = self.agent_mut(before)
        {
            agent.held.remove(&slot.to_string());
        }
        if let (None, Some(slot), TaskState::Processing { .. }) =
            (before.slot(), after.slot(), &after.state)
            && let Some(agent) = self.agent_mut(before)
        {
            agent.held.insert(slot.to_string());
        }
        self.tasks.insert(after.id, after.clone());
    }

    fn is_same(&self, before: &Task) -> bool {
        self.tasks
            .get(&before.id)
            .is_some_and(|task| task.version == before.version)
    }
}

#[async_trait]
impl Tasks for Memory {
    async fn find(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        Ok(self.call("get task").await?.tasks.get(&id).cloned())
    }

    async fn spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StoreError> {
        Ok(self.call("get spec").await?.specs.get(&id).cloned())
    }

    async fn completion(&self, id: TaskId) -> Result<Option<Completion>, StoreError> {
        Ok(self
            .call("get completion")
            .await?
            .completions
            .get(&id)
            .cloned())
    }

    async fn create(
        &self,
        task: &Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Creation, StoreError> {
        let mut tables = self.call("transact create").await?;
        if let Some(first) = tables.requests.get(request) {
            return Ok(Creation::Repeated(*first));
        }
        if !tables.agents.contains_key(&task.agent_id) {
            return Ok(Creation::NoAgent);
        }
        tables.requests.insert(request.to_owned(), task.id);
        tables.specs.insert(task.id, spec.clone());
        tables.tasks.insert(task.id, task.clone());
        Ok(Creation::Done)
    }

    async fn claim(&self, before: &Task, after: Task, pass: Pass<'_>) -> Result<Claim, StoreError> {
        let mut tables = self.call("transact claim").await?;
        if !tables.is_same(before) {
            return Ok(Claim::TaskChanged);
        }
        let slot = after.slot().unwrap().to_string();
        let may_turn = |turn| tables.may_turn(&before.agent_id, turn);
        let may_turn = pass.turn.is_none_or(may_turn);
        let Some(agent) = tables.agent_mut(before) else {
            return Ok(Claim::AgentUnavailable);
        };
        let current = agent
            .connection
            .as_ref()
            .is_some_and(|bound| bound.id == *pass.connection);
        if !current || agent.free_slots() == 0 || agent.gate.generation != pass.generation {
            return Ok(Claim::AgentUnavailable);
        }
        if !may_turn {
            return Ok(Claim::BreakerChanged);
        }
        agent.held.insert(slot);
        if let Some(turn) = pass.turn {
            tables.turn(&before.agent_id, turn);
        }
        tables.tasks.insert(after.id, after.clone());
        Ok(Claim::Taken(Box::new(after)))
    }

    async fn transition(
        &self,
        before: &Task,
        after: &Task,
        kept: Option<Kept<'_>>,
        turn: Option<Turn<'_>>,
    ) -> Result<Written, StoreError> {
        let mut tables = self.call("write task").await?;
        let may_turn = |turn| tables.may_turn(&before.agent_id, turn);
        if !tables.is_same(before) || !turn.is_none_or(may_turn) {
            return Ok(Written::Conflict);
        }
        match kept {
            None => {}
            Some(Kept::Completion(completion)) => {
                tables.completions.insert(after.id, completion.clone());
            }
            Some(Kept::Late(report)) => {
                let key = (after.id, report.attempt);
                if tables.late.contains_key(&key) {
                    return Ok(Written::Conflict);
                }
                tables.late.insert(key, report.clone());
            }
        }
        if let Some(turn) = turn {
            tables.turn(&before.agent_id, turn);
        }
        tables.write(before, after);
        Ok(Written::Done)
    }

    async fn begin(&self, begin: &Begin<'_>) -> Result<Blind<Box<Task>>, StoreError> {
        let mut tables = self.call("begin task").await?;
        let Some(task) = tables.tasks.get(&begin.task_id).cloned() else {
            return Ok(Blind::Unusual(None));
        };
        let Some(next) = task.begun(begin) else {
            return Ok(Blind::Unusual(Some(Box::new(task))));
        };
        tables.write(&task, &next);
        Ok(Blind::Done(Box::new(next)))
    }

    async fn finish(
        &self,
        finish: &Finish<'_>,
        turn: Option<Turn<'_>>,
    ) -> Result<Blind<()>, StoreError> {
        let mut tables = self.call("transact finish").await?;
        let Some(task) = tables.tasks.get(&finish.task_id).cloned() else {
            return Ok(Blind::Unusual(None));
        };
        let Some(next) = task.finished(finish) else {
            return Ok(Blind::Unusual(Some(Box::new(task))));
        };
        let blindly = |agent: &Agent| agent.gate.counts_blindly();
        let agent = tables.agents.get(&task.agent_id);
        match report_finish(finish) {
            Said::Beside(_) if !agent.is_some_and(blindly) => return Ok(Blind::Unusual(None)),
            Said::Beside(ignored) => tables.log(finish, ignored),
            Said::Event(_) => {
                if !turn.is_none_or(|turn| tables.may_turn(&task.agent_id, turn)) {
                    return Ok(Blind::Unusual(None));
                }
                if let Some(turn) = turn {
                    tables.turn(&task.agent_id, turn);
                }
            }
        }
        if let Some(completion) = finish.ending.completion() {
            tables.completions.insert(next.id, completion.clone());
        }
        tables.write(&task, &next);
        Ok(Blind::Done(()))
    }

    async fn runs(
        &self,
        task: TaskId,
        attempt: Attempt,
        agent: &AgentId,
    ) -> Result<bool, StoreError> {
        let tables = self.call("get task lagging").await?;
        let task = tables.tasks.get(&task);
        Ok(task.is_some_and(|task| task.runs(attempt, agent)))
    }

    async fn mark_shown(&self, task: &Task) -> Result<(), StoreError> {
        let mut tables = self.call("update task").await?;
        if let Some(stored) = tables.tasks.get_mut(&task.id)
            && stored.version == task.version
        {
            stored.shown = task.version;
        }
        tables.again.remove(&task.id);
        Ok(())
    }

    async fn look_again(&self, task: &Task, at: Timestamp) -> Result<(), StoreError> {
        let mut tables = self.call("update task").await?;
        tables.again.insert(task.id, (task.version, at));
        Ok(())
    }

    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, AgentId)>, StoreError> {
        let tables = self.call("query due").await?;
        let due_at = |task: &Task| match tables.again.get(&task.id) {
            Some((version, at)) if *version == task.version => task.due_at().map(|_| *at),
            _ => task.due_at(),
        };
        let due = |task: &&Task| due_at(task).is_some_and(|at| at <= now);
        let due = tables.tasks.values().filter(due).take(limit);
        Ok(due.map(|task| (task.id, task.agent_id.clone())).collect())
    }

    async fn last_report(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError> {
        let tables = self.call("query reports").await?;
        Ok(tables.reported.get(&(task, attempt)).copied())
    }

    async fn late_reports(&self, task: TaskId) -> Result<Vec<LateReport>, StoreError> {
        let tables = self.call("query late").await?;
        let of_task = tables.late.iter().filter(|(key, _)| key.0 == task);
        Ok(of_task.map(|(_, report)| report.clone()).collect())
    }

    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError> {
        let tables = self.call("query queue").await?;
        let due = |task: &&Task| match task.state {
            TaskState::Pending { not_before, .. } => not_before.is_none_or(|due| due <= now),
            _ => false,
        };
        let mut queued: Vec<_> = tables
            .tasks
            .values()
            .filter(|task| task.agent_id == *agent)
            .filter(due)
            .collect();
        queued.sort_by_key(|task| (task.priority, task.queued_at, task.id));
        Ok(queued.into_iter().take(limit).cloned().collect())
    }

    async fn waiting(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let tables = self.call("count queue").await?;
        let waits = |task: &&Task| {
            task.agent_id == *agent && matches!(task.state, TaskState::Pending { .. })
        };
        Ok(tables
            .tasks
            .values()
            .filter(waits)
            .take(WAITING_COUNTED)
            .count())
    }

    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError> {
        let page = {
            let tables = self.call("query channel").await?;
            let mut items: Vec<_> = tables.listed(channel).cloned().collect();
            items.sort_by_key(Task::place);
            items.reverse();
            items.retain(|task| cursor.is_none_or(|cursor| *task.place() < *cursor));
            let more = items.len() > limit;
            items.truncate(limit);
            let next = items.last().filter(|_| more).map(Task::place);
            Page { items, next }
        };
        if !page.items.is_empty() {
            drop(self.call("get tasks").await?);
        }
        Ok(page)
    }

    async fn count_in_channel(&self, channel: &ChannelId, cursor: &str) -> Result<u64, StoreError> {
        let tables = self.call("query channel").await?;
        let after = tables
            .listed(channel)
            .filter(|task| *task.place() < *cursor);
        Ok(u64::try_from(after.count()).unwrap())
    }

    async fn add_step(
        &self,
        task: TaskId,
        attempt: Attempt,
        step: &Step,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = (task, attempt, step.at, step.message_id.to_string());
        let mut tables = self.call("put step").await?;
        tables.steps.insert(key, step.clone());
        tables.reported.insert((task, attempt), now);
        Ok(())
    }

    async fn steps(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> Result<Vec<Step>, StoreError> {
        let tables = self.call("query steps").await?;
        let of_attempt = tables
            .steps
            .iter()
            .filter(|(key, _)| key.0 == task && key.1 == attempt);
        Ok(of_attempt
            .rev()
            .take(limit)
            .map(|(_, step)| step.clone())
            .collect())
    }

    async fn add_chunk(&self, chunk: &Chunk, now: Timestamp) -> Result<(), StoreError> {
        let by_time = matches!(chunk.order, ChunkOrder::Time(_));
        let id = by_time.then(|| chunk.message_id.to_string());
        let key = (chunk.task_id, chunk.attempt, chunk.order, id);
        let mut tables = self.call("put chunk").await?;
        tables.chunks.insert(key, chunk.text.clone());
        tables.reported.insert((chunk.task_id, chunk.attempt), now);
        Ok(())
    }

    async fn output(&self, task: TaskId, attempt: Attempt, _: usize) -> Result<Output, StoreError> {
        drop(self.call("query chunks").await?);
        Ok(Output {
            text: self.whole_output(task, attempt),
            cut: false,
        })
    }
}

#[async_trait]
impl Projects for Memory {
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError> {
        Ok(self
            .call("get project")
            .await?
            .projects
            .get(channel)
            .cloned())
    }

    async fn list(&self) -> Result<Vec<Project>, StoreError> {
        Ok(self
            .call("query projects")
            .await?
            .projects
            .values()
            .cloned()
            .collect())
    }

    async fn put(&self, project: &Project) -> Result<(), StoreError> {
        let project = project.clone();
        self.call("put project")
            .await?
            .projects
            .insert(project.channel_id.clone(), project);
        Ok(())
    }
}
