//! The local stack: `template.yaml` deployed onto an AWS emulator, a small Slack beside it, and the
//! sample agent. `cargo xtask` builds and calls it as `bematic-local`.
//!
//! Each task of the command line is one module (`up`, `e2e`, `chaos`) that works with a [`stack`]. The
//! programs must have been built before: `cargo xtask` does that.

mod build;
mod chaos;
mod e2e;
mod edge;
mod emulator;
pub mod logs;
mod process;
pub mod run;
mod session;
pub mod stack;
mod stack_file;
pub mod ui;
mod up;
mod watch;

use anyhow::Result;
use clap::Parser;
use xtask::Workspace;

use self::ui::Ui;

/// The tasks of `cargo xtask` that need a local stack.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum XtaskCommand {
    /// Run the whole system on this machine, with a sample agent and a sample task.
    Up(up::Options),
    /// End what `up` left running.
    Down,
    /// Run unit, property and end-to-end tests.
    Test {
        /// Only the tests whose name contains this.
        filter: Option<String>,
    },
    /// Let failures loose on a local stack, and see that nothing is lost and nothing run twice.
    Chaos(chaos::Options),
}

/// Executes the command that this process's arguments name.
pub async fn execute() -> Result<()> {
    let command = XtaskCommand::parse();
    let (workspace, ui) = (Workspace::find()?, Ui::new());
    match command {
        XtaskCommand::Up(options) => up::up(&workspace, options, &ui).await,
        XtaskCommand::Down => up::down(&workspace, &ui).await,
        XtaskCommand::Test { filter } => e2e::run_tests(&workspace, filter.as_deref(), &ui).await,
        XtaskCommand::Chaos(options) => Box::pin(chaos::chaos(&workspace, &options, &ui)).await,
    }
}
