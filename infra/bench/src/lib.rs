//! The bench: `cargo xtask bench`.
//!
//! It builds every function as it is deployed, for this machine's processor, and runs the real
//! binaries under a Lambda Runtime API of its own ([`runtime`]), with the environment that
//! `template.yaml` gives them ([`template`]) and with a local endpoint ([`aws`]) of `fake-aws` and Slack
//! that counts and times every call. A handler finds what an earlier one has written, conditions are
//! decided, and what a function sends to a queue invokes the next ([`driver`]). So nothing here says
//! what a message should cost; it is seen.
//!
//! # What is measured
//!
//! - **Init**: from exec to the first poll for an invocation, of processes that are started one
//!   after another, all functions and the floor in turn, so that a slow moment of the machine meets
//!   all of them.
//! - **The floor**: a function that does nothing, on the same runtime crate, in the same run.
//! - **Warm time**: how long a processor worked at an invocation, from the poll that got it to the
//!   next one, in all threads of the process. That leaves out what is waited for, and what other
//!   processes do to the machine meanwhile. What the kernel does for the network is left out as
//!   well: for each call the time of a bare exchange of as many bytes with the same endpoint, which
//!   the floor makes in the same run. Serializing, signing, HTTP and reading answers are in it.
//!   Beside it is told what passed from handing the event out to the
//!   answer, without the time in which the endpoint was at a call (calls side by side count once):
//!   should a function sleep, it is seen there. The first three invocations of an environment do
//!   not count.
//! - **Calls**, and **units** as DynamoDB counts them ([`fake_aws::Units`]): of an ordinary
//!   invocation in the table, of the worst in the targets. An invocation that lost a race, a version
//!   conflict, is told apart: a write that was refused and paid for, a read, and the write.
//! - **Memory**: the most that was resident (`VmHWM`) after everything; **size**: of the zip.
//! - **The ordinary task**: a slash command, TASK_SUBMIT, TASK_ACK, 10 TASK_PROGRESS, 100
//!   TASK_STREAM (one message each 100 ms, in real time), TASK_COMPLETE, and what Slack is shown of
//!   it, in warm environments. Every message of a queue invokes its function by itself. What the
//!   task's timers do after its end is counted too. Prices are in `prices.json`.
//!
//! A heartbeat is written down at most as often as `SEEN_EVERY` says; a minute of it is not waited
//! for, but computed from that.

#![expect(
    clippy::disallowed_methods,
    reason = "the bench measures real time, and the simulation tokio's virtual time"
)]

mod agent;
mod aws;
mod build;
mod common;
mod counts;
mod driver;
mod environment;
mod events;
pub mod log;
pub mod prices;
pub mod report;
mod runtime;
mod scenario;
pub mod simulate;
mod slack;
mod stage;
pub mod stats;
mod table;
pub mod target;
pub mod targets;
pub mod template;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_local::ui::Ui;
use xtask::Workspace;

use crate::common::FLOOR;
pub use crate::counts::{Counts, counts};
use crate::environment::Environment;
use crate::log::Invocation;
use crate::prices::Prices;
use crate::report::{Floor, FunctionRow, Report};
use crate::scenario::{BUSY, EXCHANGES, EXCHANGING};
use crate::stage::Stage;
use crate::stats::{millis, percentile};
use crate::targets::{Measured, targets};
use crate::template::Template;

/// How the bench is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the report is written to, for machines.
    pub json: Option<PathBuf>,
    /// The one function that is built anew and reported of.
    pub only: Option<String>,
    /// How often everything is done.
    pub rounds: usize,
    /// The cargo profile.
    pub profile: String,
}

/// What starting a function showed, start by start.
#[derive(Debug, Default)]
struct Starts {
    init: Vec<f64>,
    peak_kb: u64,
}

