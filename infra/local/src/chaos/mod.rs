//! `cargo xtask chaos`: many agents and operators on a stack where everything fails now and then,
//! and a verdict on whether anything was lost, run twice, stuck or leaked.
//!
//! The agents are of this module, one asynchronous task each, and keep the [`ledger`] of what
//! really ran; the operators remember what they were told. For a while the connections are cut, the
//! messages lost, doubled, delayed and reordered, the functions' calls to AWS and Slack made to
//! fail, and the agents killed. Then all is calm, and the run waits until it has come to rest.
//! [`verdict`] then compares the ledger, the operators' memory, the store and Slack; it says there
//! what is checked.
//!
//! Whatever is random comes from one seed. The same seed gives the same agents, operators and
//! disturbances, though not the same run: how they fall together is the machine's doing.

mod agent;
mod explain;
pub mod ledger;
pub mod operator;
mod report;
mod run;
mod settle;
pub mod snapshot;
mod trouble;
pub mod verdict;
mod weather;
mod webhook;
mod world;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rand::TryRng as _;
use rand::rngs::SysRng;

use self::report::Report;
use crate::build::{self, What};
use crate::paths::{StackDir, Workspace};
use crate::process::Processes;
use crate::session::session;
use crate::stack::{Parameters, Settings, Stack};
use crate::ui::Ui;
use crate::venv;

/// How long an attempt may take to be acknowledged: as `TaskAckSeconds` says.
const ACK_DEADLINE: Duration = Duration::from_secs(15);
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

/// What `chaos` is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Agents, each with a channel, a project and an operator of its own.
    pub agents: usize,
    /// Tasks that an agent takes at once.
    pub concurrency: usize,
    /// Tasks in all.
    pub tasks: usize,
    /// How long it is disturbed, at least: until all tasks were asked for.
    pub time: Duration,
    /// What all that is random comes from; another one each time if `None`.
    pub seed: Option<u64>,
    /// Disturbs nothing: tells how fast the machine is.
    pub calm: bool,
    /// Where the verdict is written for machines.
    pub json: Option<PathBuf>,
}

impl Options {
    /// A run that is short enough for every push.
    pub const fn short() -> Self {
        Self {
            agents: 6,
            concurrency: 3,
            tasks: 80,
            time: Duration::from_secs(20),
            seed: None,
            calm: false,
            json: None,
        }
    }
}

/// Builds, and lets failures loose. An error if anything happened that may not.
pub async fn chaos(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    venv::ensure(workspace, ui).await?;
    build::build(workspace, What::Stack, ui).await?;
    Box::pin(let_loose(workspace, options, ui)).await
}

/// Lets failures loose on a stack of its own, made of what was built before. An error if anything
/// happened that may not.
pub async fn let_loose(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        // Short enough to be typed.
        None => SysRng.try_next_u32().context("no random numbers")?.into(),
    };
    let dir = StackDir::chaos(workspace);
    let report = session(&dir, async |processes: &mut Processes| {
        let settings = Settings {
            parameters: PARAMETERS,
            ..Settings::default()
        };
        let stack = Stack::start(workspace, &dir, processes, settings, ui).await?;
        let report = run::run(workspace, &stack, options, seed, ui).await;
        stack.shutdown().await;
        report
    })
    .await?;
    ui.line(&report.to_string());
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    judgement(&report)
}

fn judgement(report: &Report) -> Result<()> {
    match report.verdict.offences.len() {
        0 => Ok(()),
        1 => bail!("1 thing happened that may not; it is named above"),
        more => bail!("{more} things happened that may not; they are named above"),
    }
}
