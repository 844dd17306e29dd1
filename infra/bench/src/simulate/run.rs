//! One run: so many agents, so many tasks a second, for so long, until all are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic::handlers::dispatch::Dispatcher;
use bematic::handlers::notify::Notifier;
use bematic::handlers::sweep::Sweeper;
use bematic::handlers::webhook::{Request, Webhook};
use bematic::slack::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER};
use bematic::time::Clock as _;
use bematic_local::admin::Admin;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::cloud::Cloud;
use super::feed::feed;
use super::fleet::{self, Fleet};
use super::functions::Functions;
use super::lambda::Usage;
use super::meter::{Account, CAUSE, Cause, Hottest};
use crate::events;
use crate::prices::Prices;
use crate::scenario::{ASKED, administration, bind};
use crate::stage::SECRET;
use crate::stats::{millis, percentile};
use crate::template::Template;

/// What is put on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Agents that are connected.
    pub agents: usize,
    /// Commands a second, on average.
    pub tasks_per_second: f64,
    /// Seconds in which they come.
    pub seconds: u64,
    /// What the choices depend on.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What was put on it.
    pub load: Load,
    /// Tasks that were asked for, all of which ended.
    pub tasks: u64,
    /// Tasks that were sent to an agent more than once.
    pub repeated: u64,
    /// The most tasks that were asked for and not yet sent to an agent.
    pub waiting: usize,
    /// Seconds of virtual time, from the first command until all tasks had ended.
    pub seconds: f64,
    /// Milliseconds from a command's arrival to its task's being posted to its agent.
    pub dispatch_ms: BTreeMap<&'static str, f64>,
    /// What was done, by what for.
    pub accounts: BTreeMap<Cause, Account>,
    /// How each function was used in those seconds.
    pub functions: BTreeMap<&'static str, Usage>,
    /// The busiest partitions.
    pub hottest: BTreeMap<String, Hottest>,
    /// Seconds of this machine.
    pub took: f64,
}

/// Handshakes a second while the agents connect: the quota of an account.
const CONNECTS: usize = 500;
/// How long is waited after that, until every agent has said several times that it is there.
const SETTLE: Duration = Duration::from_mins(1);
/// How often the sweeper runs.
const SWEEP: Duration = Duration::from_mins(1);
/// How long after the last command all tasks have to have ended.
const PATIENCE: Duration = Duration::from_hours(2);

/// Runs it in virtual time.
pub fn run(template: &Template, prices: &Prices, load: Load) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, simulate(template, prices.clone(), load))
}