/// Runs it and prints the table.
pub async fn bench(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let functions = workspace.functions()?;
    let wanted = match &options.only {
        Some(name) if functions.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no function {name}, but {}", functions.join(", ")),
        None => functions.clone(),
    };
    let template = Template::read(workspace)?;
    let prices = Prices::read()?;
    let binaries = build::build(workspace, &wanted, &options.profile, ui).await?;
    let all_there = functions.iter().all(|name| binaries.contains_key(name));
    let logs = workspace.join("target/bench");
    let mut stage = Stage::new(&template, binaries.clone(), logs).await?;
    let starts = starts(&stage, &wanted, options.rounds, ui).await?;
    let task = if all_there {
        Some(play(&mut stage, options.rounds, &prices, ui).await?)
    } else {
        ui.line("messages are left out: not every function was built before");
        None
    };
    let floor = floor(&stage, &starts, &binaries)?;
    leave_out_network(&mut stage.log(), floor.exchange_ms.unwrap_or_default());
    let rows = wanted
        .iter()
        .map(|name| row(&stage, name, &starts, &binaries));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let reported = |function: &str| wanted.iter().any(|name| name == function);
    let mut messages = report::messages(&stage.log());
    messages.retain(|row| reported(&row.function));
    let mut log = std::mem::take(&mut *stage.log());
    log.retain(|invocation| reported(&invocation.function));
    let mut report = Report {
        profile: options.profile.clone(),
        rounds: options.rounds,
        prices_of: prices.date,
        floor,
        functions: rows,
        messages,
        task,
        targets: Vec::new(),
    };
    report.targets = targets(Measured {
        floor: &report.floor,
        functions: &report.functions,
        messages: &report.messages,
        task: report.task.as_ref(),
        log: &log,
    });
    if options.only.is_some() {
        report.targets.retain(|target| target.worst.is_some());
    }
    ui.line(&table::table(&report));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Starts every function and the floor in turn.
async fn starts(
    stage: &Stage,
    wanted: &[String],
    rounds: usize,
    ui: &Ui,
) -> Result<BTreeMap<String, Starts>> {
    let step = ui.step("Starting the functions");
    let mut starts: BTreeMap<String, Starts> = BTreeMap::new();
    // The first start of each reads its binary from the disk.
    for round in 0..=rounds {
        step.note(&format!("{round} of {rounds}"));
        for name in wanted.iter().map(String::as_str).chain([FLOOR]) {
            let environment: Environment = stage.start(name).await?;
            let of = starts.entry(name.to_owned()).or_default();
            of.peak_kb = of.peak_kb.max(environment.peak_kb()?);
            if round > 0 {
                of.init.push(millis(environment.init));
            }
        }
    }
    step.done(&format!("{rounds} times"));
    Ok(starts)
}

/// Everything that happens, and then the ordinary task.
async fn play(
    stage: &mut Stage,
    rounds: usize,
    prices: &Prices,
    ui: &Ui,
) -> Result<report::TaskRow> {
    let step = ui.step("Sending everything");
    // Among the rest, so that a slow moment of the machine meets both.
    for round in 0..rounds {
        scenario::floor(stage).await?;
        scenario::warm(stage, round).await?;
    }
    step.done(&format!("{} invocations", stage.log().len()));
    let step = ui.step("Running the ordinary task");
    let (first, logged) = scenario::ordinary(stage).await?;
    let row = report::task(&stage.log()[first..], logged, prices);
    step.done(&format!("{} invocations", row.lambda_invocations));
    Ok(row)
}

/// The most memory of a function, whether it was only started or worked.
fn peak_kb(stage: &Stage, name: &str, starts: &Starts) -> Result<u64> {
    let worked = stage.peak_kb(name).transpose()?;
    Ok(worked.unwrap_or_default().max(starts.peak_kb))
}

fn init(starts: &Starts, percent: u32) -> Result<f64> {
    percentile(&starts.init, percent).context("nothing was started")
}

fn floor(
    stage: &Stage,
    starts: &BTreeMap<String, Starts>,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Floor> {
    let row = row(stage, FLOOR, starts, binaries)?;
    let of = |case: Option<&str>| {
        let log = stage.log();
        let own = log.iter().filter(|it| it.function == FLOOR);
        report::warm(own.filter(|it| it.kind.case == case), |it| it.warm)
    };
    let warm = of(None);
    let (busy, exchanging) = (of(Some(BUSY)), of(Some(EXCHANGING)));
    let median = |times: &[f64]| percentile(times, 50);
    let exchanges = median(&exchanging).zip(median(&busy));
    let exchange_ms = exchanges.map(|(with, without)| (with - without) / f64::from(EXCHANGES));
    Ok(Floor {
        init_ms_p50: row.init_ms_p50,
        init_ms_p99: row.init_ms_p99,
        max_rss_kb: row.max_rss_kb,
        zip_bytes: row.zip_bytes,
        warm_ms_p50: percentile(&warm, 50),
        warm_ms_p99: percentile(&warm, 99),
        exchange_ms: exchange_ms.map(|ms| ms.max(0.0)),
    })
}

/// Leaves the network out of the times: what bare exchanges in the place of its calls would take.
fn leave_out_network(log: &mut [Invocation], exchange_ms: f64) {
    for invocation in log.iter_mut().filter(|it| it.function != FLOOR) {
        let calls = u32::try_from(invocation.calls.len()).unwrap_or(u32::MAX);
        let network = Duration::from_secs_f64(exchange_ms / 1000.0) * calls;
        invocation.warm = invocation.warm.saturating_sub(network);
    }
}

fn row(
    stage: &Stage,
    name: &str,
    starts: &BTreeMap<String, Starts>,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<FunctionRow> {
    let of = starts.get(name).context("nothing was started")?;
    let binary = binaries.get(name).context("nothing was built")?;
    Ok(FunctionRow {
        name: name.to_owned(),
        zip_bytes: build::zip_bytes(binary)?,
        init_ms_p50: init(of, 50)?,
        init_ms_p99: init(of, 99)?,
        max_rss_kb: peak_kb(stage, name, of)?,
    })
}
