//! The operations of the administration: agents and keys, breakers, projects, dead letters.

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::Client;
use bematic::agent::{Agent, ApiKey, Project, Route};
use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent};
use bematic::dead_letter::{DeadLetters, QueueName};
use bematic::ports::{
    Agents as _, BreakerChange, Breakers as _, Created, DeadLetterQueues as _, Projects as _,
    Written,
};
use bematic_aws::config::QueueUrls;
use bematic_aws::queue::SqsDeadLetters;
use bematic_aws::store::{AgentStore, ProjectStore};
use bematic_protocol::ids::{AgentId, ChannelId};
use bematic_protocol::time::{Clock as _, SystemClock};
use garde::Validate as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Serialize;
use strum::IntoEnumIterator as _;

use crate::deployment::Deployment;

/// A new API key of an agent. Only its hash is stored, so that it cannot be shown again.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAgent {
    /// The agent's id.
    pub agent_id: AgentId,
    /// The key.
    pub api_key: String,
}

/// An agent in a list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSummary {
    /// The agent's id.
    pub agent_id: AgentId,
    /// Whether the agent is connected.
    pub connected: bool,
    /// The number of tasks that the agent runs at once.
    pub capacity: u32,
    /// The number of tasks that the agent runs now.
    pub active_tasks: usize,
    /// The version of the agent's software, once it has reported one.
    pub version: Option<String>,
    /// When the agent was created, in Unix milliseconds.
    pub created_at: u64,
}

impl From<Agent> for AgentSummary {
    fn from(agent: Agent) -> Self {
        Self {
            connected: agent.connection.is_some(),
            capacity: agent.capacity,
            active_tasks: agent.held.len(),
            version: agent.agent_version,
            created_at: agent.created_at.as_millis(),
            agent_id: agent.id,
        }
    }
}

/// The result of revoking an agent's keys.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedKeys {
    /// The agent's id.
    pub agent_id: AgentId,
    /// The number of keys that were revoked.
    pub keys: usize,
}

/// A project to be created.
#[derive(Debug, Clone)]
pub struct NewProject {
    /// The channel that the project is bound to.
    pub channel_id: ChannelId,
    /// The project's name.
    pub name: String,
    /// The agents that run the project's tasks.
    pub route: Route,
    /// The folder on the agent's machine.
    pub local_path: String,
    /// The model to use.
    pub model: String,
    /// The budget of a task, in US dollars.
    pub max_budget: f64,
    /// The name of the bot.
    pub bot_name: String,
    /// The system prompt of every task.
    pub system_prompt: String,
    /// The tools that may be used; empty for the agent's own choice.
    pub allowed_tools: Vec<String>,
    /// The lease: seconds that an agent may be silent about a task. `None` for the deployment's.
    pub lease_secs: Option<u64>,
}

impl NewProject {
    fn checked(self) -> Result<Project> {
        let project = Project {
            channel_id: self.channel_id,
            project_id: self.name,
            route: self.route,
            local_path: self.local_path,
            model: self.model,
            max_budget: self.max_budget,
            bot_name: self.bot_name,
            system_prompt: self.system_prompt,
            allowed_tools: self.allowed_tools,
            lease_secs: self.lease_secs,
            created_at: SystemClock.now(),
        };
        project.validate().context("the project is not valid")?;
        Ok(project)
    }
}

/// The administration of one deployment.
#[derive(Debug, Clone)]
pub struct Admin {
    agents: AgentStore,
    projects: ProjectStore,
    deployment: Deployment,
}

impl Admin {
    /// Creates the administration of a deployment.
    pub fn new(deployment: Deployment) -> Self {
        let client = Client::new(&deployment.config);
        let table = &deployment.tables.agents;
        Self {
            agents: AgentStore::new(client.clone(), table.clone()),
            projects: ProjectStore::new(client, table.clone()),
            deployment,
        }
    }

    /// Creates an agent with a key. An agent that exists gets another key only with `add_key`.
    pub async fn create_agent(&self, id: AgentId, add_key: bool) -> Result<NewAgent> {
        if Route::reserves(&id) {
            bail!(
                "an agent cannot be called {id}, which stands for all agents in a project; choose \
                 another name"
            );
        }
        let now = SystemClock.now();
        let created = self.agents.create(&Agent::new(id.clone(), now)).await?;
        if matches!(created, Created::Existing(())) && !add_key {
            bail!("the agent {id} exists; --add-key gives it another key");
        }
        let key = new_key()?;
        self.agents.add_key(&id, &key.hash(), now).await?;
        Ok(NewAgent {
            agent_id: id,
            api_key: key.expose().to_owned(),
        })
    }

