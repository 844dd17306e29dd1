//! The simulation: `cargo xtask simulate`.
//!
//! Many agents and many tasks, in one process and in virtual time ([`time`]). What is real are the
//! handlers, the adapters and the SDK's clients, each function's environments with memories of
//! their own ([`lambda`]), and the queues' batches and limits ([`crate::driver`]) as `template.yaml` has
//! them. `fake-aws` decides every condition and counts every unit.
//! What is assumed is how long a call takes (`prices.json`: always as long), how long an environment
//! takes to start, and which of the free ones Lambda chooses. What is left out are quotas, other
//! than those of the template's queues, failures, and the way between agents, API Gateway and
//! Lambda.
//!
//! Whatever is done is done for a task, for an agent's being there or its coming, or for the
//! sweeper ([`meter`]): so that a task has a cost however many agents are idle.

mod flat;
mod fleet;
mod lambda;
mod meter;
mod report;
mod run;
mod slack;
mod table;
mod time;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bematic_local::ui::Ui;
use serde::Serialize;
use xtask::Workspace;

pub use self::flat::{Rung, TOLERANCE};
pub use self::lambda::Usage;
pub use self::meter::{Account, Cause, Hottest};
pub use self::report::{AgentHour, Dispatch, Load, Outcome};
use crate::prices::Prices;
use crate::template::Template;

/// How it is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is put on it.
    pub load: Load,
    /// Where the report is written to, for machines.
    pub json: Option<PathBuf>,
}

/// All that is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The run that was asked for.
    run: Outcome,
    /// The same few tasks with ever more agents.
    ladder: Vec<Rung>,
}

/// Runs what was asked for, and the same few tasks with 10 agents, 100 and so on up to as many.
///
/// # Errors
/// If something went wrong in it, or a task's cost depends on how many agents there are.
pub async fn simulate(workspace: &Workspace, options: Options, ui: &Ui) -> Result<()> {
    let (template, prices) = (Template::read(workspace)?, Prices::read()?);
    let step = ui.step("Simulating");
    let (sender, mut notes) = tokio::sync::mpsc::unbounded_channel();
    let load = options.load;
    let running = tokio::task::spawn_blocking({
        let prices = prices.clone();
        move || all(&template, &prices, load, &sender)
    });
    while let Some(note) = notes.recv().await {
        step.note(&note);
    }
    let report = running.await??;
    step.done(&format!("{} runs", report.ladder.len()));
    ui.line(&table::table(&report.run, &report.ladder, &prices));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if report.ladder.iter().any(|rung| !rung.is_flat()) {
        bail!("a task's cost is not the same however many agents there are");
    }
    Ok(())
}

fn all(
    template: &Template,
    prices: &Prices,
    load: Load,
    notes: &tokio::sync::mpsc::UnboundedSender<String>,
) -> Result<Report> {
    let mut run = |load: Load| {
        let agents = load.agents;
        // Nobody listens if the command was interrupted.
        let note = |what: &str| drop(notes.send(format!("{agents} agents: {what}")));
        run::run(template, prices, load, &note)
    };
    let (ladder, last) = flat::climb(load, prices, &mut run)?;
    let run = match last {
        Some(last) if last.load == load => last,
        _ => run(load)?,
    };
    Ok(Report { run, ladder })
}