async fn simulate(template: &Template, prices: Prices, load: Load) -> Result<Outcome> {
    #[expect(clippy::disallowed_methods, reason = "how long this machine takes")]
    let started = std::time::Instant::now();
    let (posted, hears) = mpsc::unbounded_channel();
    let cloud = Cloud::new(template, prices, posted)?;
    let config = cloud.config();
    let functions = Arc::new(Functions::new(&cloud, &config, template, load.seed)?);
    let admin = administration(config);
    let fleet = Fleet::new(cloud.clone(), functions.clone(), &admin, load.agents).await?;
    let commands = commands(load);
    bind_channels(&admin, &fleet, &commands).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(fleet.clone().hear(hears));
    feeds(&mut tasks, &cloud, &functions);
    eprintln!("set up {:?}", started.elapsed());
    connect(&fleet, load.agents).await?;
    eprintln!("connected {:?}", started.elapsed());
    tasks.spawn_local(sweep(cloud.clone(), functions.clone()));
    sleep(SETTLE).await;
    eprintln!("settled {:?}", started.elapsed());
    let connecting = cloud.meter().accounts.get(&Cause::Connect).cloned();
    cloud.meter().reset();
    functions.take_usage();
    let begun = Instant::now();
    for (number, command) in (0..).zip(&commands) {
        sleep_until(begun + command.at).await;
        let (cloud, functions, fleet) = (cloud.clone(), functions.clone(), fleet.clone());
        let channel = fleet::channel(command.agent);
        tokio::spawn(async move {
            fleet.asked(number);
            ask(&cloud, &functions, &channel, number).await;
        });
    }
    let asked = commands.len() as u64;
    let last = Instant::now();
    while fleet.ended() < asked {
        if last.elapsed() > PATIENCE {
            bail!("{} of {asked} tasks have not ended", asked - fleet.ended());
        }
        cloud.state().check()?;
        fleet.latencies()?;
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = functions.take_usage();
    eprintln!("ended {:?}", started.elapsed());
    fleet.end();
    let standing = cloud.meter().accounts.clone();
    drain(&cloud).await;
    eprintln!("drained {:?}", started.elapsed());
    cloud.state().check()?;
    let mut accounts = standing;
    if let Some(task) = cloud.meter().accounts.get(&Cause::Task) {
        accounts.insert(Cause::Task, task.clone());
    }
    accounts.extend(connecting.map(|account| (Cause::Connect, account)));
    let (latencies, waiting, repeated) = fleet.latencies()?;
    let latencies: Vec<_> = latencies.into_iter().map(millis).collect();
    let at = |percent| percentile(&latencies, percent).unwrap_or_default();
    let hottest = cloud.meter().hottest();
    Ok(Outcome {
        load,
        tasks: asked,
        repeated,
        waiting,
        seconds,
        dispatch_ms: [("p50", at(50)), ("p95", at(95)), ("p99", at(99)), ("max", at(100))].into(),
        accounts,
        functions: used,
        hottest,
        took: started.elapsed().as_secs_f64(),
    })
}

/// A task that will be asked for.
#[derive(Debug, Clone, Copy)]
struct Command {
    at: Duration,
    agent: usize,
}

/// At random times, for random agents.
fn commands(load: Load) -> Vec<Command> {
    let mut random = StdRng::seed_from_u64(load.seed);
    let mut at = 0.0;
    let mut commands = Vec::new();
    if load.tasks_per_second <= 0.0 {
        return commands;
    }
    let end = Duration::from_secs(load.seconds);
    loop {
        let chance: f64 = random.random();
        at -= (1.0 - chance).ln() / load.tasks_per_second;
        let agent = random.random_range(0..load.agents.max(1));
        let at = Duration::from_secs_f64(at);
        if at >= end {
            return commands;
        }
        commands.push(Command { at, agent });
    }
}

async fn bind_channels(admin: &Admin, fleet: &Fleet, commands: &[Command]) -> Result<()> {
    let mut agents: Vec<_> = commands.iter().map(|command| command.agent).collect();
    agents.sort_unstable();
    agents.dedup();
    for agent in agents {
        let id = fleet.id(agent).context("there is no such agent")?;
        bind(admin, &fleet::channel(agent), id).await?;
    }
    Ok(())
}

fn feeds(tasks: &mut tokio::task::JoinSet<()>, cloud: &Arc<Cloud>, functions: &Functions) {
    tasks.spawn(feed(
        cloud.clone(),
        functions.dispatcher.clone(),
        functions.dispatches.clone(),
        async |dispatcher: Arc<Dispatcher>, message| dispatcher.handle(message).await,
    ));
    tasks.spawn(feed(
        cloud.clone(),
        functions.notifier.clone(),
        functions.notifications.clone(),
        async |notifier: Arc<Notifier>, message| notifier.handle(message).await,
    ));
}

async fn connect(fleet: &Arc<Fleet>, agents: usize) -> Result<()> {
    let pause = Duration::from_secs(1).div_f64(CONNECTS as f64);
    let begun = Instant::now();
    for agent in 0..agents {
        sleep_until(begun + pause * u32::try_from(agent)?).await;
        fleet.connect(agent);
    }
    while fleet.connected() < agents {
        if begun.elapsed() > PATIENCE {
            fleet.latencies()?;
            bail!("only {} of {agents} agents connected", fleet.connected());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn sweep(cloud: Arc<Cloud>, functions: Arc<Functions>) {
    loop {
        sleep(SWEEP).await;
        let sweep = |sweeper: Arc<Sweeper>| async move {
            CAUSE.scope(Cause::Sweep, sweeper.sweep()).await
        };
        let swept = functions.sweeper.invoke(&cloud, &[Cause::Sweep], sweep);
        swept.await.ok();
    }
}

async fn ask(cloud: &Cloud, functions: &Functions, channel: &str, number: u64) {
    cloud.meter().request(Cause::Task);
    let now = cloud.clock.now();
    let text = fleet::numbered(ASKED, number);
    let form = events::signed_form(SECRET, channel, &format!("t{number}"), &text, now);
    let work = |webhook: Arc<Webhook>| async move {
        let header = |name: &str| match name {
            TIMESTAMP_HEADER => Some(form.timestamp.as_str()),
            SIGNATURE_HEADER => Some(form.signature.as_str()),
            _ => None,
        };
        let request = Request::new(events::COMMANDS, header, form.body.as_bytes());
        CAUSE.scope(Cause::Task, webhook.handle(request)).await
    };
    functions.webhook.invoke(cloud, &[Cause::Task], work).await;
}

/// Until nothing waits in any queue: what is left are timers.
async fn drain(cloud: &Cloud) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && cloud.state().queues.is_waiting() {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_mins(1)).await;
}
