//! Projects: what a channel's tasks run on, where, and with what.

use anyhow::{Context, Result, bail};
use bematic::agent::{Project, Route};
use bematic::ports::{Agents as _, Projects as _};
use bematic_protocol::ids::ChannelId;
use bematic_protocol::time::{Clock as _, SystemClock};
use garde::Validate as _;

use super::Admin;

/// A project as it is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The channel that it is bound to.
    pub channel_id: ChannelId,
    /// Its name.
    pub name: String,
    /// The agents that its tasks may go to.
    pub route: Route,
    /// The folder on the agent's machine.
    pub local_path: String,
    /// The model to use.
    pub model: String,
    /// US dollars a task.
    pub max_budget: f64,
    /// The bot that answers.
    pub bot_name: String,
    /// What every task should keep in mind.
    pub system_prompt: String,
    /// The tools that may be used; empty for the agent's own choice.
    pub allowed_tools: Vec<String>,
    /// Seconds that the agent may be silent about a task; the deployment's number if `None`.
    pub lease_secs: Option<u64>,
}

impl Admin {
    /// Binds a project to its channel. One that is bound already is replaced only if `replace`
    /// says so.
    pub async fn create_project(&self, wanted: Wanted, replace: bool) -> Result<Project> {
        let project = project(wanted)?;
        let channel = &project.channel_id;
        for agent in project.route.named() {
            if self.agents.find(agent).await?.is_none() {
                bail!(
                    "there is no agent {agent}: make it first, with `cargo xtask agent create \
                     {agent}`"
                );
            }
        }
        if !replace && let Some(bound) = self.projects.find(channel).await? {
            let name = bound.project_id;
            bail!("the channel {channel} has the project {name}; --replace puts this in its place");
        }
        self.projects.put(&project).await?;
        Ok(project)
    }

    /// All projects.
    pub async fn list_projects(&self) -> Result<Vec<Project>> {
        Ok(self.projects.list().await?)
    }
}

fn project(wanted: Wanted) -> Result<Project> {
    let project = Project {
        channel_id: wanted.channel_id,
        project_id: wanted.name,
        route: wanted.route,
        local_path: wanted.local_path,
        model: wanted.model,
        max_budget: wanted.max_budget,
        bot_name: wanted.bot_name,
        system_prompt: wanted.system_prompt,
        allowed_tools: wanted.allowed_tools,
        lease_secs: wanted.lease_secs,
        created_at: SystemClock.now(),
    };
    project.validate().context("the project is not valid")?;
    Ok(project)
}
