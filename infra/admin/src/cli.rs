//! The command line of `bematic`.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bematic::agent::{Agent, KeyId, KeyPrefix, Project, Route};
use bematic::dead_letter::{DeadLetterQueueSummary, QueueName};
use bematic::error::{QueueError, StoreError};
use bematic::ports::{DeadLetterQueues as _, Projects as _};
use bematic_protocol::ids::{AgentId, ChannelId};
use bematic_protocol::time::Timestamp;
use chrono::{DateTime, SecondsFormat};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use serde::Serialize;
use serde_json::json;
use strum::IntoEnumIterator as _;

use crate::admin::{Admin, IssuedKey, NewProject, ProjectChanges};
use crate::breaker::{self, BreakerArgs};
use crate::deployment::{Deployment, LocalStackFile, STACK_FILE_VARIABLE};
use crate::keys::KeySummary;

/// Administer a deployment of Bematic: agents and their keys, projects, dead letters.
#[derive(Debug, Parser)]
#[command(
    name = "bematic",
    version,
    after_help = "\
Without --stack, the deployment is the local stack: the one of --stack-file, of the variable
BEMATIC_STACK, or of the checkout that the current folder is in.

Examples:
  bematic agent create build-box --stack bematic
  bematic project create --channel C0123456 --name web --agent build-box --local-path /srv/web
  bematic dead-letters list --json"
)]
pub struct Cli {
    /// Name of a CloudFormation stack on AWS, reached with the usual AWS environment (AWS_PROFILE,
    /// AWS_REGION, …).
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        conflicts_with = "stack_file"
    )]
    stack: Option<String>,
    /// The local stack's `stack.json`.
    #[arg(long, global = true, value_name = "FILE")]
    stack_file: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create agents, list them, rotate and revoke their keys, configure their circuit breakers.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Create the projects of channels, list them, delete them.
    #[command(subcommand)]
    Project(ProjectCommand),
    /// List the messages in the dead-letter queues, and have them tried again.
    DeadLetters {
        /// The queue, if only one is meant.
        #[arg(long, global = true, value_parser = queue_name_parser())]
        queue: Option<QueueName>,
        #[command(subcommand)]
        action: DeadLettersAction,
    },
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Create an agent, and print its key, which is shown only this once.
    #[command(after_help = "\
Examples:
  bematic agent create build-box
  bematic agent create build-box --add-key      another key, for example before the old one is revoked
  bematic agent create build-box --json         {\"agentId\":\"build-box\",\"apiKey\":\"bm_…\"}")]
    Create {
        /// The agent's id: 1 to 64 letters, digits, '.', '_' or '-'.
        id: AgentId,
        /// Give an agent that exists another key.
        #[arg(long)]
        add_key: bool,
    },
    /// List all agents.
    List,
    /// List the keys of an agent, with the time at which each was last used to connect.
    Keys {
        /// The agent's id.
        id: AgentId,
    },
    /// Issue another key of an agent, and print it; the present ones are refused after a while.
    #[command(after_help = "\
A connection that was opened with an old key lives on until it ends, for at most two hours.

Examples:
  bematic agent rotate build-box
  bematic agent rotate build-box --overlap 2h")]
    Rotate {
        /// The agent's id.
        id: AgentId,
        /// How long the present keys remain valid, such as 30m, 24h or 7d; 0m refuses them at once.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_overlap)]
        overlap: Duration,
    },
    /// Revoke one key of an agent, or all: none opens a connection any more, and the agent's
    /// connection is closed if it was opened with one of them.
    #[command(after_help = "\
Examples:
  bematic agent revoke build-box                 all keys
  bematic agent revoke build-box --key 3fa9      one of those that `bematic agent keys` lists")]
    Revoke {
        /// The agent's id.
        id: AgentId,
        /// The beginning of the id of the key, at least 4 digits.
        #[arg(long, value_name = "PREFIX")]
        key: Option<KeyPrefix>,
    },
    /// Give an agent's circuit breaker settings of its own, or show them.
    #[command(after_help = "\
