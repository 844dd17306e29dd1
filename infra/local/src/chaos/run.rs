//! A run from its first task to its verdict.

use std::time::Duration;

use anyhow::Result;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use bematic_test_agent::{Deed, Ledger, Settings, What};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use xtask::Workspace;

use super::agent::RunningAgent;
use super::conditions::NetworkConditions;
use super::explain::explain;
use super::operator::{Book, Diligence, Operator};
use super::options::Options;
use super::report::Report;
use super::settle;
use super::trouble::{self, Trouble};
use super::verdict::{Evidence, judge};
use super::webhook::Webhook;
use super::world::World;
use crate::stack::Stack;
use crate::ui::{Step, Ui};

/// How long an attempt may take to be acknowledged: as `TaskAckSeconds` says.
const ACK_DEADLINE: Duration = Duration::from_secs(15);
/// How often the progress is noted.
const TICK: Duration = Duration::from_secs(1);

/// Everybody who takes part.
struct Cast {
    agents: Vec<RunningAgent>,
    ledger: Ledger,
    book: Book,
    /// The operators who still type.
    operators: JoinSet<()>,
}

/// Runs on a stack that nobody else uses.
pub(super) async fn run(
    workspace: &Workspace,
    stack: &Stack,
    options: &Options,
    seed: u64,
    ui: &Ui,
) -> Result<Report> {
    let begun = SystemClock.now();
    let mut rng = StdRng::seed_from_u64(seed);
    let conditions = NetworkConditions::over(stack, options.calm);
    let world = World::make(&stack.file, options.agents).await?;
    let mut cast = Cast::assemble(&world, options, &conditions, &mut rng)?;
    let step = ui.step(&format!("Letting failures loose, seed {seed}"));
    conditions.storm(rng.random())?;
    disturb(&world, options, &mut cast, &mut rng, &step).await?;
    conditions.calm();
    cast.rest(&world, &conditions).await?;
    step.done(&cast.progress());
    let calm_at = SystemClock.now();
    let ended_disturbed = cast.count(|deed| matches!(deed, Deed::Reported(_)));
    let step = ui.step("Waiting until all has come to rest");
    let snapshot = settle::settle(&world, &cast.agents, &cast.ledger, &step).await?;
    step.done(&cast.progress());
    let ledger = cast.ledger.entries();
    let verdict = judge(&Evidence {
        ledger: &ledger,
        known: &cast.book.known(),
        snapshot: &snapshot,
        ack_deadline: ACK_DEADLINE,
        capacity: options.concurrency,
    });
    explain(workspace, &stack.file, &ledger, &verdict, ui).await?;
    Ok(Report {
        seed,
        agents: options.agents,
        concurrency: options.concurrency,
        disturbed_ms: millis(calm_at, begun),
        ended_disturbed,
        whole_ms: millis(SystemClock.now(), begun),
        calls: conditions.calls(),
        unanswered: cast.book.known().unanswered,
        verdict,
    })
}

/// Until the time is over and all operators have typed all that they had in mind.
async fn disturb(
    world: &World,
    options: &Options,
    cast: &mut Cast,
    rng: &mut StdRng,
    step: &Step,
) -> Result<()> {
    let mut trouble = Trouble::new(options, StdRng::seed_from_u64(rng.random()));
    let mut tick = interval(TICK);
    let over = sleep(options.time);
    tokio::pin!(over);
    let mut time_is_over = false;
    while !time_is_over || !cast.operators.is_empty() {
        tokio::select! {
            () = &mut over, if !time_is_over => time_is_over = true,
            Some(_) = cast.operators.join_next() => {}
            _ = tick.tick() => {
                step.note(&cast.progress());
                if !options.calm {
                    trouble.make(world, &cast.agents, SystemClock.now()).await?;
                }
            }
        }
    }
    Ok(())
}

impl Cast {
    fn assemble(
        world: &World,
        options: &Options,
        conditions: &NetworkConditions<'_>,
        rng: &mut StdRng,
    ) -> Result<Self> {
        let (ledger, book) = (Ledger::default(), Book::default());
        let agents = world.keys().map(|(id, key)| {
            let settings = Settings {
                capacity: options.concurrency,
                ..Settings::new(id.clone())
            };
            let url = conditions.rough_door(rng.random());
            RunningAgent::start(settings, key, url, rng.random(), ledger.clone())
        });
        let agents = agents.collect();
        let mut operators = JoinSet::new();
        for (number, channel) in world.channels().enumerate() {
            let webhook = Webhook::new(world.stack(), channel)?;
            let diligence = Diligence {
                // Shared out among them, the rest too.
                tasks: (options.tasks + number) / options.agents,
                over: options.time,
            };
            let rng = StdRng::seed_from_u64(rng.random());
            operators.spawn(Operator::new(webhook, diligence, rng, book.clone()).work());
        }
        Ok(Self {
            agents,
            ledger,
            book,
            operators,
        })
    }

    /// From now on nobody is disturbed any more.
    async fn rest(&self, world: &World, conditions: &NetworkConditions<'_>) -> Result<()> {
        for agent in &self.agents {
            agent.move_to(conditions.fair_door());
        }
        trouble::end(world).await
    }

    fn count(&self, wanted: fn(&Deed) -> bool) -> usize {
        let of = |what: &What| matches!(what, What::Run(_, deed) if wanted(deed));
        self.ledger.count(of)
    }

    fn progress(&self) -> String {
        let asked = self.book.asked();
        let begun = self.count(|deed| matches!(deed, Deed::Started));
        let ended = self.count(|deed| matches!(deed, Deed::Confirmed));
        format!("{asked} asked for, {begun} begun, {ended} ended")
    }
}

fn millis(now: Timestamp, since: Timestamp) -> u64 {
    now.as_millis().saturating_sub(since.as_millis())
}
