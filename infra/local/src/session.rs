//! Work done with a stack's folder to itself, which leaves no process behind however it ends.

use std::fs;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::paths::StackDir;
use crate::process::Processes;

/// Claims the folder, does `work`, and ends every process that it started: also when it fails, and
/// when this process is asked to end.
pub async fn session<T>(
    dir: &StackDir,
    work: impl AsyncFnOnce(&mut Processes) -> Result<T>,
) -> Result<T> {
    fs::create_dir_all(dir.path())
        .with_context(|| format!("cannot make {}", dir.path().display()))?;
    let mut processes = Processes::claim(dir).await?;
    let outcome = tokio::select! {
        biased;
        outcome = attempt(dir, &mut processes, work) => outcome,
        asked = asked_to_end() => asked.and_then(|()| bail!("interrupted")),
    };
    processes.end(dir).await.and(outcome)
}

async fn attempt<T>(
    dir: &StackDir,
    processes: &mut Processes,
    work: impl AsyncFnOnce(&mut Processes) -> Result<T>,
) -> Result<T> {
    dir.prepare()?;
    work(processes).await
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
