//! The contents of the store and of Slack. The store is read whole, by a Scan: this is a tool for a local
//! stack, nothing that runs on AWS.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use bematic::agent::Agent;
use bematic::breaker::Breaker;
use bematic::task::{Completion, LateReport, Task};
use bematic_protocol::ids::{AgentId, TaskId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::world::World;
use crate::watch::history;

type Item = std::collections::HashMap<String, AttributeValue>;

/// Messages of a page of Slack's history.
const PAGE: &str = "999";

/// The contents of the store and of Slack that a verdict needs.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The tasks, as they are stored.
    pub tasks: BTreeMap<TaskId, Stored>,
    /// The agents, as they are stored.
    pub agents: Vec<Agent>,
    /// Their circuit breakers.
    pub breakers: BTreeMap<AgentId, Breaker>,
    /// The notification texts of the Slack messages about each task.
    pub cards: BTreeMap<TaskId, Vec<String>>,
}

/// A task as it is stored, with its result and late reports.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The task.
    pub task: Task,
    /// Its result.
    pub completion: Option<Completion>,
    /// The reports that came too late.
    pub late: Vec<LateReport>,
}

/// Reads everything.
pub(super) async fn take(world: &World) -> Result<Snapshot> {
    let mut cards = BTreeMap::<_, Vec<_>>::new();
    for channel in &world.channels {
        for message in messages(world, channel).await? {
            if let Some(task) = about(&message) {
                let text = message["text"].as_str().unwrap_or_default();
                cards.entry(task).or_default().push(text.to_owned());
            }
        }
    }
    Ok(Snapshot {
        tasks: tasks(world).await?,
        agents: world.agents().await?,
        breakers: world.breakers().await?,
        cards,
    })
}

/// The stored tasks of the run.
async fn tasks(world: &World) -> Result<BTreeMap<TaskId, Stored>> {
    let mut tasks = BTreeMap::<TaskId, Task>::new();
    let (mut results, mut lates) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    let scan = world.client.scan();
    let scan = scan.table_name(&world.stack.aws.tables.tasks);
    let mut items = scan.into_paginator().items().send();
    while let Some(item) = items.next().await {
        let item = item.context("the tasks cannot be read")?;
        let (pk, sk) = (word(&item, "pk"), word(&item, "sk"));
        let Some(Ok(id)) = pk.strip_prefix("TASK#").map(str::parse) else {
            continue;
        };
        match sk.as_str() {
            "TASK" => drop(tasks.insert(id, parse(item)?)),
            "RESULT" => drop(results.insert(id, parse(item)?)),
            sk if sk.starts_with("LATE#") => lates.entry(id).or_default().push(parse(item)?),
            _ => {}
        }
    }
    let stored = tasks.into_iter().map(|(id, task)| {
        let stored = Stored {
            task,
            completion: results.remove(&id),
            late: lates.remove(&id).unwrap_or_default(),
        };
        (id, stored)
    });
    Ok(stored.collect())
}

fn parse<T: DeserializeOwned>(item: Item) -> Result<T> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item).context("an item is not what was written")
}

fn word(item: &Item, name: &str) -> String {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.cloned().unwrap_or_default()
}

async fn messages(world: &World, channel: &str) -> Result<Vec<Value>> {
    let (mut messages, mut cursor) = (Vec::new(), String::new());
    loop {
        // An empty cursor is as good as none.
        let form = [("channel", channel), ("limit", PAGE), ("cursor", &cursor)];
        let mut answer = history(&world.http, &world.stack, &form).await?;
        if let Value::Array(page) = answer["messages"].take() {
            messages.extend(page);
        }
        let next = &answer["response_metadata"]["next_cursor"];
        match next.as_str().filter(|next| !next.is_empty()) {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(messages),
        }
    }
}

/// Returns the task that a message is about: the last block before the buttons begins with its id.
fn about(message: &Value) -> Option<TaskId> {
    let blocks = message["blocks"].as_array()?;
    let mut texts = blocks
        .iter()
        .rev()
        .filter_map(|block| block["elements"][0]["text"].as_str());
    texts.find_map(|text| text.strip_prefix('`')?.split('`').next()?.parse().ok())
}
