//! `cargo xtask up`: the whole system on this machine, with a task running through it; and
//! `cargo xtask down`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::time::timeout;
use xtask::Workspace;

use crate::edge::Limits;
use crate::logs;
use crate::paths::StackDir;
use crate::process::end_all;
use crate::run::last_lines;
use crate::sample;
use crate::session::{Session, asked_to_end, session};
use crate::stack::{Settings, Stack, StackFile, TEST_PARAMETERS};
use crate::ui::Ui;
use crate::watch::until_ended;
use local_slack::Client;

/// The time limit of the sample task, which takes some ten seconds.
const TASK: Duration = Duration::from_mins(2);

/// The number of each part's log lines that explain a failure.
const LOG_LINES: usize = 12;

/// The options of `up`.
#[derive(Debug, Args)]
pub struct Options {
    /// End once the sample task has; the exit status tells whether it completed.
    #[arg(long)]
    pub once: bool,
    /// Start no agent, and no task.
    #[arg(long)]
    pub no_agent: bool,
    /// Deploy with the short deadlines that the end-to-end tests are made for.
    #[arg(long)]
    pub for_tests: bool,
    /// Port of the emulator; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// Port of the local Slack; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub slack_port: u16,
    /// Port where agents connect; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub ws_port: u16,
    /// Seconds without a message that end a connection; API Gateway's 10 minutes by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_seconds: Option<u64>,
    /// Seconds that a connection lives at most; API Gateway's 2 hours by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub lifetime_seconds: Option<u64>,
}

/// Starts the local stack and stays until it is asked to end, which ends everything again.
pub async fn up(workspace: &Workspace, options: Options, ui: &Ui) -> Result<()> {
    let aws = Limits::default();
    let settings = Settings {
        aws_port: options.port,
        edge_port: options.ws_port,
        slack_port: options.slack_port,
        limits: Limits {
            idle: options.idle_seconds.map_or(aws.idle, Duration::from_secs),
            lifetime: options
                .lifetime_seconds
                .map_or(aws.lifetime, Duration::from_secs),
        },
        parameters: if options.for_tests {
            TEST_PARAMETERS
        } else {
            &[]
        },
    };
    session(workspace, ui, StackDir::LOCAL, async |session| {
        let stack = Stack::start(session, settings).await?;
        if !options.no_agent {
            sample::lay_out(session)?;
            sample::start_agent(session, &stack.file)?;
            if let Err(error) = sample_task(&stack.file, ui).await {
                explain(session, &stack.file).await;
                return Err(error);
            }
        }
        if !options.once {
            ui.line(&what_next(&session.dir, &stack.file));
            asked_to_end().await?;
            ui.line("ending the stack …");
        }
        stack.shutdown().await;
        Ok(())
    })
    .await
}

/// Ends every process of every local stack of this checkout, by the recorded ids.
pub async fn down(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let mut ended = 0;
    for folder in [StackDir::LOCAL, StackDir::TEST, StackDir::CHAOS] {
        ended += end_all(&StackDir::at(workspace.join(folder))).await?;
    }
    match ended {
        0 => ui.line("no local stack runs"),
        1 => ui.line("ended 1 process"),
        more => ui.line(&format!("ended {more} processes")),
    }
    Ok(())
}

/// Types the sample command in Slack and follows its message to the end.
async fn sample_task(stack: &StackFile, ui: &Ui) -> Result<()> {
    let step = ui.step(&format!("Running the sample task: {}", sample::COMMAND));
    let client = Client::new(&stack.slack_url, &stack.channel_id, &stack.admin_user_id);
    let said = client.command(sample::COMMAND).await?;
    if let Some(problem) = said.delivery.and_then(|delivery| delivery.error) {
        bail!("the webhook did not take the command: {problem}");
    }
    let completed = timeout(TASK, until_ended(stack, ui))
        .await
        .with_context(|| format!("the task did not end within {} s", TASK.as_secs()))??;
    if !completed {
        bail!("the sample task did not complete");
    }
    step.done("completed, and its message shows it");
    Ok(())
}

/// Shows the last log lines of the functions and of the agent.
async fn explain(session: &Session<'_>, stack: &StackFile) {
    let (ui, log) = (session.ui, session.dir.log("agent"));
    for function in session.workspace.functions().unwrap_or_default() {
        let lines = logs::tail(stack, &function, "", LOG_LINES)
            .await
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
        if !lines.is_empty() {
            ui.line(&format!("── {function}"));
            for line in &lines {
                ui.line(&logs::readable(line));
            }
        }
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    ui.line(&format!("── the agent\n{}", last_lines(&said, LOG_LINES)));
    ui.line(&format!("all logs: {}", log.with_file_name("").display()));
}

fn what_next(dir: &StackDir, stack: &StackFile) -> String {
    format!(
        "
The stack is up.
  Slack page    {page}
  webhook       {webhook}
  agents        {agents}
  AWS endpoint  {aws} (region {region}, any credentials)
  all of it     {file}

Try next
  open the page and type  {command}
  add an agent            cargo xtask agent create my-agent
  add a project           cargo xtask project create --help
Ctrl-C ends everything.",
        page = stack.slack_url,
        webhook = stack.webhook_url,
        agents = stack.websocket_url,
        aws = stack.aws.aws_endpoint,
        region = stack.aws.region,
        file = dir.stack_file().display(),
        command = sample::COMMAND,
    )
}
