//! The options of a run.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

/// The options of `chaos`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Agents, each with a channel, a project and an operator of its own.
    #[arg(long, default_value_t = 20, value_parser = count(500))]
    pub agents: usize,
    /// Tasks that an agent takes at once.
    #[arg(long, default_value_t = 3, value_parser = count(100))]
    pub concurrency: usize,
    /// Tasks in all.
    #[arg(long, default_value_t = 2000)]
    pub tasks: usize,
    /// Seconds that it is disturbed; then it is waited until all has come to rest.
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// Repeats the choices of an earlier run, which printed this [default: another each time].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Disturb nothing: tells how fast the machine is.
    #[arg(long)]
    pub calm: bool,
    /// Write the verdict here, for machines.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Options {
    /// Returns the options of a run that is short enough for every push.
    pub const fn short() -> Self {
        Self {
            agents: 6,
            concurrency: 3,
            tasks: 80,
            seconds: 20,
            seed: None,
            calm: false,
            json: None,
        }
    }

    /// Returns the time that the run is disturbed.
    pub(super) const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}
