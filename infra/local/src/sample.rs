//! The sample agent: the reference agent with a command that behaves like a coding agent, on a
//! small project of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::process::Command;
use xtask::sibling;

use crate::session::Session;
use crate::stack::StackFile;

/// The folder of the sample in a checkout.
const SOURCE: &str = "infra/local/sample";
/// Tasks that the sample agent runs at a time.
const CONCURRENCY: &str = "2";

/// The time that a task has to end when the stack ends.
const DRAIN_SECONDS: &str = "2";

/// The command that creates the sample task.
pub const COMMAND: &str = "/bm run fix the login bug";

/// Lays out the sample project anew, as it is before the first task.
pub fn lay_out(session: &Session<'_>) -> Result<()> {
    let from = session.workspace.join(SOURCE).join("project");
    let to = session.dir.sample();
    copy_files(&from, &to)
        .with_context(|| format!("the sample project cannot be laid out in {}", to.display()))
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Starts the agent of the stack, on the sample project.
pub fn start_agent(session: &mut Session<'_>, stack: &StackFile) -> Result<()> {
    let (workspace, dir) = (session.workspace, &session.dir);
    let python = workspace.tool("python");
    let script = workspace.join(SOURCE).join("coding_agent.py");
    let mut command = Command::new(sibling("bematic-agent")?);
    command
        .args(["--url", &stack.websocket_url, "--agent-id", &stack.agent_id])
        .args(["--concurrency", CONCURRENCY])
        .args(["--drain-timeout", DRAIN_SECONDS])
        .arg("--json")
        .arg("--workdir")
        .arg(dir.sample())
        .arg("--exec")
        .arg(format!("'{}' '{}'", python.display(), script.display()))
        .env("BEMATIC_API_KEY", &stack.agent_api_key)
        .current_dir(dir.sample());
    let log = dir.log("agent");
    session.processes.start("the sample agent", command, &log)
}
