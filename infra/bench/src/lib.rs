//! The bench: `cargo xtask bench`. The simulation, `cargo xtask simulate`, is in [`simulate`].
//!
//! The bench builds every function as it is deployed, for this machine's processor, and runs the real
//! binaries with a Lambda Runtime API ([`environment`]), the variables of `template.yaml` ([`template`]), and
//! an AWS and a Slack that count and time every call ([`aws`]). What a function sends to a queue invokes the
//! next ([`driver`]).
//!
//! - **Init**: from exec to the first poll for an invocation. All functions and the floor are started in
//!   turn, so that a slow moment of the machine meets all of them.
//! - **The floor**: a function that does nothing, on the same runtime crate, in the same run, between the
//!   others.
//! - **Warm time**: how long processors worked at an invocation, from the poll that got it to the next one,
//!   in all threads of the process, without the kernel's work for the network: for each call the time of a
//!   bare exchange of as many bytes with the same endpoint, which the floor makes. Beside it is the wall
//!   time from handing the event out to the answer, without the time in which the endpoint was at a call.
//!   The first three invocations of an environment do not count.
//! - **Calls**, and **units** as DynamoDB counts them ([`fake_aws::Units`]): of an ordinary invocation in
//!   the table, of the worst in the limits. Invocations with a version conflict are reported apart.
//! - **Memory**: the most that was resident (`VmHWM`) after everything; **size**: of the zip.
//! - **The ordinary task**: a slash command, TASK_SUBMIT, TASK_ACK, 10 TASK_PROGRESS, 100 TASK_STREAM (one
//!   message each 100 ms, in real time), TASK_COMPLETE, and what Slack is shown of it, in warm environments.
//!   What the task's timers do after its end is counted too. Prices are in `prices.json`.

#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "it measures real or virtual time, and its numbers are far below 2^52"
)]

mod agent;
mod agent_messages;
mod aws;
mod build;
mod common;
mod driver;
mod environment;
mod events;
mod invocation;
mod limits;
mod prices;
mod report;
mod scenario;
mod simulate;
mod table;
mod template;
mod testbed;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use bematic_local::ui::Ui;
use clap::{Args, value_parser};
use xtask::Workspace;

use crate::common::{FLOOR_FUNCTION, millis, percentile, write_json};
use crate::invocation::{Invocation, SpecialCase};
use crate::prices::Prices;
use crate::report::{FloorRow, FunctionRow, Report, StartFigures};
use crate::scenario::{BUSY_LOOP_FLOOR_CASE, EXCHANGING_FLOOR_CASE, SPINS_PER_INVOCATION};
pub use crate::simulate::{Options as SimulateOptions, simulate};
use crate::testbed::Testbed;

/// The options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// Write the report here, for machines.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Build and report this function only; the others take part as they were built before.
    #[arg(long)]
    only: Option<String>,
    /// How often everything is done.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u16).range(1..))]
    rounds: u16,
    /// Build with this profile of cargo's, for trying the bench itself.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Runs the bench, and prints the table.
pub async fn bench(workspace: &Workspace, options: &BenchOptions, ui: &Ui) -> Result<()> {
    let functions = workspace.function_names()?;
    let wanted = match &options.only {
        Some(name) if functions.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no function {name}, but {}", functions.join(", ")),
        None => functions.clone(),
    };
    let prices = Prices::load()?;
    let binaries = build::build_functions(workspace, &wanted, &options.profile, ui).await?;
    let all_there = functions.iter().all(|name| binaries.contains_key(name));
    let testbed = Testbed::new(workspace, binaries.clone()).await?;
    let inits = measure_starts_in_turn(&testbed, &wanted, options.rounds, ui).await?;
    let mut task = None;
    if all_there {
        let step = ui.begin_step("Sending everything");
        // The floor is among the rest, so that a slow moment of the machine meets both.
        for round in 0..options.rounds {
            scenario::calibrate_exchange(&testbed).await?;
            scenario::run_every_message_case(&testbed, round).await?;
        }
        step.succeed(&format!("{} invocations", testbed.invocation_log().len()));
        let step = ui.begin_step("Running the ordinary task");
        let row = scenario::run_ordinary_task(&testbed, &prices).await?;
        step.succeed(&format!("{} invocations", row.lambda_invocations));
        task = Some(row);
    } else {
        ui.print_line("messages are left out: not every function was built before");
    }
    let starts = |name: &str| -> Result<StartFigures> {
        let (init, peak_kb) = &inits[name];
        Ok(StartFigures {
            init_ms_p50: percentile(init, 50).unwrap_or_default(),
            init_ms_p99: percentile(init, 99).unwrap_or_default(),
            max_rss_kb: testbed.peak_memory_kb(name)?.max(*peak_kb),
            zip_bytes: build::zipped_size(&binaries[name])?,
        })
    };
    let row = |name: &String| -> Result<FunctionRow> {
        let (name, starts) = (name.clone(), starts(name)?);
        Ok(FunctionRow { name, starts })
    };
    let functions = wanted.iter().map(row).collect::<Result<_>>()?;
    let mut log = std::mem::take(&mut *testbed.invocation_log());
    let floor = floor_row(starts(FLOOR_FUNCTION)?, &log);
    log.retain(|it| wanted.contains(&it.function));
    // The network is left out: what bare exchanges in the place of the calls would take.
    let exchange = Duration::from_secs_f64(floor.exchange_ms.unwrap_or_default() / 1000.0);
    for it in &mut log {
        let network = exchange * u32::try_from(it.calls.len())?;
        it.warm = it.warm.saturating_sub(network);
    }
    let mut report = Report {
        profile: options.profile.clone(),
        rounds: options.rounds,
        prices_of: prices.date,
        floor,
        functions,
        messages: report::message_rows(&log),
        longest_chain: testbed.longest_chain(),
        task,
        limits: Vec::new(),
    };
    report.limits = limits::check(&report, &log);
    if options.only.is_some() {
        report.limits.retain(|limit| limit.worst.is_some());
    }
    ui.print_line(&table::render_report(&report));
    write_json(options.json.as_deref(), &report)
}