Examples:
  bematic agent breaker build-box                             shows the settings
  bematic agent breaker build-box --consecutive-failures 3
  bematic agent breaker build-box --defaults                  the deployment's settings again")]
    Breaker {
        /// The agent's id.
        id: AgentId,
        /// Remove the agent's own settings, so that the deployment's apply.
        #[arg(long, conflicts_with = "BreakerArgs")]
        defaults: bool,
        #[command(flatten)]
        settings: Box<BreakerArgs>,
    },
}

#[derive(Debug, Subcommand)]
enum ProjectCommand {
    /// Create the project of a channel.
    #[command(after_help = "\
Examples:
  bematic project create --channel C0123456 --name web --agent build-box --local-path /srv/web
  bematic project create --channel C0123456 --name web --agent build-box,laptop --local-path /srv/web --replace")]
    Create {
        #[command(flatten)]
        project: Box<NewProject>,
        /// Replace the channel's present project.
        #[arg(long)]
        replace: bool,
    },
    /// Change the project of a channel; what is not named stays as it is.
    #[command(after_help = "\
Example:
  bematic project edit --channel C0123456 --agent build-box,laptop --max-budget 10")]
    Edit {
        /// The Slack channel, by its id.
        #[arg(long)]
        channel: ChannelId,
        #[command(flatten)]
        changes: Box<ProjectChanges>,
    },
    /// List all projects.
    List,
    /// Delete a channel's project. Existing tasks continue; new ones are refused.
    Delete {
        /// The Slack channel, by its id.
        #[arg(long)]
        channel: ChannelId,
    },
}

#[derive(Debug, Subcommand)]
enum DeadLettersAction {
    /// List dead letters with their reasons, up to ten of each queue.
    List,
    /// Move all dead letters back to their queues, so that the functions try them again.
    Redrive,
}

fn queue_name_parser() -> impl TypedValueParser<Value = QueueName> {
    PossibleValuesParser::new(QueueName::iter().map(<&str>::from))
        .try_map(|name| name.parse::<QueueName>())
}

impl Cli {
    /// Executes the command, and returns what to print.
    pub async fn run(self) -> Result<String> {
        let admin = Admin::new(self.deployment().await?);
        let hint = match &self.stack {
            Some(stack) => format!(
                "the stack {stack} refuses this (may these credentials use its tables and queues?)"
            ),
            None => {
                "the local stack cannot be used (does it still run? `cargo xtask up` starts it)"
                    .to_owned()
            }
        };
        match execute(&admin, self.command, self.json).await {
            Err(error) if error.is::<StoreError>() || error.is::<QueueError>() => {
                Err(error.context(hint))
            }
            outcome => outcome,
        }
    }

    async fn deployment(&self) -> Result<Deployment> {
        if let Some(stack) = &self.stack {
            return Deployment::on_aws(stack).await;
        }
        let named = self.stack_file.clone();
        let file = match named.or_else(|| env::var_os(STACK_FILE_VARIABLE).map(PathBuf::from)) {
            Some(file) => file,
            None => LocalStackFile::find(
                &env::current_dir().context("the current folder cannot be read")?,
            )?,
        };
        Ok(Deployment::local(LocalStackFile::read(&file)?).await)
    }
}

/// Executes the command, and returns its output, as JSON or as text.
async fn execute(admin: &Admin, command: Command, json: bool) -> Result<String> {
    match command {
        Command::Agent(command) => execute_agent_command(admin, command, json).await,
        Command::Project(command) => execute_project_command(admin, command, json).await,
        Command::DeadLetters { queue, action } => {
            let queues = queue.map_or_else(|| QueueName::iter().collect(), |queue| vec![queue]);
            let dead_letters = admin.dead_letter_queues()?;
            match action {
                DeadLettersAction::List => {
                    let mut found = Vec::new();
                    for queue in queues {
                        found.push(dead_letters.list(queue).await?);
                    }
                    json_or_text(json, &found, || dead_letter_rows(&found))
                }
                DeadLettersAction::Redrive => {
                    let mut redriven = 0;
                    for queue in queues {
                        redriven += dead_letters.redrive(queue, usize::MAX).await?;
                    }
                    json_or_text(json, &json!({ "redriven": redriven }), || {
                        format!("messages redriven: {redriven}")
                    })
                }
            }
        }
    }
}

