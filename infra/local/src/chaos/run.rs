//! A run from its first task to its verdict.

use std::time::Duration;

use anyhow::Result;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use bematic_test_agent::{Deed, Ledger, Settings, What};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::agent::{Interruption, RunningAgent};
use super::explain::explain;
use super::faults::{self, FaultPlan};
use super::operator::{Operator, SharedRecord};
use super::options::Options;
use super::report::Report;
use super::settle;
use super::verdict::{Evidence, judge};
use super::webhook::Webhook;
use super::world::World;
use crate::session::Session;
use crate::stack::Stack;
use crate::ui::Step;

/// The time within which an attempt must be acknowledged: the value of `TaskAckSeconds`.
const ACK_DEADLINE: Duration = Duration::from_secs(15);
/// The disturbance of an agent's connection, as the [edge](crate::edge) parses it.
const DISTURBANCE: &str = "reorder:0.2,double:0.1,delay:0.2,drop:0.02,cut:0.005";
/// The probability that a function's call to AWS fails.
const FAILING_CALLS: f64 = 0.02;
/// The interval at which the progress is shown.
const TICK: Duration = Duration::from_secs(1);

/// The agents and operators of a run, and their records.
struct Participants {
    agents: Vec<RunningAgent>,
    ledger: Ledger,
    record: SharedRecord,
    /// The operators who still type.
    operators: JoinSet<()>,
}

/// Runs on a stack that nobody else uses.
pub(super) async fn run(
    session: &Session<'_>,
    stack: &Stack,
    options: &Options,
    seed: u64,
) -> Result<Report> {
    let (ui, begun) = (session.ui, SystemClock.now());
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::make(&stack.file, options.agents).await?;
    let mut participants = Participants::assemble(&world, options, &mut rng);
    let step = ui.step(&format!("Letting failures loose, seed {seed}"));
    let calls_seed = rng.random();
    if !options.calm {
        stack.edge.disturb_calls(calls_seed, FAILING_CALLS);
    }
    disturb(&world, options, &mut participants, &mut rng, &step).await?;
    stack.edge.calm();
    participants.calm(&world).await?;
    step.done(&participants.progress());
    let calm_at = SystemClock.now();
    let ended_disturbed = participants.count(|deed| matches!(deed, Deed::Reported(_)));
    let step = ui.step("Waiting until all has come to rest");
    let snapshot =
        settle::settle(&world, &participants.agents, &participants.ledger, &step).await?;
    step.done(&participants.progress());
    let ledger = participants.ledger.entries();
    let operators = participants.record.lock().clone();
    let verdict = judge(&Evidence {
        ledger: &ledger,
        operators: &operators,
        snapshot: &snapshot,
        ack_deadline: ACK_DEADLINE,
        capacity: options.concurrency,
    });
    explain(session, &stack.file, &ledger, &verdict).await?;
    Ok(Report {
        seed,
        agents: options.agents,
        concurrency: options.concurrency,
        disturbed_ms: millis(calm_at, begun),
        ended_disturbed,
        whole_ms: millis(SystemClock.now(), begun),
        calls: stack.edge.call_counts(),
        unanswered: operators.unanswered,
        verdict,
    })
}

/// Disturbs the run until the time is over and all operators have typed all commands.
async fn disturb(
    world: &World,
    options: &Options,
    participants: &mut Participants,
    rng: &mut StdRng,
    step: &Step,
) -> Result<()> {
    let mut faults = FaultPlan::new(options, StdRng::seed_from_u64(rng.random()));
    let mut tick = interval(TICK);
    let over = sleep(options.time());
    tokio::pin!(over);
    let mut time_is_over = false;
    while !time_is_over || !participants.operators.is_empty() {
        tokio::select! {
            () = &mut over, if !time_is_over => time_is_over = true,
            Some(_) = participants.operators.join_next() => {}
            _ = tick.tick() => {
                step.note(&participants.progress());
                if !options.calm {
                    faults.inject(world, &participants.agents, SystemClock.now()).await?;
                }
            }
        }
    }
    Ok(())
}

impl Participants {
    fn assemble(world: &World, options: &Options, rng: &mut StdRng) -> Self {
        let (ledger, record) = (Ledger::default(), SharedRecord::default());
        let url = &world.stack.websocket_url;
        let agents = world.keys.iter().map(|(id, key)| {
            let settings = Settings {
                capacity: options.concurrency,
                ..Settings::new(id.clone())
            };
            let seed: u64 = rng.random();
            let url = if options.calm {
                url.clone()
            } else {
                format!("{url}?disturb=seed:{seed},{DISTURBANCE}")
            };
            RunningAgent::start(settings, key, url, rng.random(), ledger.clone())
        });
        let agents = agents.collect();
        let mut operators = JoinSet::new();
        for (number, channel) in world.channels.iter().enumerate() {
            let webhook = Webhook::new(world, channel);
            // Shared out among them, the rest too.
            let tasks = (options.tasks + number) / options.agents;
            let rng = StdRng::seed_from_u64(rng.random());
            let operator = Operator::new(webhook, tasks, options.time(), rng, record.clone());
            operators.spawn(operator.work());
        }
        Self {
            agents,
            ledger,
            record,
            operators,
        }
    }

    /// Ends all disturbances: the agents connect again, without any.
    async fn calm(&self, world: &World) -> Result<()> {
        for agent in &self.agents {
            agent.interrupt(Interruption {
                url: Some(world.stack.websocket_url.clone()),
                ..Interruption::default()
            });
        }
        faults::end(world).await
    }

    fn count(&self, wanted: fn(&Deed) -> bool) -> usize {
        let of = |what: &What| matches!(what, What::Run(_, deed) if wanted(deed));
        self.ledger.count(of)
    }

    fn progress(&self) -> String {
        let asked = self.record.lock().asked;
        let begun = self.count(|deed| matches!(deed, Deed::Started));
        let ended = self.count(|deed| matches!(deed, Deed::Confirmed));
        format!("{asked} asked for, {begun} begun, {ended} ended")
    }
}

fn millis(now: Timestamp, since: Timestamp) -> u64 {
    now.as_millis().saturating_sub(since.as_millis())
}