/// Starts every function and the floor in turn. Returns the milliseconds from exec to the first poll of
/// each start, and the most memory in KB, by function.
async fn measure_starts_in_turn(
    testbed: &Testbed,
    wanted: &[String],
    rounds: u16,
    ui: &Ui,
) -> Result<BTreeMap<String, (Vec<f64>, u64)>> {
    let step = ui.begin_step("Starting the functions");
    let mut starts: BTreeMap<String, (Vec<f64>, u64)> = BTreeMap::new();
    // The first start of each reads its binary from the disk.
    for round in 0..=rounds {
        step.show_note(&format!("{round} of {rounds}"));
        for name in wanted.iter().map(String::as_str).chain([FLOOR_FUNCTION]) {
            let environment = testbed.start_environment(name).await?;
            let (init, peak_kb) = starts.entry(name.to_owned()).or_default();
            *peak_kb = environment.peak_memory_kb()?.max(*peak_kb);
            if round > 0 {
                init.push(millis(environment.init));
            }
        }
    }
    step.succeed(&format!("{rounds} times"));
    Ok(starts)
}

fn floor_row(starts: StartFigures, log: &[Invocation]) -> FloorRow {
    let warm = |case: SpecialCase| {
        let own = log.iter().filter(|it| it.function == FLOOR_FUNCTION);
        report::warm_times(&own.filter(|it| it.kind.case == case).collect::<Vec<_>>())
    };
    let median = |case| warm(case).warm_ms_p50;
    let exchanges = median(EXCHANGING_FLOOR_CASE).zip(median(BUSY_LOOP_FLOOR_CASE));
    let exchange_ms =
        exchanges.map(|(with, without)| (with - without) / f64::from(SPINS_PER_INVOCATION));
    FloorRow {
        starts,
        warm: warm(None),
        exchange_ms: exchange_ms.map(|ms| ms.max(0.0)),
    }
}

/// The calls and units of the ordinary task, and the limits that are exceeded.
#[derive(Debug)]
pub struct OrdinaryTaskCounts {
    /// The invocations of all functions.
    pub lambda_invocations: usize,
    /// The read request units.
    pub read_units: f64,
    /// The write request units.
    pub write_units: f64,
    /// The limits of the bench, other than times, that are exceeded or were not measured.
    pub exceeded: Vec<String>,
}

/// Counts what everything costs, once, with the functions that the local stack runs, whatever their profile.
pub async fn measure_counts(workspace: &Workspace) -> Result<OrdinaryTaskCounts> {
    let functions = workspace.function_names()?.into_iter();
    let binaries = functions.map(|name| (name.clone(), workspace.bootstrap_path(&name)));
    let testbed = Testbed::new(workspace, binaries.collect()).await?;
    scenario::run_every_message_case(&testbed, 0).await?;
    let task = scenario::run_ordinary_task(&testbed, &Prices::load()?).await?;
    let limits = limits::check_counts(&testbed.invocation_log(), &task);
    let exceeded = limits.iter().filter(|limit| !limit.met);
    Ok(OrdinaryTaskCounts {
        lambda_invocations: task.lambda_invocations,
        read_units: task.read_units,
        write_units: task.write_units,
        exceeded: exceeded.map(|it| format!("{it:?}")).collect(),
    })
}
