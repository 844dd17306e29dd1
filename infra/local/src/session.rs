//! A session: work done with a stack's folder to itself, which leaves no process behind however it ends.

use std::fs;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use xtask::Workspace;

use crate::paths::StackDir;
use crate::process::Processes;
use crate::ui::Ui;

/// The folder, the processes and the output of a session.
pub struct Session<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// The output for a person.
    pub ui: &'a Ui,
    /// The folder.
    pub dir: StackDir,
    /// The processes that end with the session.
    pub processes: Processes,
}

/// Claims the folder, does `work`, and ends every process that it started: also when it fails, and
/// when this process is asked to end.
pub async fn session<T>(
    workspace: &Workspace,
    ui: &Ui,
    folder: &str,
    work: impl AsyncFnOnce(&mut Session<'_>) -> Result<T>,
) -> Result<T> {
    let dir = StackDir::at(workspace.join(folder));
    fs::create_dir_all(dir.path())
        .with_context(|| format!("cannot make {}", dir.path().display()))?;
    let mut session = Session {
        workspace,
        ui,
        processes: Processes::claim(&dir).await?,
        dir,
    };
    let working = async {
        session.dir.prepare()?;
        work(&mut session).await
    };
    let outcome = tokio::select! {
        biased;
        outcome = working => outcome,
        asked = asked_to_end() => asked.and_then(|()| bail!("interrupted")),
    };
    session.processes.end().await.and(outcome)
}

/// Returns once this process is asked to end: Ctrl-C, `kill`, or its terminal closed.
pub async fn asked_to_end() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
