//! The command line of `bematic`: it executes a command, and has the change recorded that it makes.

use std::env;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use bematic::agent::KeyId;
use bematic::dead_letter::QueueName;
use bematic::error::{QueueError, StoreError};
use bematic::ports::{DeadLetterQueues as _, Projects as _};
use bematic_protocol::time::{Clock as _, SystemClock};
use clap::Parser;
use serde_json::json;
use strum::IntoEnumIterator as _;

use crate::admin::Admin;
use crate::audit::AuditTrail;
use crate::breaker;
use crate::command::{AgentCommand, Command, DeadLettersAction, ProjectCommand};
use crate::deployment::{Deployment, LocalStackFile, STACK_FILE_VARIABLE};
use crate::rows::{
    AgentSummary, agent_row, dead_letter_rows, format_issued_key, join_rows, json_or_text, key_row,
    project_row,
};

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

impl Cli {
    /// Executes the command, and prints its output with `print`. A change, or the refusal of one, is
    /// then recorded in the audit log: an issued key is printed before anything else can fail.
    ///
    /// # Errors
    /// Also if the command was executed, and its output not printed or its audit record not stored.
    pub async fn run(self, print: impl FnOnce(&str) -> io::Result<()>) -> Result<()> {
        let begun = SystemClock.now();
        let deployment = self.deployment().await?;
        let audit_trail = AuditTrail::new(&deployment);
        let admin = Admin::new(deployment);
        let hint = self.hint();
        let change = self.command.change();
        let outcome = execute(&admin, self.command, self.json).await;
        let printed = outcome.as_deref().map_or(Ok(()), print);
        let recorded = match change {
            Some(change) => audit_trail.record(change, &outcome, begun).await,
            None => Ok(()),
        };
        let unprinted = "the command was executed, but its output could not be printed";
        let unrecorded = if outcome.is_ok() {
            "the command was executed, but is not in the audit log"
        } else {
            "this is not in the audit log"
        };
        let problems = [
            outcome.err().map(|error| add_hint(error, hint)),
            printed.err().map(|error| anyhow!(error).context(unprinted)),
            recorded
                .err()
                .map(|error| anyhow!(error).context(unrecorded)),
        ];
        let problems = problems.iter().flatten();
        let problems: Vec<_> = problems.map(|error| format!("{error:#}")).collect();
        ensure!(problems.is_empty(), problems.join("\nerror: "));
        Ok(())
    }

    /// Returns what to say when the deployment's tables or queues cannot be used.
    fn hint(&self) -> String {
        match &self.stack {
            Some(stack) => format!(
                "the stack {stack} refuses this (may these credentials use its tables and queues?)"
            ),
            None => {
                "the local stack cannot be used (does it still run? `cargo xtask up` starts it)"
                    .to_owned()
            }
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

/// Adds what to do about it to an error of a call to AWS.
fn add_hint(error: anyhow::Error, hint: String) -> anyhow::Error {
    if error.is::<StoreError>() || error.is::<QueueError>() {
        return error.context(hint);
    }
    error
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
            let config = if !defaults && settings.is_empty() {
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