    /// Lists all agents.
    pub async fn list_agents(&self) -> Result<Vec<AgentSummary>> {
        let agents = self.agents.list().await?;
        Ok(agents.into_iter().map(AgentSummary::from).collect())
    }

    /// Revokes all keys of an agent: none of them opens a connection any more.
    pub async fn revoke_agent(&self, id: AgentId) -> Result<RevokedKeys> {
        self.must_exist(&id).await?;
        let keys = self.agents.revoke_keys(&id).await?;
        Ok(RevokedKeys { agent_id: id, keys })
    }

    /// Returns the agent's circuit breaker.
    pub async fn breaker(&self, id: &AgentId) -> Result<Breaker> {
        self.must_exist(id).await?;
        Ok(self.agents.breaker(id).await?)
    }

    /// Gives the agent's breaker settings of its own: the present ones, or else the template's
    /// defaults, changed by `change`; `None` removes them. Returns the resulting settings.
    pub async fn configure_breaker(
        &self,
        id: &AgentId,
        change: Option<impl Fn(BreakerConfig) -> BreakerConfig>,
    ) -> Result<Option<BreakerConfig>> {
        self.must_exist(id).await?;
        loop {
            let before = self.agents.breaker(id).await?;
            let config = change
                .as_ref()
                .map(|change| change(before.config.unwrap_or_else(BreakerConfig::deployed)));
            if let Some(config) = &config {
                config.validate().context("the settings are not valid")?;
            }
            let event = BreakerEvent::Configure(config);
            let after = before.after(event, &BreakerConfig::deployed(), SystemClock.now());
            let change = BreakerChange {
                before: &before,
                after: &after.next,
            };
            if self.agents.change(id, change).await? == Written::Done {
                return Ok(config);
            }
        }
    }

    /// Creates the project of a channel. A present project is replaced only with `replace`.
    pub async fn create_project(&self, project: NewProject, replace: bool) -> Result<Project> {
        let project = project.checked()?;
        let channel = &project.channel_id;
        for agent in project.route.named() {
            if self.agents.find(agent).await?.is_none() {
                bail!(
                    "there is no agent {agent}; create it first, with `bematic agent create {agent}`"
                );
            }
        }
        if !replace && let Some(bound) = self.projects.find(channel).await? {
            let name = bound.project_id;
            bail!("the channel {channel} has the project {name}; --replace replaces it");
        }
        self.projects.put(&project).await?;
        Ok(project)
    }

    /// Lists all projects.
    pub async fn list_projects(&self) -> Result<Vec<Project>> {
        Ok(self.projects.list().await?)
    }

    /// Deletes a channel's project, and returns it.
    pub async fn delete_project(&self, channel: &ChannelId) -> Result<Project> {
        self.projects.delete(channel).await?.with_context(|| {
            format!("the channel {channel} has no project; `bematic project list` shows all")
        })
    }

    /// Lists up to ten dead letters of each of these queues, and counts all of them.
    pub async fn dead_letters(&self, queues: &[QueueName]) -> Result<Vec<DeadLetters>> {
        let mut found = Vec::new();
        let dead_letters = self.dead_letter_queues()?;
        for queue in queues {
            found.push(dead_letters.list(*queue).await?);
        }
        Ok(found)
    }

    /// Moves the dead letters of these queues back to the queues, and returns how many.
    pub async fn redrive(&self, queues: &[QueueName]) -> Result<usize> {
        let mut redriven = 0;
        let dead_letters = self.dead_letter_queues()?;
        for queue in queues {
            redriven += dead_letters.redrive(*queue, usize::MAX).await?;
        }
        Ok(redriven)
    }

    async fn must_exist(&self, id: &AgentId) -> Result<()> {
        if self.agents.find(id).await?.is_none() {
            bail!("there is no agent {id}; `bematic agent list` shows all agents");
        }
        Ok(())
    }

    fn dead_letter_queues(&self) -> Result<SqsDeadLetters> {
        let address = |name: &str| {
            let known = self.deployment.queues.get(name).cloned();
            known.with_context(|| format!("the deployed stack has no queue {name}"))
        };
        let pairs = QueueName::iter().map(|queue| {
            let name: &str = queue.into();
            let dead = format!("{name}-dead-letters");
            let urls = QueueUrls {
                source: address(name)?,
                dead_letters: address(&dead)?,
            };
            Ok((queue, urls))
        });
        let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
        let client = aws_sdk_sqs::Client::new(&self.deployment.config);
        Ok(SqsDeadLetters::new(&client, pairs))
    }
}

fn new_key() -> Result<ApiKey> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .context("the system has no random numbers")?;
    Ok(ApiKey::from_random(bytes))
}
