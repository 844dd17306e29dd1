//! The operations of the administration: agents, breakers, projects, dead letters. Those on keys
//! are in [`crate::keys`].

use anyhow::{Context, Result};
use aws_sdk_dynamodb::Client;
use bematic::agent::{Agent, KeyId, Project, Route};
use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent};
use bematic::dead_letter::QueueName;
use bematic::ports::{Agents as _, BreakerChange, Breakers as _, Created, Projects as _, Written};
use bematic_aws::config::QueueUrlPair;
use bematic_aws::queue::SqsDeadLetters;
use bematic_aws::store::{AgentStore, KeyStore, ProjectStore};
use bematic_protocol::ids::{AgentId, ChannelId};
use bematic_protocol::time::{Clock as _, SystemClock};
use clap::Args;
use garde::Validate as _;
use serde::Serialize;
use strum::IntoEnumIterator as _;

use crate::deployment::Deployment;
use crate::refusal::Refusal;

/// A project to be created.
#[derive(Debug, Clone, Args)]
pub struct NewProject {
    /// The Slack channel, by its id.
    #[arg(long = "channel", value_name = "CHANNEL")]
    pub channel_id: ChannelId,
    /// The project's name.
    #[arg(long)]
    pub name: String,
    /// The agent that runs the project's tasks; or several, separated by commas, the preferred
    /// first; or `any`. The least busy of those that are connected and healthy gets a task.
    #[arg(long = "agent", value_name = "AGENT[,AGENT…]|any")]
    pub route: Route,
    /// The working directory on the agent's machine, in one of the agent's `--workdir` folders.
    #[arg(long)]
    pub local_path: String,
    /// The model that the agent uses.
    #[arg(long, default_value = "default")]
    pub model: String,
    /// The budget of a task, in US dollars.
    #[arg(long, default_value_t = 5.0)]
    pub max_budget: f64,
    /// The bot's name.
    #[arg(long, default_value = "Bematic")]
    pub bot_name: String,
    /// The system prompt of every task.
    #[arg(long, default_value = "")]
    pub system_prompt: String,
    /// A tool that a task may use; repeatable. Without it, the agent decides.
    #[arg(long = "allowed-tool")]
    pub allowed_tools: Vec<String>,
    /// Seconds that the agent may be silent about a task before the task fails [default: the
    /// deployment's TaskLeaseSeconds].
    #[arg(long = "lease-seconds", value_name = "LEASE_SECONDS")]
    pub lease_secs: Option<u64>,
    /// Also accept commands of guests, bots and deactivated accounts, and of people of other
    /// workspaces in a channel that is shared with these.
    #[arg(long)]
    pub external_users: bool,
}

/// What is to be changed in a project; everything else stays.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ProjectChanges {
    /// The project's name.
    #[arg(long)]
    name: Option<String>,
    /// The agents, as for `create`.
    #[arg(long = "agent", value_name = "AGENT[,AGENT…]|any")]
    pub(crate) route: Option<Route>,
    /// The working directory on the agent's machine.
    #[arg(long)]
    local_path: Option<String>,
    /// The model that the agent uses.
    #[arg(long)]
    model: Option<String>,
    /// The budget of a task, in US dollars.
    #[arg(long)]
    max_budget: Option<f64>,
    /// The system prompt of every task.
    #[arg(long)]
    system_prompt: Option<String>,
    /// The tools that a task may use, instead of the present ones; repeatable.
    #[arg(long = "allowed-tool")]
    allowed_tools: Option<Vec<String>>,
    /// Seconds that the agent may be silent about a task before the task fails.
    #[arg(long = "lease-seconds", value_name = "LEASE_SECONDS")]
    lease_secs: Option<u64>,
    /// Whether guests, bots, deactivated accounts and people of other workspaces may give commands.
    #[arg(long, value_name = "true|false")]
    pub(crate) external_users: Option<bool>,
}

impl ProjectChanges {
    /// Returns the project with the changes.
    fn apply_to(self, project: Project) -> Project {
        Project {
            project_id: self.name.unwrap_or(project.project_id),
            route: self.route.unwrap_or(project.route),
            local_path: self.local_path.unwrap_or(project.local_path),
            model: self.model.unwrap_or(project.model),
            max_budget: self.max_budget.unwrap_or(project.max_budget),
            system_prompt: self.system_prompt.unwrap_or(project.system_prompt),
            allowed_tools: self.allowed_tools.unwrap_or(project.allowed_tools),
            lease_secs: self.lease_secs.or(project.lease_secs),
            external_users: self.external_users.unwrap_or(project.external_users),
            ..project
        }
    }
}

/// A new API key of an agent. Only its hash is stored, so that it cannot be shown again.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedKey {
    /// The agent's id.
    pub agent_id: AgentId,
    /// The key.
    pub api_key: String,
    /// The key's id, which is no secret.
    pub key_id: KeyId,
}

/// The administration of one deployment.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) agents: AgentStore,
    pub(crate) keys: KeyStore,
    pub(crate) projects: ProjectStore,
    pub(crate) deployment: Deployment,
}