async fn execute_agent_command(admin: &Admin, command: AgentCommand, json: bool) -> Result<String> {
    match command {
        AgentCommand::Create { id, add_key } => {
            let created = admin.create_agent(id, add_key).await?;
            json_or_text(json, &created, || format_issued_key(&created))
        }
        AgentCommand::Rotate { id, overlap } => {
            let issued = admin.rotate_keys(&id, overlap).await?;
            json_or_text(json, &issued, || format_issued_key(&issued))
        }
        AgentCommand::Keys { id } => {
            let keys = admin.list_keys(&id).await?;
            json_or_text(json, &keys, || join_rows(&keys, "no keys", key_row))
        }
        AgentCommand::List => {
            let agents = admin.list_agents().await?;
            let agents: Vec<_> = agents.into_iter().map(AgentSummary::from).collect();
            json_or_text(json, &agents, || {
                join_rows(&agents, "no agents yet", agent_row)
            })
        }
        AgentCommand::Revoke { id, key } => {
            let revoked = admin.revoke_keys(&id, key.as_ref()).await?;
            json_or_text(json, &revoked, || {
                let ids: Vec<_> = revoked.key_ids.iter().map(KeyId::as_str).collect();
                let ids = if ids.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", ids.join(", "))
                };
                let closed = match (&revoked.connection, &revoked.not_closed_yet) {
                    (None, _) => String::new(),
                    (Some(connection), None) => format!("\nits connection {connection} is closed"),
                    (Some(connection), Some(problem)) => format!(
                        "\nits connection {connection} could not be closed yet, and the dispatcher tries \
                         again: {problem}"
                    ),
                };
                format!("keys revoked: {}, of {id}{ids}{closed}", revoked.keys)
            })
        }
        AgentCommand::Breaker {
            id,
            defaults,
            settings,
        } => {
            let config = if !defaults && *settings == BreakerArgs::default() {
                admin.breaker(&id).await?.config
            } else {
                let change = |config| (!defaults).then(|| settings.apply_to(config));
                admin.configure_breaker(&id, change).await?
            };
            json_or_text(json, &config, || breaker::format_settings(config.as_ref()))
        }
    }
}

async fn execute_project_command(
    admin: &Admin,
    command: ProjectCommand,
    json: bool,
) -> Result<String> {
    match command {
        ProjectCommand::Create { project, replace } => {
            let created = admin.create_project(*project, replace).await?;
            json_or_text(json, &created, || project_row(&created))
        }
        ProjectCommand::Edit { channel, changes } => {
            let edited = admin.edit_project(&channel, *changes).await?;
            json_or_text(json, &edited, || project_row(&edited))
        }
        ProjectCommand::List => {
            let projects = admin.projects.list().await?;
            json_or_text(json, &projects, || {
                join_rows(&projects, "no projects yet", project_row)
            })
        }
        ProjectCommand::Delete { channel } => {
            let deleted = admin.delete_project(&channel).await?;
            json_or_text(json, &deleted, || {
                format!("deleted: {}", project_row(&deleted))
            })
        }
    }
}

