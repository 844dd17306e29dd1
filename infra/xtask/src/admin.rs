//! `cargo xtask agent …` and `cargo xtask project …`.

use anyhow::Result;
use bematic_local::admin::AgentId;
use bematic_local::admin::{Admin, AgentSummary, Bound, ChannelId, Route, Wanted};
use bematic_local::paths::Workspace;
use bematic_local::stack::StackFile;
use bematic_local::ui::Ui;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::breaker::{self, Breaker};

/// Which deployment, and for whom to print.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of a CloudFormation stack on AWS, instead of the local one.
    #[arg(long, global = true)]
    stack: Option<String>,
    /// Print JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: AgentAction,
}

#[derive(Debug, Subcommand)]
enum AgentAction {
    /// Make an agent, and print its key: it is shown this once.
    Create {
        /// What it is called: letters, digits, and a few signs.
        id: AgentId,
        /// Give an agent that exists another key.
        #[arg(long)]
        add_key: bool,
    },
    /// List all agents.
    List,
    /// Give an agent's circuit breaker settings of its own, or show those that it has.
    Breaker(Box<Breaker>),
    /// Take all keys from an agent.
    Revoke {
        /// Which agent.
        id: AgentId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Project {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: ProjectAction,
}

#[derive(Debug, Subcommand)]
enum ProjectAction {
    /// Bind a channel to a project.
    Create(Box<Create>),
    /// List all projects.
    List,
}

#[derive(Debug, Args)]
struct Create {
    /// The Slack channel, by its id.
    #[arg(long)]
    channel: ChannelId,
    /// What the project is called.
    #[arg(long)]
    name: String,
    /// The agent that runs its tasks; several with commas between them, the preferred first; or
    /// `any`. Of those that are connected and well, the least busy gets a task.
    #[arg(long, value_name = "AGENT[,AGENT…]|any")]
    agent: Route,
    /// The folder on the agent's machine; one that the agent was allowed.
    #[arg(long)]
    local_path: String,
    /// The model that the agent should use.
    #[arg(long, default_value = "default")]
    model: String,
    /// US dollars that a task may cost.
    #[arg(long, default_value_t = 5.0)]
    max_budget: f64,
    /// What the bot is called.
    #[arg(long, default_value = "Bematic")]
    bot_name: String,
    /// What every task should keep in mind.
    #[arg(long, default_value = "")]
    system_prompt: String,
    /// A tool that may be used; repeatable. Without it, the agent decides.
    #[arg(long = "allowed-tool")]
    allowed_tools: Vec<String>,
    /// Seconds that the agent may be silent about a task before it is given up [default: the
    /// deployment's, 30 min].
    #[arg(long)]
    lease_seconds: Option<u64>,
    /// Put it in the place of the channel's project.
    #[arg(long)]
    replace: bool,
}

impl From<Create> for Wanted {
    fn from(create: Create) -> Self {
        Self {
            channel_id: create.channel,
            name: create.name,
            route: create.agent,
            local_path: create.local_path,
            model: create.model,
            max_budget: create.max_budget,
            bot_name: create.bot_name,
            system_prompt: create.system_prompt,
            allowed_tools: create.allowed_tools,
            lease_secs: create.lease_seconds,
        }
    }
}

/// Runs `cargo xtask agent …`.
pub(crate) async fn agent(workspace: &Workspace, agent: Agent, ui: &Ui) -> Result<()> {
    let admin = agent.target.admin(workspace, ui).await?;
    let target = &agent.target;
    match agent.action {
        AgentAction::Create { id, add_key } => {
            let made = admin.create_agent(id, add_key).await?;
            target.print(&made, || {
                format!(
                    "agent  {}\nkey    {}\nThe key is not shown again.",
                    made.agent_id, made.api_key
                )
            })
        }
        AgentAction::List => {
            let agents = admin.list_agents().await?;
            target.print(&agents, || rows(&agents, "no agents yet", agent_row))
        }
        AgentAction::Breaker(wanted) => {
            let config = wanted.run(&admin).await?;
            target.print(&config, || breaker::rows(config.as_ref()))
        }
        AgentAction::Revoke { id } => {
            let revoked = admin.revoke_agent(id).await?;
            target.print(&revoked, || {
                format!("keys taken: {}, from {}", revoked.keys, revoked.agent_id)
            })
        }
    }
}

/// Runs `cargo xtask project …`.
pub(crate) async fn project(workspace: &Workspace, project: Project, ui: &Ui) -> Result<()> {
    let admin = project.target.admin(workspace, ui).await?;
    let target = &project.target;
    match project.action {
        ProjectAction::Create(create) => {
            let replace = create.replace;
            let bound = admin.create_project((*create).into(), replace).await?;
            target.print(&bound, || project_row(&bound))
        }
        ProjectAction::List => {
            let projects = admin.list_projects().await?;
            target.print(&projects, || {
                rows(&projects, "no projects yet", project_row)
            })
        }
    }
}

impl Target {
    pub(crate) async fn admin(&self, workspace: &Workspace, ui: &Ui) -> Result<Admin> {
        match &self.stack {
            Some(stack) => Admin::aws(workspace, stack, ui).await,
            None => Ok(Admin::local(&StackFile::find(workspace)?).await),
        }
    }

    pub(crate) fn print(&self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        println!(
            "{}",
            if self.json {
                serde_json::to_string(json)?
            } else {
                text()
            }
        );
        Ok(())
    }
}

fn rows<T>(all: &[T], none: &str, row: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        none.to_owned()
    } else {
        all.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

fn agent_row(agent: &AgentSummary) -> String {
    let state = if agent.connected {
        "connected"
    } else {
        "offline"
    };
    let (id, tasks, capacity) = (&agent.agent_id, agent.active_tasks, agent.capacity);
    format!("{:<24} {state:<10} {tasks}/{capacity} tasks", id.as_str())
}

fn project_row(project: &Bound) -> String {
    let channel = project.channel_id.as_str();
    let agents = match &project.route {
        Route::Any => "any agent".to_owned(),
        route => route.to_string().replace(',', ", "),
    };
    format!(
        "{channel:<16} {:<20} on {agents}, in {}",
        project.project_id, project.local_path
    )
}