impl Admin {
    /// Creates the administration of a deployment.
    pub fn new(deployment: Deployment) -> Self {
        let client = Client::new(&deployment.config);
        let table = &deployment.tables.agents;
        let keys = Some(deployment.tables.keys.clone());
        Self {
            keys: KeyStore::new(client.clone(), keys, table.clone()),
            agents: AgentStore::new(client.clone(), table.clone()),
            projects: ProjectStore::new(client, table.clone()),
            deployment,
        }
    }

    /// Creates an agent with a key. An agent that exists gets another key only with `add_key`.
    pub async fn create_agent(&self, id: AgentId, add_key: bool) -> Result<IssuedKey> {
        if Route::is_reserved_name(&id) {
            return Err(Refusal::ReservedName(id).into());
        }
        let now = SystemClock.now();
        let created = self.agents.create(&Agent::new(id.clone(), now)).await?;
        if matches!(created, Created::Existing(())) && !add_key {
            return Err(Refusal::AgentExists(id).into());
        }
        self.issue_key(id, now).await
    }

    /// Lists all agents.
    pub async fn list_agents(&self) -> Result<Vec<Agent>> {
        Ok(self.agents.list().await?)
    }

    /// Returns the agent's circuit breaker.
    pub async fn breaker(&self, id: &AgentId) -> Result<Breaker> {
        self.require_agent_exists(id).await?;
        Ok(self.agents.breaker(id).await?)
    }

    /// Gives the agent's breaker the settings that `change` makes of its own, or else of the
    /// template's defaults; `None` removes its own. Returns the resulting settings.
    pub async fn configure_breaker(
        &self,
        id: &AgentId,
        change: impl Fn(BreakerConfig) -> Option<BreakerConfig>,
    ) -> Result<Option<BreakerConfig>> {
        self.require_agent_exists(id).await?;
        let defaults = BreakerConfig::template_defaults();
        loop {
            let before = self.agents.breaker(id).await?;
            let config = change(before.config.unwrap_or(defaults));
            if let Some(config) = &config {
                config.validate().map_err(Refusal::InvalidSettings)?;
            }
            let event = BreakerEvent::Configure(config);
            let after = before.after(event, &defaults, SystemClock.now());
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
    pub async fn create_project(&self, new: NewProject, replace: bool) -> Result<Project> {
        let project = Project {
            channel_id: new.channel_id,
            project_id: new.name,
            route: new.route,
            local_path: new.local_path,
            model: new.model,
            max_budget: new.max_budget,
            bot_name: new.bot_name,
            system_prompt: new.system_prompt,
            allowed_tools: new.allowed_tools,
            lease_secs: new.lease_secs,
            external_users: new.external_users,
            created_at: SystemClock.now(),
        };
        let channel = &project.channel_id;
        if !replace && let Some(bound) = self.projects.find(channel).await? {
            let refusal = Refusal::ProjectExists {
                channel: channel.clone(),
                name: bound.project_id,
            };
            return Err(refusal.into());
        }
        self.put_project(project).await
    }

    /// Changes the project of a channel, and returns it.
    pub(crate) async fn edit_project(
        &self,
        channel: &ChannelId,
        changes: ProjectChanges,
    ) -> Result<Project> {
        let present = self.projects.find(channel).await?;
        let present = present.ok_or_else(|| Refusal::NoProject(channel.clone()))?;
        self.put_project(changes.apply_to(present)).await
    }

    /// Stores a project, if it is valid and its agents exist.
    async fn put_project(&self, project: Project) -> Result<Project> {
        project.validate().map_err(Refusal::InvalidProject)?;
        for agent in project.route.named_agents() {
            if self.agents.find(agent).await?.is_none() {
                return Err(Refusal::UnknownProjectAgent(agent.clone()).into());
            }
        }
        self.projects.put(&project).await?;
        Ok(project)
    }

    /// Deletes a channel's project, and returns it.
    pub(crate) async fn delete_project(&self, channel: &ChannelId) -> Result<Project> {
        let deleted = self.projects.delete(channel).await?;
        Ok(deleted.ok_or_else(|| Refusal::NoProject(channel.clone()))?)
    }

    async fn require_agent_exists(&self, id: &AgentId) -> Result<()> {
        self.find_agent(id).await.map(drop)
    }

    /// Returns an agent that has to exist.
    pub(crate) async fn find_agent(&self, id: &AgentId) -> Result<Agent> {
        let agent = self.agents.find(id).await?;
        Ok(agent.ok_or_else(|| Refusal::UnknownAgent(id.clone()))?)
    }

    /// Returns the queues' dead-letter queues.
    pub(crate) fn dead_letter_queues(&self) -> Result<SqsDeadLetters> {
        let url = |name: &str| {
            let known = self.deployment.queues.get(name).cloned();
            known.with_context(|| format!("the deployed stack has no queue {name}"))
        };
        let urls = QueueName::iter().map(|queue| {
            let name: &str = queue.into();
            let urls = QueueUrlPair {
                source: url(name)?,
                dead_letters: url(&format!("{name}-dead-letters"))?,
            };
            Ok((queue, urls))
        });
        let client = aws_sdk_sqs::Client::new(&self.deployment.config);
        let urls: Vec<_> = urls.collect::<Result<_>>()?;
        Ok(SqsDeadLetters::new(&client, urls))
    }
}