fn json_or_text(
    json: bool,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<String> {
    Ok(if json {
        serde_json::to_string(value)?
    } else {
        text()
    })
}

fn join_rows<T>(all: &[T], none: &str, row: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        none.to_owned()
    } else {
        all.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

/// An agent in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentSummary {
    agent_id: AgentId,
    connected: bool,
    capacity: u32,
    active_tasks: usize,
    version: Option<String>,
    created_at: Timestamp,
}

impl From<Agent> for AgentSummary {
    fn from(agent: Agent) -> Self {
        Self {
            connected: agent.connection.is_some(),
            capacity: agent.capacity,
            active_tasks: agent.held.len(),
            version: agent.agent_version,
            created_at: agent.created_at,
            agent_id: agent.id,
        }
    }
}

fn agent_row(agent: &AgentSummary) -> String {
    let (id, tasks, capacity) = (&agent.agent_id, agent.active_tasks, agent.capacity);
    let state = if agent.connected {
        "connected"
    } else {
        "offline"
    };
    format!("{:<24} {state:<10} {tasks}/{capacity} tasks", id.as_str())
}

fn format_issued_key(issued: &IssuedKey) -> String {
    let IssuedKey {
        agent_id,
        api_key,
        key_id,
    } = issued;
    format!("agent  {agent_id}\nkey    {api_key}\nid     {key_id}\nThe key is not shown again.")
}

fn key_row(key: &KeySummary) -> String {
    let valid_until = match key.valid_until {
        Some(until) => format!("valid until {}", format_time(until)),
        None => "valid".to_owned(),
    };
    let used = match key.last_used_at {
        Some(at) => format!("last used {}", format_time(at)),
        None => "never used".to_owned(),
    };
    let created = format_time(key.created_at);
    format!(
        "{}  created {created}  {valid_until:<32}  {used}",
        key.key_id
    )
}

/// Writes a time as RFC 3339 does, in UTC.
fn format_time(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).ok();
    let time = millis.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(
        || at.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// Parses an overlap of up to a year: minutes, hours or days.
fn parse_overlap(text: &str) -> Result<Duration, String> {
    const MAX: u64 = 365 * 24 * 60 * 60;
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let secs = match unit {
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|_| secs > 0);
    let secs = number.and_then(|number| number.checked_mul(secs));
    let secs = secs.filter(|secs| *secs <= MAX);
    secs.map(Duration::from_secs)
        .ok_or_else(|| "expected a time such as 30m, 24h or 7d, of at most a year".to_owned())
}

fn project_row(project: &Project) -> String {
    let agents = match &project.route {
        Route::Any => "any agent".to_owned(),
        route => route.to_string().replace(',', ", "),
    };
    let (channel, name) = (project.channel_id.as_str(), &project.project_id);
    let path = &project.local_path;
    format!("{channel:<16} {name:<20} on {agents}, in {path}")
}

fn dead_letter_rows(queues: &[DeadLetterQueueSummary]) -> String {
    let mut lines = Vec::new();
    for queue in queues {
        let name: &str = queue.queue.into();
        lines.push(format!("{name:<14} {} messages", queue.count));
        for letter in &queue.letters {
            let why = match &letter.reason {
                Some(reason) => format!("{}: {}", reason.code, reason.text),
                None => "no reason is known: SQS moved the message here, since the function \
                         ended without an error, such as by a time-out"
                    .to_owned(),
            };
            lines.push(format!("  {}  {}\n    {why}", letter.since, letter.body));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_minutes_hours_or_days_of_at_most_a_year() {
        let secs = |text: &str| parse_overlap(text).map(|overlap| overlap.as_secs());
        for (text, expected) in [
            ("0m", 0),
            ("90m", 5400),
            ("24h", 86_400),
            ("365d", 31_536_000),
        ] {
            assert_eq!(secs(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "24",
            "h",
            "-1h",
            "1.5h",
            "1 h",
            "366d",
            "99999999999999999999d",
            "2w",
        ] {
            assert!(secs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_listed_with_its_times() {
        let key = KeySummary {
            key_id: "3fa94c01".to_owned().try_into().unwrap(),
            created_at: Timestamp::from_millis(1_700_000_000_000),
            valid_until: Some(Timestamp::from_millis(1_700_086_400_000)),
            last_used_at: None,
        };
        assert_eq!(
            key_row(&key),
            "3fa94c01  created 2023-11-14T22:13:20Z  valid until 2023-11-15T22:13:20Z  never used"
        );
    }
}
