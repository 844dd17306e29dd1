//! `cargo xtask chaos`: many agents and operators on a stack where everything fails now and then,
//! and a verdict on whether anything was lost, run twice, stuck or leaked.
//!
//! The agents are test agents, one asynchronous task each, and keep the
//! [`Ledger`](bematic_test_agent::Ledger) of what really ran; the operators keep the answers that they
//! got. For a while the connections are cut, the messages lost, doubled, delayed and reordered, the
//! functions' calls to AWS and Slack made to fail, and the agents killed. Then all is calm, and the run
//! waits until it has come to rest. [`verdict`] then compares the ledger, the operators' answers, the
//! store and Slack, and describes its checks.
//!
//! Whatever is random comes from one seed. The same seed gives the same agents, operators and
//! disturbances, though not the same run: how they fall together is the machine's doing.

mod agent;
mod explain;
mod faults;
pub mod operator;
mod options;
mod report;
mod run;
mod settle;
pub mod snapshot;
pub mod verdict;
mod webhook;
mod world;

use std::fs;

use anyhow::{Context as _, Result, bail};
use rand::TryRng as _;
use rand::rngs::SysRng;
use xtask::Workspace;

pub use self::options::Options;
use crate::paths::StackDir;
use crate::session::session;
use crate::stack::{Parameters, Settings, Stack};
use crate::ui::Ui;

/// Timers that end within the run. One task of twenty fails, so that three failures in a row open a
/// few breakers, each for a moment; the usual five would hardly ever.
const PARAMETERS: Parameters = &[
    ("BreakerConsecutiveFailures", "3"),
    ("BreakerRecoverySeconds", "5"),
    ("TaskAckSeconds", "15"),
    ("TaskCancelSeconds", "15"),
    ("TaskLeaseSeconds", "90"),
    ("TaskWaitSeconds", "3600"),
];

/// Lets failures loose on a stack of its own. An error if anything happened that may not.
pub async fn chaos(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        // Short enough to be typed.
        None => SysRng.try_next_u32().context("no random numbers")?.into(),
    };
    let report = session(workspace, ui, StackDir::CHAOS, async |session| {
        let settings = Settings {
            parameters: PARAMETERS,
            ..Settings::default()
        };
        let stack = Stack::start(session, settings).await?;
        let report = run::run(session, &stack, options, seed).await;
        stack.shutdown().await;
        report
    })
    .await?;
    ui.line(&report.to_string());
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    match report.verdict.offences.len() {
        0 => Ok(()),
        1 => bail!("1 thing happened that may not; it is named above"),
        more => bail!("{more} things happened that may not; they are named above"),
    }
}
