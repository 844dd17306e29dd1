//! `cargo xtask up`, the whole system on this machine with a task running through it; and `cargo xtask down`.
//!
//! The sample agent is the reference agent with a simulated coding agent, on a small project of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use local_slack::Client;
use tokio::process::Command;
use tokio::time::timeout;
use xtask::{Workspace, sibling};

use crate::logs;
use crate::process::{STACK_FILE, end_all, log_path};
use crate::run::last_lines;
use crate::session::{CHAOS_DIR, LOCAL_DIR, Session, TEST_DIR, wait_for_end_signal};
use crate::stack::{Settings, Stack, StackFile, TEST_PARAMETERS, with_stack};
use crate::ui::Ui;
use crate::watch::watch_until_task_ends;

/// The command that creates the sample task.
const SAMPLE_SLASH_COMMAND: &str = "/bm run fix the login bug";
/// Tasks that the sample agent runs at a time.
const SAMPLE_AGENT_CONCURRENCY: &str = "2";
/// The time that a task has to end when the stack ends.
const DRAIN_TIMEOUT_SECONDS: &str = "2";

/// The time limit of the sample task, which takes some ten seconds.
const SAMPLE_TASK_TIMEOUT: Duration = Duration::from_mins(2);

/// The number of each part's log lines that explain a failure.
const FAILURE_LOG_LINES: usize = 12;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// End once the sample task has; the exit status tells whether it completed.
    #[arg(long)]
    once: bool,
    /// Start no agent, and no task.
    #[arg(long)]
    no_agent: bool,
    /// Deploy with the short deadlines that the end-to-end tests are made for.
    #[arg(long)]
    for_tests: bool,
    #[command(flatten)]
    settings: Settings,
    /// Seconds without a message that end a connection; API Gateway's 10 minutes by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: Option<u64>,
    /// Seconds that a connection lives at most; API Gateway's 2 hours by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    lifetime_seconds: Option<u64>,
}

/// Starts the local stack and stays until it is asked to end, which ends everything again.
pub(crate) async fn up(workspace: &Workspace, options: Options, ui: &Ui) -> Result<()> {
    let mut settings = options.settings;
    if options.for_tests {
        settings.parameters = TEST_PARAMETERS;
    }
    if let Some(seconds) = options.idle_seconds {
        settings.limits.idle = Duration::from_secs(seconds);
    }
    if let Some(seconds) = options.lifetime_seconds {
        settings.limits.lifetime = Duration::from_secs(seconds);
    }
    with_stack(
        workspace,
        ui,
        LOCAL_DIR,
        settings,
        async |session, stack| {
            if !options.no_agent {
                start_sample_agent(session, &stack.file)?;
                if let Err(error) = run_sample_task(stack, ui).await {
                    show_logs(session, &stack.file).await;
                    return Err(error);
                }
            }
            if !options.once {
                ui.print_line(&next_steps_text(&session.dir, &stack.file));
                wait_for_end_signal().await?;
                ui.print_line("ending the stack …");
            }
            Ok(())
        },
    )
    .await
}

/// Ends every process of every local stack of this checkout, by the recorded ids.
pub(crate) async fn down(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let mut ended = 0;
    for folder in [LOCAL_DIR, TEST_DIR, CHAOS_DIR] {
        ended += end_all(&workspace.join(folder)).await?;
    }
    match ended {
        0 => ui.print_line("no local stack runs"),
        1 => ui.print_line("ended 1 process"),
        more => ui.print_line(&format!("ended {more} processes")),
    }
    Ok(())
}

/// Lays out the sample project anew, as it is before the first task, and starts the agent on it.
fn start_sample_agent(session: &mut Session<'_>, stack: &StackFile) -> Result<()> {
    let source = session.workspace.join("infra/local/sample");
    let project = session.dir.join("sample");
    let lay_out = || {
        fs::create_dir_all(&project)?;
        for entry in fs::read_dir(source.join("project"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), project.join(entry.file_name()))?;
            }
        }
        std::io::Result::Ok(())
    };
    lay_out().with_context(|| {
        format!(
            "the sample project cannot be laid out in {}",
            project.display()
        )
    })?;
    let python = session.workspace.tool_path("python");
    let script = source.join("coding_agent.py");
    let mut command = Command::new(sibling("bematic-agent")?);
    command
        .args(["--url", &stack.websocket_url, "--agent-id", &stack.agent_id])
        .args(["--concurrency", SAMPLE_AGENT_CONCURRENCY])
        .args(["--drain-timeout", DRAIN_TIMEOUT_SECONDS])
        .arg("--json")
        .arg("--workdir")
        .arg(&project)
        .arg("--exec")
        .arg(format!("'{}' '{}'", python.display(), script.display()))
        .env("BEMATIC_API_KEY", &stack.agent_api_key)
        .current_dir(project);
    session.processes.start("agent", command)
}

/// Types the sample command in Slack and follows its message to the end.
async fn run_sample_task(stack: &Stack, ui: &Ui) -> Result<()> {
    let step = ui.begin_step(&format!("Running the sample task: {SAMPLE_SLASH_COMMAND}"));
    let file = &stack.file;
    let client = Client::new(&file.slack_url, &file.channel_id, &file.admin_user_id);
    let said = client.send_command(SAMPLE_SLASH_COMMAND).await?;
    if let Some(problem) = said.delivery.and_then(|delivery| delivery.error) {
        bail!("the webhook did not take the command: {problem}");
    }
    let completed = timeout(SAMPLE_TASK_TIMEOUT, watch_until_task_ends(stack, ui))
        .await
        .with_context(|| {
            format!(
                "the task did not end within {} s",
                SAMPLE_TASK_TIMEOUT.as_secs()
            )
        })?;
    if !completed {
        bail!("the sample task did not complete");
    }
    step.succeed("completed, and its message shows it");
    Ok(())
}

/// Shows the last log lines of the functions and of the agent.
async fn show_logs(session: &Session<'_>, stack: &StackFile) {
    let ui = session.ui;
    for function in session.workspace.function_names().unwrap_or_default() {
        let events = logs::fetch_events(stack, &function, "").await;
        let lines = events.map_or_else(
            |error| vec![format!("{error:#}")],
            |events| {
                events
                    .iter()
                    .map(|it| logs::format_line(&it.message))
                    .collect()
            },
        );
        if !lines.is_empty() {
            ui.print_line(&format!("── {function}"));
            for line in &lines[lines.len().saturating_sub(FAILURE_LOG_LINES)..] {
                ui.print_line(line);
            }
        }
    }
    let log = log_path(&session.dir, "agent");
    let text = fs::read_to_string(&log).unwrap_or_default();
    ui.print_line(&format!(
        "── the agent\n{}",
        last_lines(&text, FAILURE_LOG_LINES)
    ));
    ui.print_line(&format!("all logs: {}", log.with_file_name("").display()));
}

fn next_steps_text(dir: &Path, stack: &StackFile) -> String {
    format!(
        "
The stack is up.
  Slack page    {page}
  webhook       {webhook}
  agents        {agents}
  AWS endpoint  {aws} (region {region}, credentials in the file)
  all of it     {file}

Try next
  open the page and type  {SAMPLE_SLASH_COMMAND}
  add an agent            cargo xtask agent create my-agent
  add a project           cargo xtask project create --help
Ctrl-C ends everything.",
        page = stack.slack_url,
        webhook = stack.webhook_url,
        agents = stack.websocket_url,
        aws = stack.aws.aws_endpoint,
        region = stack.aws.region,
        file = dir.join(STACK_FILE).display(),
    )
}
