//! `cargo xtask …`: every task that a developer or CI runs.

mod admin;
mod breaker;
mod dead_letters;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bematic_bench::simulate::{Load, Options as SimulateOptions, simulate};
use bematic_bench::{Options as BenchOptions, bench};
use bematic_local::chaos::{self, Options as ChaosOptions};
use bematic_local::edge::Limits;
use bematic_local::paths::Workspace;
use bematic_local::stack::{Ports, Settings, TEST_PARAMETERS};
use bematic_local::ui::Ui;
use bematic_local::up::Options;
use bematic_local::{check, deploy, down, e2e, up};
use clap::{Args, Parser, Subcommand};

/// The tasks of this project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the whole system on this machine, with a sample agent and a sample task.
    Up(Up),
    /// End what `up` left running.
    Down,
    /// Run unit, property and end-to-end tests.
    Test {
        /// Only the tests whose name contains this.
        filter: Option<String>,
    },
    /// Let failures loose on a local stack, and see that nothing is lost and nothing run twice.
    Chaos(Chaos),
    /// Measure how fast the functions start and work, what they call, and what a task costs.
    Bench(Bench),
    /// Simulate many agents and tasks in virtual time, and see that a task's cost stays the same.
    Simulate(Simulate),
    /// Formatting, lints and the template.
    Check,
    /// Build for AWS and deploy.
    Deploy(Deploy),
    /// Make agents, list them, take their keys.
    Agent(admin::Agent),
    /// Bind channels to projects, list them.
    Project(admin::Project),
    /// List what the functions gave up on, and have it tried again.
    DeadLetters(dead_letters::DeadLetters),
}

#[derive(Debug, Args)]
struct Up {
    /// End once the sample task has; the exit status tells whether it completed.
    #[arg(long)]
    once: bool,
    /// Start no agent, and no task.
    #[arg(long)]
    no_agent: bool,
    /// Deploy with the short deadlines that the end-to-end tests are made for.
    #[arg(long)]
    for_tests: bool,
    /// Port of the emulator; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Port of the local Slack; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    slack_port: u16,
    /// Port where agents connect; a free one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    ws_port: u16,
    /// Seconds without a message that end a connection; API Gateway's 10 minutes by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: Option<u64>,
    /// Seconds that a connection lives at most; API Gateway's 2 hours by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    lifetime_seconds: Option<u64>,
}

impl From<Up> for Options {
    fn from(up: Up) -> Self {
        let ports = Ports {
            aws: up.port,
            edge: up.ws_port,
            slack: up.slack_port,
        };
        let aws = Limits::default();
        let limits = Limits {
            idle: up.idle_seconds.map_or(aws.idle, Duration::from_secs),
            lifetime: up
                .lifetime_seconds
                .map_or(aws.lifetime, Duration::from_secs),
        };
        Self {
            once: up.once,
            no_agent: up.no_agent,
            settings: Settings {
                ports,
                limits,
                parameters: if up.for_tests { TEST_PARAMETERS } else { &[] },
            },
        }
    }
}

#[derive(Debug, Args)]
struct Chaos {
    /// Agents, each with a channel, a project and an operator of its own.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    agents: u16,
    /// Tasks that an agent takes at once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    concurrency: u16,
    /// Tasks in all.
    #[arg(long, default_value_t = 2000)]
    tasks: u32,
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

impl From<Chaos> for ChaosOptions {
    fn from(chaos: Chaos) -> Self {
        Self {
            agents: chaos.agents.into(),
            concurrency: chaos.concurrency.into(),
            tasks: usize::try_from(chaos.tasks).unwrap_or(usize::MAX),
            time: Duration::from_secs(chaos.seconds),
            seed: chaos.seed,
            calm: chaos.calm,
            json: chaos.json,
        }
    }
}

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

impl From<Bench> for BenchOptions {
    fn from(bench: Bench) -> Self {
        Self {
            json: bench.json,
            only: bench.only,
            rounds: bench.rounds.into(),
            profile: bench.profile,
        }
    }
}

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

impl From<Simulate> for SimulateOptions {
    fn from(simulate: Simulate) -> Self {
        Self {
            load: Load {
                agents: usize::try_from(simulate.agents).unwrap_or(usize::MAX),
                tasks_per_second: simulate.tasks_per_second,
                seconds: simulate.seconds,
                seed: simulate.seed,
            },
            json: simulate.json,
        }
    }
}

#[derive(Debug, Args)]
struct Deploy {
    /// Name of the CloudFormation stack; samconfig.toml's by default.
    #[arg(long)]
    stack: Option<String>,
    /// Handed on to `sam deploy`, for example `--guided`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().task).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    let ui = Ui::new();
    match task {
        Task::Up(options) => up::up(&workspace, options.into(), &ui).await,
        Task::Down => down::down(&workspace, &ui).await,
        Task::Test { filter } => e2e::test(&workspace, filter.as_deref(), &ui).await,
        Task::Chaos(options) => Box::pin(chaos::chaos(&workspace, &options.into(), &ui)).await,
        Task::Bench(options) => Box::pin(bench(&workspace, &options.into(), &ui)).await,
        Task::Simulate(options) => simulate(&workspace, options.into(), &ui).await,
        Task::Check => check::check(&workspace, &ui).await,
        Task::Deploy(Deploy { stack, args }) => {
            deploy::to_aws(&workspace, stack.as_deref(), &args, &ui).await
        }
        Task::Agent(agent) => admin::agent(&workspace, agent, &ui).await,
        Task::Project(project) => admin::project(&workspace, project, &ui).await,
        Task::DeadLetters(dead_letters) => dead_letters.run(&workspace, &ui).await,
    }
}
