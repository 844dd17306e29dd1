//! The system under test: a stack, and the agents, channels and projects that a run creates there. Its table is
//! read by a Scan, as nothing that runs on AWS does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use bematic::agent::Agent;
use bematic::breaker::Breaker;
use bematic::ports::{Agents as _, Breakers as _, Deadlines as _};
use bematic::task::{Completion, LateReport, Task};
use bematic_admin::{Admin, Deployment};
use bematic_aws::store::{AgentStore, TaskStore};
use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::{Clock as _, SystemClock};
use local_slack::{Channel, Content};
use serde::de::DeserializeOwned;

use crate::stack::{Stack, create_agent_with_project};

/// A time after the end of every timer of the run.
const BEYOND_ALL_TIMERS: Duration = Duration::from_hours(24 * 365);
/// Tasks of a shard that are read, at most.
const READ_LIMIT_PER_SHARD: usize = 1000;

/// The contents of the store and of Slack that a verdict needs.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) tasks: BTreeMap<TaskId, StoredTask>,
    pub(super) agents: Vec<Agent>,
    pub(super) breakers: BTreeMap<AgentId, Breaker>,
    /// The notification texts of the Slack messages about each task.
    pub(super) cards: BTreeMap<TaskId, Vec<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredTask {
    pub(super) task: Task,
    pub(super) completion: Option<Completion>,
    pub(super) late: Vec<LateReport>,
}

pub(super) struct SystemUnderTest<'a> {
    pub(super) stack: &'a Stack,
    client: Client,
    agents: AgentStore,
    tasks: TaskStore,
    pub(super) keys: BTreeMap<AgentId, String>,
    pub(super) channels: Vec<String>,
}

impl<'a> SystemUnderTest<'a> {
    /// Creates so many agents, each with a channel and a project.
    pub(super) async fn create(stack: &'a Stack, agents: usize) -> Result<Self> {
        let deployment = Deployment::local(stack.file.aws.clone()).await;
        let client = Client::new(&deployment.config);
        let tables = deployment.tables.clone();
        let admin = Admin::new(deployment);
        let (mut keys, mut channels) = (BTreeMap::new(), Vec::new());
        for number in 1..=agents {
            let agent_id: AgentId = format!("chaos-{number:02}").parse()?;
            let channel_id = format!("CCHAOS{number:04}");
            stack.slack.state().add_channel(Channel {
                id: channel_id.clone(),
                name: agent_id.to_string(),
                topic: String::new(),
                has_bot: true,
            });
            let path = "/srv/chaos".to_owned();
            let api_key = create_agent_with_project(&admin, &agent_id, &channel_id, "chaos", path)
                .await
                .with_context(|| format!("agent {number} cannot be made"))?;
            keys.insert(agent_id, api_key);
            channels.push(channel_id);
        }
        Ok(Self {
            stack,
            agents: AgentStore::new(client.clone(), tables.agents.clone()),
            tasks: TaskStore::new(client.clone(), tables.tasks, tables.agents),
            client,
            keys,
            channels,
        })
    }

    /// Returns the tasks that are not over yet, or not shown as they are, from the sweeper's index.
    pub(super) async fn unsettled_tasks(&self) -> Result<BTreeSet<(TaskId, AgentId)>> {
        let open = self
            .tasks
            .due(SystemClock.now() + BEYOND_ALL_TIMERS, READ_LIMIT_PER_SHARD)
            .await?;
        Ok(open.into_iter().collect())
    }

    /// Whether no agent's record has a slot that is taken.
    pub(super) async fn all_slots_are_free(&self) -> Result<bool> {
        let mut agents = self.agents.list().await?.into_iter();
        Ok(agents.all(|agent| agent.held.is_empty()))
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        let mut cards = BTreeMap::<_, Vec<_>>::new();
        for channel in &self.channels {
            for message in self.stack.slack.state().messages(channel) {
                if let Some(task) = task_of_slack_message(&message.content) {
                    cards.entry(task).or_default().push(message.content.text);
                }
            }
        }
        let ids: Vec<_> = self.keys.keys().cloned().collect();
        let breakers = self.agents.breakers(&ids).await?;
        Ok(Snapshot {
            tasks: self.stored_tasks().await?,
            agents: self.agents.list().await?,
            breakers: ids.into_iter().zip(breakers).collect(),
            cards,
        })
    }

    async fn stored_tasks(&self) -> Result<BTreeMap<TaskId, StoredTask>> {
        type Parts = (Option<Task>, Option<Completion>, Vec<LateReport>);
        let mut tasks = BTreeMap::<TaskId, Parts>::new();
        let mut items = self
            .client
            .scan()
            .table_name(&self.stack.file.aws.tables.tasks)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.next().await {
            let item = item.context("the tasks cannot be read")?;
            let key = |name| item.get(name)?.as_s().ok().cloned();
            let (pk, sk) = (key("pk").unwrap_or_default(), key("sk").unwrap_or_default());
            let Some(Ok(id)) = pk.strip_prefix("TASK#").map(str::parse) else {
                continue;
            };
            let (task, completion, late) = tasks.entry(id).or_default();
            match sk.as_str() {
                "TASK" => *task = Some(parse_item(item)?),
                "RESULT" => *completion = Some(parse_item(item)?),
                sk if sk.starts_with("LATE#") => late.push(parse_item(item)?),
                _ => {}
            }
        }
        let stored = tasks
            .into_iter()
            .filter_map(|(id, (task, completion, late))| {
                let stored = StoredTask {
                    task: task?,
                    completion,
                    late,
                };
                Some((id, stored))
            });
        Ok(stored.collect())
    }
}

fn parse_item<T: DeserializeOwned>(item: HashMap<String, AttributeValue>) -> Result<T> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item).context("an item is not what was written")
}

/// Returns the task that a message is about: the last block before the buttons begins with its id.
fn task_of_slack_message(message: &Content) -> Option<TaskId> {
    let blocks = message.blocks.as_ref()?.as_array()?;
    blocks.iter().rev().find_map(|block| {
        let text = block["elements"][0]["text"].as_str()?;
        text.strip_prefix('`')?.split('`').next()?.parse().ok()
    })
}
