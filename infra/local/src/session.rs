//! A session: work done with a stack's folder to itself, which leaves no process behind however it ends.

use std::{path::PathBuf, pin::pin, time::Duration};

use anyhow::{Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use xtask::Workspace;

use crate::process::Processes;
use crate::ui::Ui;

/// The folder of the stack of `cargo xtask up`, from the checkout's root.
pub(crate) const LOCAL_DIR: &str = "target/local";
/// The folder of the stack for the end-to-end tests: apart from a developer's own.
pub(crate) const TEST_DIR: &str = "target/local-test";
/// The folder of the stack for `cargo xtask chaos`.
pub(crate) const CHAOS_DIR: &str = "target/local-chaos";

/// The folder, the processes and the output of a session.
pub(crate) struct Session<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) ui: &'a Ui,
    pub(crate) dir: PathBuf,
    pub(crate) processes: Processes,
}

/// The time in which work that waits for the end signal itself finishes.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Claims the folder, does `work`, and ends every process that it started: also when it fails, and
/// when this process is asked to end.
pub(crate) async fn with_claimed_folder<T>(
    workspace: &Workspace,
    ui: &Ui,
    folder: &str,
    work: impl AsyncFnOnce(&mut Session<'_>) -> Result<T>,
) -> Result<T> {
    let dir = workspace.join(folder);
    let mut session = Session {
        workspace,
        ui,
        processes: Processes::claim_folder(&dir).await?,
        dir,
    };
    let outcome = {
        let mut work = pin!(work(&mut session));
        tokio::select! {
            biased;
            outcome = &mut work => outcome,
            asked = wait_for_end_signal() => match asked {
                Err(error) => Err(error),
                Ok(()) => match timeout(FINISH_TIMEOUT, work).await {
                    Ok(Ok(finished)) => Ok(finished),
                    // What the same signal ended is no cause of its own.
                    Ok(Err(_)) | Err(_) => Err(anyhow!("interrupted")),
                },
            },
        }
    };
    session.processes.end().await.and(outcome)
}

/// Returns once this process is asked to end: Ctrl-C, `kill`, or its terminal closed.
pub(crate) async fn wait_for_end_signal() -> Result<()> {
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
