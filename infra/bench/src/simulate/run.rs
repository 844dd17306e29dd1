//! One run: so many agents, so many tasks a second, for so long, until all are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic::agent::SEEN_EVERY;
use bematic::handlers::dispatch::Dispatcher;
use bematic::handlers::notify::Notifier;
use bematic::handlers::sweep::Sweeper;
use bematic::handlers::webhook::{Request, Webhook};
use bematic_admin::Admin;
use bematic_protocol::time::Clock as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::cloud::Cloud;
use super::feed::feed;
use super::fleet::{self, Fleet};
use super::functions::Functions;
use super::lambda::Usage;
use super::meter::{Account, CAUSE, Cause};
use super::report::{Load, Outcome};
use crate::events;
use crate::prices::Prices;
use crate::scenario::{ASKED, administration, bind};
use crate::stage::SECRET;
use crate::template::Template;
use crate::words::HEARTBEAT_EVERY;

/// All agents connect within this time, evenly, so that their heartbeats come evenly.
const CONNECT: Duration = HEARTBEAT_EVERY;
/// How often the sweeper runs.
const SWEEP: Duration = Duration::from_mins(1);
/// How long everything may take, beyond all reason.
const PATIENCE: Duration = Duration::from_hours(6);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(100);

/// Runs it in virtual time; `note` is told how far it is.
pub(super) fn run(
    template: &Template,
    prices: &Prices,
    load: Load,
    note: &dyn Fn(&str),
) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    // The sweeper's future is not one for several threads, as far as the compiler can see.
    LocalSet::new().block_on(&runtime, simulate(template, prices.clone(), load, note))
}

/// What is there while it runs.
struct World {
    cloud: Arc<Cloud>,
    functions: Arc<Functions>,
    fleet: Arc<Fleet>,
    /// Ends with the run.
    tasks: JoinSet<()>,
}

async fn simulate(
    template: &Template,
    prices: Prices,
    load: Load,
    note: &dyn Fn(&str),
) -> Result<Outcome> {
    note("making the agents");
    let commands = commands(load);
    let mut world = World::new(template, prices, load, &commands).await?;
    note("connecting");
    world.connect(load.agents).await?;
    world.sweep();
    sleep(SEEN_EVERY + HEARTBEAT_EVERY).await;
    let connecting = world.forget();
    note("running");
    let begun = Instant::now();
    world.ask(&commands).await;
    world.settle(commands.len()).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let functions = world.functions.take_usage();
    world.fleet.end();
    let mut accounts = world.cloud.meter().accounts.clone();
    note("waiting for the timers");
    world.drain().await?;
    // A task's cost is all that it ever causes; the others' is that of the seconds that were told.
    let tasks = world.cloud.meter().accounts.get(&Cause::Task).cloned();
    accounts.extend(tasks.map(|account| (Cause::Task, account)));
    accounts.extend(connecting.map(|account| (Cause::Connect, account)));
    Ok(world.outcome(load, seconds, accounts, functions))
}

impl World {
    async fn new(
        template: &Template,
        prices: Prices,
        load: Load,
        commands: &[Command],
    ) -> Result<Self> {
        let (posted, hears) = mpsc::unbounded_channel();
        let cloud = Cloud::new(template, prices, posted)?;
        let config = cloud.config();
        let functions = Arc::new(Functions::new(&cloud, &config, template, load.seed)?);
        let admin = administration(config);
        let (agents, all) = (load.agents, (cloud.clone(), functions.clone()));
        let fleet = Fleet::new(all.0, all.1, &admin, agents).await?;
        bind_channels(&admin, &fleet, commands).await?;
        let mut world = Self {
            cloud,
            functions,
            fleet,
            tasks: JoinSet::new(),
        };
        world.tasks.spawn(world.fleet.clone().hear(hears));
        world.feed();
        Ok(world)
    }

    fn feed(&mut self) {
        self.tasks.spawn(feed(
            self.cloud.clone(),
            self.functions.dispatcher.clone(),
            self.functions.dispatches.clone(),
            async |dispatcher: Arc<Dispatcher>, message| dispatcher.handle(message).await,
        ));
        self.tasks.spawn(feed(
            self.cloud.clone(),
            self.functions.notifier.clone(),
            self.functions.notifications.clone(),
            async |notifier: Arc<Notifier>, message| notifier.handle(message).await,
        ));
    }

