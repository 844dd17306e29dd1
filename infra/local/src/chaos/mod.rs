//! `cargo xtask chaos`: many agents and operators on a stack where everything fails now and then,
//! and a verdict on whether anything was lost, run twice, stuck or leaked.
//!
//! The agents are test agents, one asynchronous task each, and keep the
//! [`Ledger`](bematic_test_agent::Ledger) of what really ran; the operators keep the answers that they
//! got. For a while the connections are cut, the messages lost, doubled, delayed and reordered, the
//! functions' calls to AWS and Slack made to fail, and the agents killed. Then nothing fails any more, and
//! the run waits until all tasks are over. [`verdict`] then compares the ledger, the operators' answers,
//! the store and Slack, and describes its checks.
//!
//! Whatever is random comes from one seed. The same seed gives the same agents, operators and
//! faults, though not the same run: how they fall together is the machine's doing.

mod agent;
mod faults;
mod operator;
mod report;
mod run;
mod system;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;

pub(crate) use self::run::chaos;

#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Agents, each with a channel, a project and an operator of its own.
    #[arg(long, default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..=500))]
    agents: usize,
    /// Tasks that an agent takes at once.
    #[arg(long, default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    concurrency: usize,
    /// Tasks in all.
    #[arg(long, default_value_t = 2000)]
    tasks: usize,
    /// Seconds that it is disturbed; then it is waited until all has come to rest.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Repeats the choices of an earlier run, which printed this [default: another each time].
    #[arg(long)]
    seed: Option<u64>,
    /// Disturb nothing: tells how fast the machine is.
    #[arg(long)]
    calm: bool,
    /// Write the verdict here, for machines.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    /// Returns the time during which faults are injected.
    const fn fault_injection_duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
