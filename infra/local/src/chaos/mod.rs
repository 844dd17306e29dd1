//! `cargo xtask chaos`: many agents and operators on a stack where everything fails now and then,
//! and a verdict on whether anything was lost, run twice, stuck or leaked.
//!
//! The agents are of this module, one asynchronous task each, and keep the [`ledger`] of what
//! really ran; the operators remember what they were told. For a while the connections are cut, the
//! messages lost, doubled, delayed and reordered, the functions' calls to AWS made to fail, and the
//! agents killed. Then all is calm, and the run waits until it has come to rest. [`verdict`] then
//! compares the ledger, the operators' memory, the store and Slack; it says there what is checked.
//!
//! Whatever is random comes from one seed. The same seed gives the same agents, operators and
//! disturbances, though not the same run: how they fall together is the machine's doing.

mod agent;
mod ledger;
mod operator;
mod settle;
mod snapshot;
mod weather;
mod webhook;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bematic::time::{Clock as _, SystemClock};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt as _, SeedableRng as _, TryRng as _};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use self::agent::{Agent, Door, Temper};
use self::ledger::{Deed, Ledger, What as Happened};
use self::operator::{Book, Diligence, Operator};
use self::weather::Weather;
use self::webhook::Webhook;
use self::world::World;
use crate::build::{self, What};
use crate::paths::{StackDir, Workspace};
use crate::process::Processes;
use crate::session::session;
use crate::stack::{Ports, Stack};
use crate::ui::{Step, Ui};
use crate::venv;

/// Timers that end within the run.
const TIMERS: [(&str, &str); 5] = [
    ("TaskAckSeconds", "15"),
    ("TaskLeaseSeconds", "90"),
    ("TaskCancelSeconds", "15"),
    ("TaskWaitSeconds", "3600"),
    // What is told of every task would cost as much as the tasks do.
    ("LogLevel", "WARN"),
];

/// What `chaos` is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Agents, each with a channel, a project and an operator of its own.
    pub agents: usize,
    /// Tasks that an agent takes at once.
    pub concurrency: usize,
    /// Tasks in all.
    pub tasks: usize,
    /// How long it is disturbed.
    pub time: Duration,
    /// What all that is random comes from; another one each time if `None`.
    pub seed: Option<u64>,
    /// Where the verdict is written for machines.
    pub json: Option<PathBuf>,
}

/// Runs on a stack of its own.
pub async fn chaos(workspace: &Workspace, options: &Options, ui: &Ui) -> Result<()> {
    let dir = StackDir::chaos(workspace);
    session(&dir, async |processes: &mut Processes| {
        venv::ensure(workspace, ui).await?;
        build::build(workspace, What::Stack, ui).await?;
        let ports = Ports::default();
        let stack = Stack::start_with(workspace, &dir, processes, ports, &TIMERS, ui).await?;
        let outcome = run(&stack, options, ui).await;
        stack.slack.shutdown().await;
        outcome
    })
    .await
}

async fn run(stack: &Stack, options: &Options, ui: &Ui) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => SysRng.try_next_u64().context("no random numbers")?,
    };
    ui.line(&format!("seed {seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let weather = Weather::over(stack);
    let world = World::make(&stack.file, options.agents).await?;
    let ledger = Ledger::default();
    let book = Book::default();
    let agents = agents(&world, options, &weather, &ledger, &mut rng);
    let mut operators = operators(&world, options, &book, &mut rng)?;
    let step = ui.step("Disturbing");
    let begun = SystemClock.now();
    let mut tick = interval(Duration::from_secs(1));
    let mut n = 0;
    loop {
        tokio::select! {
            done = operators.join_next() => if done.is_none() { break },
            _ = tick.tick() => {
                let t = format!("{:.0} s: {}", SystemClock.now().since(begun).as_secs_f64(), progress(&ledger, &book));
                step.note(&t);
                n += 1;
                if n % 10 == 0 { ui.line(&t); }
            }
        }
    }
    step.done(&progress(&ledger, &book));
    let step = ui.step("Settling");
    let snap = settle::settle(&world, &agents, &ledger, &step).await?;
    step.done(&format!("{:.0} s: {}", SystemClock.now().since(begun).as_secs_f64(), progress(&ledger, &book)));
    let mut by = std::collections::BTreeMap::<&str, usize>::new();
    for s in snap.tasks.values() { *by.entry(s.task.state.name()).or_default() += 1; }
    ui.line(&format!("{by:?} cards {}", snap.cards.len()));
    Ok(())
}

fn agents(
    world: &World,
    options: &Options,
    weather: &Weather,
    ledger: &Ledger,
    rng: &mut StdRng,
) -> Vec<Agent> {
    world
        .keys()
        .map(|(id, key)| {
            let door = Door {
                url: weather.rough_door(rng.random()),
                agent: id.clone(),
                api_key: key.to_owned(),
            };
            let (temper, seed) = (Temper::default(), rng.random());
            Agent::start(door, options.concurrency, temper, seed, ledger.clone())
        })
        .collect()
}

/// The operators, at work: the tasks are shared out among them.
fn operators(
    world: &World,
    options: &Options,
    book: &Book,
    rng: &mut StdRng,
) -> Result<JoinSet<()>> {
    let mut at_work = JoinSet::new();
    for (number, channel) in world.channels().enumerate() {
        let webhook = Webhook::new(world.stack(), channel)?;
        let diligence = Diligence {
            tasks: (options.tasks + number) / options.agents,
            over: options.time,
        };
        let rng = StdRng::seed_from_u64(rng.random());
        at_work.spawn(Operator::new(webhook, diligence, rng, book.clone()).work());
    }
    Ok(at_work)
}

fn progress(ledger: &Ledger, book: &Book) -> String {
    let (asked, known) = (book.asked(), book.known().tasks.len());
    let started = ledger.count(|what| matches!(what, Happened::Run(_, Deed::Started)));
    let confirmed = ledger.count(|what| matches!(what, Happened::Run(_, Deed::Confirmed)));
    format!("{asked} asked, {known} known, {started} started, {confirmed} confirmed")
}
