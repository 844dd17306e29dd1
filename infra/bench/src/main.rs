//! `bematic-bench`: what `cargo xtask bench` and `cargo xtask simulate` do.

use std::process::ExitCode;

use bematic_bench::{BenchOptions, SimulateOptions, bench, simulate};
use bematic_local::ui::Ui;
use clap::Parser;
use tokio::runtime::Runtime;
use xtask::Workspace;

/// The tasks of `cargo xtask` that measure.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum XtaskCommand {
    /// Measure how fast the functions start and work, what they call, and what a task costs.
    Bench(BenchOptions),
    /// Simulate many agents and tasks in virtual time, and see that a task's cost stays the same.
    Simulate(SimulateOptions),
}

fn main() -> ExitCode {
    match execute(XtaskCommand::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: XtaskCommand) -> anyhow::Result<()> {
    let (workspace, ui) = (Workspace::find()?, Ui::new());
    match command {
        XtaskCommand::Bench(options) => Runtime::new()?.block_on(bench(&workspace, &options, &ui)),
        XtaskCommand::Simulate(options) => simulate(&workspace, &options, &ui),
    }
}
