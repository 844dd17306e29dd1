//! `cargo xtask up`: the whole system on this machine, with a task running through it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use crate::build;
use crate::logs;
use crate::paths::{StackDir, Workspace};
use crate::process::Processes;
use crate::run::last_lines;
use crate::sample;
use crate::session::{asked_to_end, session};
use crate::slack::Client;
use crate::stack::{Settings, Stack, StackFile};
use crate::ui::Ui;
use crate::venv;
use crate::watch::{Ended, Watch};

/// How long the sample task may take, which takes some ten seconds.
const TASK: Duration = Duration::from_mins(2);

/// Log lines of each part that explain a failure.
const LOG_LINES: usize = 12;

/// What `up` is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Ends once the sample task has, instead of staying.
    pub once: bool,
    /// Starts no agent, and no task.
    pub no_agent: bool,
    /// What the stack is started with.
    pub settings: Settings,
}

/// Starts the local stack and stays until it is asked to end, which ends everything again.
pub async fn up(workspace: &Workspace, options: Options, ui: &Ui) -> Result<()> {
    let dir = StackDir::local(workspace);
    session(&dir, async |processes: &mut Processes| {
        venv::ensure(workspace, ui).await?;
        let agent = build::build(workspace, build::What::Stack, ui).await?;
        let stack = Stack::start(workspace, &dir, processes, options.settings, ui).await?;
        if !options.no_agent {
            sample::lay_out(workspace, &dir)?;
            sample::start_agent(workspace, &dir, processes, &agent, &stack.file)?;
            if let Err(error) = sample_task(&stack.file, ui).await {
                explain(workspace, &dir, &stack.file, ui).await;
                return Err(error);
            }
        }
        if !options.once {
            ui.line(&what_next(&dir, &stack.file));
            asked_to_end().await?;
            ui.line("ending the stack …");
        }
        stack.shutdown().await;
        Ok(())
    })
    .await
}

/// Types the sample command in Slack and follows its message to the end.
async fn sample_task(stack: &StackFile, ui: &Ui) -> Result<()> {
    let step = ui.step(&format!("Running the sample task: {}", sample::COMMAND));
    let client = Client::new(&stack.slack_url, &stack.channel_id, &stack.admin_user_id);
    let said = client.command(sample::COMMAND).await?;
    if let Some(problem) = said.delivery.and_then(|delivery| delivery.error) {
        bail!("the webhook did not take the command: {problem}");
    }
    let ended = timeout(TASK, Watch::new(stack).until_ended(ui))
        .await
        .with_context(|| format!("the task did not end within {} s", TASK.as_secs()))??;
    match ended {
        Ended::Completed => step.done("completed, and its message shows it"),
        Ended::Otherwise => bail!("the sample task did not complete"),
    }
    Ok(())
}

/// Shows what the functions and the agent said last.
async fn explain(workspace: &Workspace, dir: &StackDir, stack: &StackFile, ui: &Ui) {
    for function in workspace.functions().unwrap_or_default() {
        let lines = match logs::tail(stack, &function, "", LOG_LINES).await {
            Ok(lines) => lines,
            Err(error) => vec![format!("{error:#}")],
        };
        if !lines.is_empty() {
            ui.line(&format!("── {function}"));
            for line in &lines {
                ui.line(&logs::readable(line));
            }
        }
    }
    let said = fs::read_to_string(dir.log("agent")).unwrap_or_default();
    ui.line(&format!("── the agent\n{}", last_lines(&said, LOG_LINES)));
    ui.line(&format!(
        "all logs: {}",
        dir.log("agent").with_file_name("").display()
    ));
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
        aws = stack.aws_endpoint,
        region = stack.region,
        file = dir.stack_file().display(),
        command = sample::COMMAND,
    )
}
