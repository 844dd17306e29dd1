//! `bematic-bench`: what `cargo xtask bench` and `cargo xtask simulate` do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bematic_bench::simulate::{Load, Options as SimulateOptions, simulate};
use bematic_bench::{Options, bench};
use bematic_local::ui::Ui;
use clap::{Args, Parser, Subcommand};
use xtask::Workspace;

/// The tasks of `cargo xtask` that measure.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure how fast the functions start and work, what they call, and what a task costs.
    Bench(Bench),
    /// Simulate many agents and tasks in virtual time, and see that a task's cost stays the same.
    Simulate(Simulate),
}

/// The options of `cargo xtask bench`.
#[derive(Debug, Args)]
struct Bench {
    /// Write the report here, for machines.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Build and report this function only; the others take part as they were built before.
    #[arg(long)]
    only: Option<String>,
    /// How often everything is done.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Build with this profile of cargo's, for trying the bench itself.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// The options of `cargo xtask simulate`.
#[derive(Debug, Args)]
struct Simulate {
    /// Agents that are connected; a thousand take half a minute, a hundred times as many half an
    /// hour.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    agents: u32,
    /// Tasks that are asked for in a second, on average.
    #[arg(long, default_value_t = 1.0)]
    tasks_per_second: f64,
    /// Seconds of virtual time in which they are.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// What the choices depend on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report here, for machines.
    #[arg(long)]
    json: Option<PathBuf>,
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

async fn execute(task: Task) -> Result<()> {
    let (workspace, ui) = (Workspace::find()?, Ui::new());
    match task {
        Task::Bench(asked) => {
            let options = Options {
                json: asked.json,
                only: asked.only,
                rounds: asked.rounds.into(),
                profile: asked.profile,
            };
            Box::pin(bench(&workspace, &options, &ui)).await
        }
        Task::Simulate(asked) => {
            let load = Load {
                agents: usize::try_from(asked.agents).unwrap_or(usize::MAX),
                tasks_per_second: asked.tasks_per_second,
                seconds: asked.seconds,
                seed: asked.seed,
            };
            let json = asked.json;
            simulate(&workspace, SimulateOptions { load, json }, &ui).await
        }
    }
}
