//! One run: so many agents, so many tasks a second, for so long, until all are done.
//!
//! Tokio's paused clock keeps the virtual time: it stands still while anything is computed, and jumps to the
//! next timer when nothing is left to do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use bematic::agent::HEARTBEAT_RECORD_INTERVAL;
use bematic_admin::IssuedKey;
use bematic_protocol::ids::{BatchId, IdGenerator, MessageId, RandomIds, TaskId};
use bematic_protocol::time::{Clock, Timestamp};
use fake_aws::FakeAws;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::{Builder, Uuid};

use super::fleet::{Fleet, channel_id};
use super::lambda::{Lambda, SIMULATED_BASE_URL};
use super::meter::{AwsCallMeter, Meter, WorkCause};
use super::report::{Load, RunFigures};
use crate::agent_messages::HEARTBEAT_EVERY;
use crate::aws::{add_slack_channel, build_slack, store_membership, store_secrets};
use crate::common::lock;
use crate::driver::{Cloud, FunctionInvoker as _};
use crate::prices::Prices;
use crate::scenario::{admin_client, create_channel_project};
use crate::template::Template;

/// All agents connect within this time, evenly, so that their heartbeats come evenly.
const CONNECT_WINDOW: Duration = HEARTBEAT_EVERY;
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// How long everything may take, beyond all reason.
const WAIT_TIMEOUT: Duration = Duration::from_hours(6);
const DONE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs the simulation in virtual time; `note` is called with how far it is.
pub(super) fn run_in_virtual_time(
    template: &Template,
    prices: &Prices,
    load: Load,
    note: &dyn Fn(&str),
) -> Result<RunFigures> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build()?;
    // The sweeper's future is not one for several threads, as far as the compiler can see.
    LocalSet::new().block_on(&runtime, simulate_load(template, prices, load, note))
}

async fn simulate_load(
    template: &Template,
    prices: &Prices,
    load: Load,
    note: &dyn Fn(&str),
) -> Result<RunFigures> {
    note("making the agents");
    let commands = random_commands(load);
    let fleet = build_fleet(template, prices, load, &commands).await?;
    let (lambda, meter) = (&fleet.lambda, &fleet.lambda.meter);
    // What goes on as long as the run.
    let mut background = JoinSet::new();
    for (function, source) in lambda.cloud.event_source_mappings() {
        background.spawn_local(
            lambda
                .clone()
                .run_event_source_mapping(function.to_owned(), source.clone()),
        );
    }
    background.spawn_local(fleet.clone().deliver_posts_to_agents());
    note("connecting");
    let begun = Instant::now();
    for agent in 0..load.agents {
        let part = agent as f64 / load.agents as f64;
        sleep_until(begun + CONNECT_WINDOW.mul_f64(part)).await;
        fleet.spawn_agent(agent);
    }
    let connected = || fleet.lock_progress().connected >= load.agents;
    wait_until(&fleet, &mut background, connected).await?;
    background.spawn_local(sweep_periodically(lambda.clone()));
    sleep(HEARTBEAT_RECORD_INTERVAL + HEARTBEAT_EVERY).await;
    lambda.take_usage();
    let mut connecting = std::mem::take(&mut *meter.lock_state()).accounts;
    note("running");
    let begun = Instant::now();
    for (number, (at, agent)) in (0..).zip(&commands) {
        sleep_until(begun + *at).await;
        fleet.request_task(number, *agent);
    }
    let ended = || fleet.ended_task_count() >= commands.len();
    wait_until(&fleet, &mut background, ended).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let functions = lambda.take_usage();
    fleet.lock_progress().heartbeats_ended = true;
    let mut accounts = meter.lock_state().accounts.clone();
    note("waiting for the timers");
    let idle = || lambda.cloud.aws.next_due().is_none();
    wait_until(&fleet, &mut background, idle).await?;
    let mut counts = std::mem::take(&mut *meter.lock_state());
    // A task's cost is all that it ever causes; the others' is that of the seconds of the run.
    let task = counts.accounts.remove(&WorkCause::Task);
    accounts.insert(WorkCause::Task, task.unwrap_or_default());
    let connecting = connecting.remove(&WorkCause::Connect);
    accounts.insert(WorkCause::Connect, connecting.unwrap_or_default());
    Ok(RunFigures {
        load,
        tasks: fleet.ended_task_count(),
        seconds,
        dispatched: fleet.dispatch_figures(),
        accounts,
        functions,
        hottest: counts.hottest,
        longest_chain: counts.longest_chain,
    })
}