    async fn connect(&self, agents: usize) -> Result<()> {
        let begun = Instant::now();
        for agent in 0..agents {
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
            let part = agent as f64 / agents as f64;
            sleep_until(begun + CONNECT.mul_f64(part)).await;
            self.fleet.connect(agent);
        }
        while self.fleet.connected() < agents {
            self.wait(begun).await?;
        }
        Ok(())
    }

    /// Until the next look, unless something is wrong.
    async fn wait(&self, begun: Instant) -> Result<()> {
        self.cloud.state().check()?;
        self.fleet.check()?;
        if begun.elapsed() > PATIENCE {
            let (connected, ended) = (self.fleet.connected(), self.fleet.ended());
            bail!("it does not end: {connected} agents connected, {ended} tasks ended");
        }
        sleep(LOOK).await;
        Ok(())
    }

    fn sweep(&mut self) {
        let (cloud, functions) = (self.cloud.clone(), self.functions.clone());
        self.tasks.spawn_local(async move {
            loop {
                sleep(SWEEP).await;
                let work = |sweeper: Arc<Sweeper>| async move {
                    let swept = CAUSE.scope(Cause::Sweep, sweeper.sweep()).await;
                    // It tries again in a minute, like the real one.
                    swept.ok();
                };
                let sweeper = &functions.sweeper;
                sweeper.invoke(&cloud, &[Cause::Sweep], work).await;
            }
        });
    }

    /// Begins to count; what connecting cost until now.
    fn forget(&self) -> Option<Account> {
        self.functions.take_usage();
        let mut meter = self.cloud.meter();
        let connecting = meter.accounts.get(&Cause::Connect).cloned();
        meter.reset();
        connecting
    }

    /// Asks for every task when it is its time.
    async fn ask(&self, commands: &[Command]) {
        let begun = Instant::now();
        for (number, command) in (0..).zip(commands) {
            sleep_until(begun + command.at).await;
            self.fleet.asked(number);
            let (cloud, functions) = (self.cloud.clone(), self.functions.clone());
            let channel = fleet::channel(command.agent);
            tokio::spawn(async move { ask(&cloud, &functions, &channel, number).await });
        }
    }

    /// Until every task has ended.
    async fn settle(&self, asked: usize) -> Result<()> {
        let begun = Instant::now();
        while self.fleet.ended() < asked {
            self.wait(begun).await?;
        }
        Ok(())
    }

    /// Until nothing waits in any queue: what is left are timers.
    async fn drain(&self) -> Result<()> {
        let begun = Instant::now();
        while self.cloud.state().queues.is_waiting() {
            self.wait(begun).await?;
        }
        // What was received last is still being handled.
        sleep(SWEEP).await;
        self.wait(begun).await
    }

    fn outcome(
        &self,
        load: Load,
        seconds: f64,
        accounts: BTreeMap<Cause, Account>,
        functions: BTreeMap<&'static str, Usage>,
    ) -> Outcome {
        Outcome {
            load,
            tasks: self.fleet.ended(),
            seconds,
            dispatched: self.fleet.dispatched().into(),
            accounts,
            functions,
            hottest: self.cloud.meter().hottest(),
        }
    }
}

/// A task that will be asked for.
#[derive(Debug, Clone, Copy)]
struct Command {
    at: Duration,
    agent: usize,
}

/// At random times, for random agents: the same times for any number of agents.
fn commands(load: Load) -> Vec<Command> {
    let mut random = StdRng::seed_from_u64(load.seed);
    let mut at = 0.0;
    let end = Duration::from_secs(load.seconds).as_secs_f64();
    let mut commands = Vec::new();
    loop {
        let chance: f64 = random.random();
        at -= (1.0 - chance).ln() / load.tasks_per_second;
        let agent = random.random_range(0..load.agents.max(1));
        // Never, where there are no tasks a second.
        if at.is_nan() || at >= end {
            return commands;
        }
        let at = Duration::from_secs_f64(at);
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

/// Sends the command as Slack would.
async fn ask(cloud: &Cloud, functions: &Functions, channel: &str, number: u64) {
    cloud.meter().request(Cause::Task);
    let now = cloud.clock.now();
    let text = fleet::numbered(ASKED, number);
    let signed = events::signed(SECRET, channel, &format!("t{number}"), &text, now);
    let work = |webhook: Arc<Webhook>| async move {
        let header = |name: &str| signed.headers.get(name).map(String::as_str);
        let request = Request::new(signed.path, header, signed.body.as_bytes());
        CAUSE.scope(Cause::Task, webhook.handle(request)).await
    };
    functions.webhook.invoke(cloud, &[Cause::Task], work).await;
}
