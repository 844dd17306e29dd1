//! `bematic-local`: the tasks of `cargo xtask` that need a local stack.

use std::process::ExitCode;

use bematic_local::ui::Ui;
use bematic_local::{chaos, e2e, up};
use clap::{Parser, Subcommand};
use xtask::Workspace;

/// The tasks of `cargo xtask` that need a local stack.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
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

#[tokio::main]
async fn main() -> ExitCode {
    match execute(Cli::parse().task).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(task: Task) -> anyhow::Result<()> {
    let (workspace, ui) = (Workspace::find()?, Ui::new());
    match task {
        Task::Up(options) => up::up(&workspace, options, &ui).await,
        Task::Down => up::down(&workspace, &ui).await,
        Task::Test { filter } => e2e::test(&workspace, filter.as_deref(), &ui).await,
        Task::Chaos(options) => Box::pin(chaos::chaos(&workspace, &options, &ui)).await,
    }
}
