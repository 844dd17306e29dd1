//! The simulation: `cargo xtask simulate`.
//!
//! Many agents and many tasks, in one process and in virtual time ([`run`]). Real are the handlers, the
//! adapters and the SDK's clients, each function's environments with memories of their own, and the
//! queues' batches and limits as `template.yaml` has them ([`lambda`]). `fake-aws` decides every condition
//! and counts every unit. Assumed is how long a call takes (`prices.json`) and how long an environment takes
//! to start. Left out are other quotas, failures, and the way between agents, API Gateway and Lambda. All is
//! done for a task, for an agent's heartbeats or its connecting, or for the sweeper ([`meter`]).

mod fleet;
mod lambda;
mod meter;
mod report;
mod run;
mod table;

use std::path::PathBuf;

use anyhow::{Result, bail};
use bematic_local::ui::Ui;
use clap::Args;
use serde::Serialize;
use xtask::Workspace;

use self::report::{LadderRung, Load, RunFigures};
use crate::{common::write_json, prices::Prices, template::Template};

/// The options of `cargo xtask simulate`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    load: Load,
    /// Write the report here, for machines.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    run: RunFigures,
    /// The same few tasks with ever more agents.
    ladder: Vec<LadderRung>,
}

/// Runs what was asked for, and the same few tasks with 10 agents, 100 and so on up to as many.
/// Fails if a task's cost depends on how many agents there are.
pub fn simulate(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let (template, prices) = (Template::read(workspace)?, Prices::load()?);
    let step = ui.begin_step("Simulating");
    let mut run = |load: Load| {
        let note = |what: &str| step.show_note(&format!("{} agents: {what}", load.agents));
        run::run_in_virtual_time(&template, &prices, load, &note)
    };
    let load = options.load;
    let (ladder, last) = report::run_ladder(load, &prices, &mut run)?;
    let run = match last {
        Some(last) if last.load == load => last,
        _ => run(load)?,
    };
    step.succeed(&format!("{} runs", ladder.len()));
    ui.print_line(&table::render_report(&run, &ladder, &prices));
    let report = Report { run, ladder };
    write_json(options.json.as_deref(), &report)?;
    if report.ladder.iter().any(|rung| !rung.is_cost_flat()) {
        bail!("a task's cost is not the same however many agents there are");
    }
    Ok(())
}
