//! The stack of a run, and the agents, channels and projects that it created there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_dynamodb::Client;
use bematic::agent::Agent;
use bematic::breaker::Breaker;
use bematic::ports::{Agents as _, Deadlines as _};
use bematic_admin::{Admin, Deployment};
use bematic_aws::store::{AgentStore, TaskStore};
use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::{Clock as _, SystemClock};

use crate::stack::{StackFile, add_agent};
use local_slack::Channel;

/// A time after the end of every timer of the run.
const LATER: Duration = Duration::from_hours(24 * 365);
/// Tasks of a shard that are read, at most.
const AT_ONCE: usize = 1000;

/// The stack, which nothing else uses, and the run's agents and channels.
pub(super) struct World {
    pub(super) stack: StackFile,
    admin: Admin,
    pub(super) client: Client,
    agents: AgentStore,
    tasks: TaskStore,
    pub(super) http: reqwest::Client,
    /// The agents' keys.
    pub(super) keys: BTreeMap<AgentId, String>,
    pub(super) channels: Vec<String>,
}

impl World {
    /// Creates so many agents, each with a channel and a project.
    pub(super) async fn make(stack: &StackFile, agents: usize) -> Result<Self> {
        let deployment = Deployment::local(stack.aws.clone()).await;
        let client = Client::new(&deployment.config);
        let tables = deployment.tables.clone();
        let mut world = Self {
            stack: stack.clone(),
            admin: Admin::new(deployment),
            agents: AgentStore::new(client.clone(), tables.agents.clone()),
            tasks: TaskStore::new(client.clone(), tables.tasks, tables.agents),
            client,
            http: reqwest::Client::builder().no_proxy().build()?,
            keys: BTreeMap::new(),
            channels: Vec::new(),
        };
        for number in 1..=agents {
            world
                .add(number)
                .await
                .with_context(|| format!("agent {number} cannot be made"))?;
        }
        Ok(world)
    }

    async fn add(&mut self, number: usize) -> Result<()> {
        let agent_id: AgentId = format!("chaos-{number:02}").parse()?;
        let channel_id = format!("CCHAOS{number:04}");
        let channel = Channel {
            id: channel_id.clone(),
            name: agent_id.to_string(),
            topic: String::new(),
            has_bot: true,
        };
        let stack = &self.stack;
        local_slack::Client::new(&stack.slack_url, &channel_id, &stack.admin_user_id)
            .add_channel(&channel)
            .await?;
        let path = "/srv/chaos".to_owned();
        let api_key = add_agent(&self.admin, &agent_id, &channel_id, "chaos", path).await?;
        self.keys.insert(agent_id, api_key);
        self.channels.push(channel_id);
        Ok(())
    }

    /// Returns the tasks that are not over yet, or not shown as they are: by the sweeper's index, which
    /// costs far less than to read all.
    pub(super) async fn open_tasks(&self) -> Result<BTreeSet<(TaskId, AgentId)>> {
        let open = self.tasks.due(SystemClock.now() + LATER, AT_ONCE).await?;
        Ok(open.into_iter().collect())
    }

    /// Returns the agents as they are stored.
    pub(super) async fn agents(&self) -> Result<Vec<Agent>> {
        Ok(self.agents.list().await?)
    }

    /// Returns the circuit breakers of the run's agents.
    pub(super) async fn breakers(&self) -> Result<BTreeMap<AgentId, Breaker>> {
        let mut breakers = BTreeMap::new();
        for id in self.keys.keys() {
            breakers.insert(id.clone(), self.admin.breaker(id).await?);
        }
        Ok(breakers)
    }
}
