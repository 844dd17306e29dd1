//! Direct access to the tables.

use std::sync::Arc;

use bematic::{
    agent::{Agent, InBandConnection},
    batch::Batch,
    breaker::Breaker,
    ports::Ports,
    task::{LateReport, Task},
};
use bematic_aws::store::KeyStore;
use bematic_protocol::{
    ids::{AgentId, Attempt, ConnectionId, TaskId},
    time::Timestamp,
};
use fake_aws::{FakeAws, Item};
use serde::de::DeserializeOwned;

use super::at_once;

pub(super) const TASKS: &str = "TasksTable";
pub(super) const AGENTS: &str = "AgentsTable";
pub(super) const KEYS: &str = "KeysTable";

/// The tables.
pub(crate) struct Store {
    pub(super) aws: FakeAws,
    /// The keys, as the administration command uses them.
    pub(crate) keys: KeyStore,
    /// The production stores, whose calls are not counted.
    pub(super) ports: Arc<Ports>,
}

impl Store {
    pub(crate) fn task(&self, id: TaskId) -> Option<Task> {
        let item = self
            .aws
            .tables()
            .item(TASKS, &[&format!("TASK#{id}"), "TASK"]);
        item.map(read)
    }

    /// Returns all tasks, sorted by id.
    pub(crate) fn all_tasks(&self) -> Vec<Task> {
        let items = self.aws.tables().items(TASKS).into_iter();
        let tasks = items.filter(|item| sort_key(item) == "TASK").map(read);
        let mut tasks: Vec<Task> = tasks.collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }

    /// Sets the time at which the task's state ends by itself.
    pub(crate) fn set_timer(&self, id: TaskId, at: Timestamp) {
        let key = [&*format!("TASK#{id}"), "TASK"];
        let mut item = self.aws.tables().item(TASKS, &key).unwrap();
        let timer = Some(at);
        let task = Task {
            timer,
            ..self.task(id).unwrap()
        };
        let changed: Item = serde_dynamo::to_item(task).unwrap();
        item.extend(changed);
        self.aws.tables().put(TASKS, &item);
    }

    /// Returns the late reports of a task.
    pub(crate) fn late(&self, id: TaskId) -> Vec<LateReport> {
        at_once(self.ports.tasks.late_reports(id)).unwrap()
    }

    /// Returns all bulk operations.
    pub(crate) fn all_batches(&self) -> Vec<Batch> {
        let items = self.aws.tables().items(TASKS).into_iter();
        items
            .filter(|item| sort_key(item) == "BATCH")
            .map(read)
            .collect()
    }

    /// Returns the attempt's whole output.
    pub(crate) fn whole_output(&self, id: TaskId, attempt: Attempt) -> String {
        let output = self.ports.reports.output(id, attempt, usize::MAX);
        at_once(output).unwrap().text
    }

    /// Returns all items of the agents table, as JSON.
    pub(crate) fn agents_items(&self) -> Vec<serde_json::Value> {
        let items = self.aws.tables().items(AGENTS).into_iter();
        items.map(read).collect()
    }

    /// Returns the number of stored steps.
    pub(crate) fn step_count(&self) -> usize {
        let items = self.aws.tables().items(TASKS);
        let steps = items
            .iter()
            .filter(|item| sort_key(item).starts_with("STEP#"));
        steps.count()
    }

    pub(crate) fn agent(&self, id: &AgentId) -> Option<Agent> {
        let item = self
            .aws
            .tables()
            .item(AGENTS, &[&format!("AGENT#{id}"), "AGENT"]);
        item.map(read)
    }

    pub(crate) fn breaker_of(&self, agent: &AgentId) -> Breaker {
        at_once(self.ports.breakers.breaker(agent)).unwrap()
    }

    /// Returns the record of a connection that authenticates in band.
    pub(crate) fn connection_of(&self, id: &ConnectionId) -> Option<InBandConnection> {
        let item = self
            .aws
            .tables()
            .item(AGENTS, &[&format!("CONN#{id}"), "CONN"]);
        item.map(read)
    }

    /// Freezes what eventually consistent reads return.
    pub(crate) fn lag(&self) {
        self.aws.tables().freeze_eventual_reads();
    }

    /// Ends the lag of eventually consistent reads.
    pub(crate) fn catch_up(&self) {
        self.aws.tables().thaw_reads();
    }
}

fn read<T: DeserializeOwned>(item: Item) -> T {
    serde_dynamo::from_item(item).unwrap()
}

fn sort_key(item: &Item) -> &str {
    item["sk"].as_s().unwrap()
}