async fn build_fleet(
    template: &Template,
    prices: &Prices,
    load: Load,
    commands: &[(Duration, usize)],
) -> Result<Arc<Fleet>> {
    let clock = VirtualClock(Instant::now());
    let random = Mutex::new(StdRng::seed_from_u64(load.seed));
    let ids: Arc<dyn IdGenerator> = Arc::new(SeededIds { clock, random });
    let aws = FakeAws::new(&template.aws, Arc::new(move || clock.now().as_millis()));
    store_secrets(&aws);
    store_membership(&aws, clock.now()).await?;
    aws.set_request_unit_metering(true);
    aws.calls().set_recording(false);
    let meter = Arc::new(Meter::new(prices.clone()));
    aws.add_hook(AwsCallMeter(meter.clone()));
    let functions = template.functions(&aws, SIMULATED_BASE_URL)?;
    let micros = move || clock.now().as_millis() * 1000;
    let slack = build_slack(local_slack::Clock::new(micros));
    let admin = admin_client(aws.unobserved().sdk_config());
    let clock = Arc::new(clock);
    let cloud = Cloud {
        aws,
        functions,
        clock,
    };
    let lambda = Lambda::new(cloud, meter, slack.clone(), &ids)?;
    let mut agents: Vec<IssuedKey> = Vec::with_capacity(load.agents);
    for n in 0..load.agents {
        let name = format!("box-{n}").parse()?;
        agents.push(admin.create_agent(name, false).await?);
    }
    let with_tasks: BTreeSet<_> = commands.iter().map(|(_, agent)| *agent).collect();
    for agent in with_tasks {
        add_slack_channel(&slack, &channel_id(agent));
        create_channel_project(&admin, &channel_id(agent), &agents[agent].agent_id).await?;
    }
    Ok(Fleet::new(lambda, agents))
}

/// Waits until something is done, unless something is wrong.
async fn wait_until(
    fleet: &Fleet,
    background: &mut JoinSet<Result<()>>,
    is_done: impl Fn() -> bool,
) -> Result<()> {
    let begun = Instant::now();
    while !is_done() {
        fleet.lambda.meter.check_no_failures()?;
        if let Some(ended) = background.try_join_next() {
            ended??;
        }
        if begun.elapsed() > WAIT_TIMEOUT {
            let (connected, ended) = (fleet.lock_progress().connected, fleet.ended_task_count());
            bail!("it does not end: {connected} agents connected, {ended} tasks ended");
        }
        sleep(DONE_POLL_INTERVAL).await;
    }
    Ok(())
}

async fn sweep_periodically(lambda: Arc<Lambda>) -> Result<()> {
    loop {
        sleep(SWEEP_INTERVAL).await;
        // What fails is tried again in a minute.
        lambda.sweep(WorkCause::Sweep.into()).await.ok();
    }
}

/// Returns commands at random times, which are the same for any number of agents, each with its random
/// agent.
fn random_commands(load: Load) -> Vec<(Duration, usize)> {
    let mut random = StdRng::seed_from_u64(load.seed);
    let mut at = 0.0;
    let mut commands = Vec::new();
    loop {
        let chance: f64 = random.random();
        at -= (1.0 - chance).ln() / load.tasks_per_second;
        let agent = random.random_range(0..load.agents.max(1));
        // Never, where there are no tasks a second.
        if at.is_nan() || at >= load.seconds as f64 {
            return commands;
        }
        commands.push((Duration::from_secs_f64(at), agent));
    }
}

/// When every simulation begins: 2026-11-25T07:00:00Z.
const SIMULATION_START: Timestamp = Timestamp::from_millis(1_795_590_000_000);

#[derive(Debug, Clone, Copy)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        SIMULATION_START + self.0.elapsed()
    }
}

/// Ids of the usual form, but the same in each run.
#[derive(Debug)]
struct SeededIds {
    clock: VirtualClock,
    random: Mutex<StdRng>,
}

impl SeededIds {
    fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        lock(&self.random).fill_bytes(&mut random);
        Builder::from_unix_timestamp_millis(self.clock.now().as_millis(), &random).into_uuid()
    }
}

impl IdGenerator for SeededIds {
    fn task(&self) -> TaskId {
        TaskId::new(self.uuid())
    }

    fn batch(&self) -> BatchId {
        BatchId::new(self.uuid())
    }

    fn message(&self) -> MessageId {
        // No key or shard is made of these.
        RandomIds.message()
    }
}
