//! One run: so many agents, so many tasks a second, for so long, until all are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic::agent::SEEN_EVERY;
use bematic_admin::Admin;
use bematic_protocol::ids::Ids;
use bematic_protocol::time::Clock;
use fake_aws::FakeAws;
use local_slack::Slack;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::fleet::{self, Fleet};
use super::lambda::{Lambda, Usage};
use super::meter::{Account, Cause, Meter, ToAws};
use super::report::{Load, Outcome};
use super::time::{SeededIds, VirtualClock};
use crate::driver::Driver;
use crate::prices::Prices;
use crate::scenario::{ASKED, administration, bind};
use crate::slack::{add_channel, slack};
use crate::template::Template;
use crate::words::HEARTBEAT_EVERY;

/// Where API Gateway is.
const URL: &str = "http://simulated.invalid";
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
    driver: Arc<Driver<Lambda>>,
    meter: Arc<Meter>,
    fleet: Arc<Fleet>,
    /// What goes on as long as the run.
    tasks: JoinSet<Result<()>>,
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
    let functions = world.driver.functions.take_usage();
    world.fleet.end();
    let mut accounts = world.meter.accounts();
    note("waiting for the timers");
    world.drain().await?;
    // A task's cost is all that it ever causes; the others' is that of the seconds that were told.
    accounts.insert(Cause::Task, world.meter.account(Cause::Task));
    accounts.insert(Cause::Connect, connecting);
    Ok(world.outcome(load, seconds, accounts, functions))
}

impl World {
    async fn new(
        template: &Template,
        prices: Prices,
        load: Load,
        commands: &[Command],
    ) -> Result<Self> {
        let virtual_clock = VirtualClock::start();
        let clock: Arc<dyn Clock> = Arc::new(virtual_clock);
        let ids: Arc<dyn Ids> = Arc::new(SeededIds::new(virtual_clock, load.seed));
        let time = move || virtual_clock.now().as_millis();
        let aws = FakeAws::new(&template.aws, Arc::new(time));
        aws.meter(true);
        aws.calls().keep(false);
        let meter = Arc::new(Meter::new(prices));
        aws.hook(ToAws(meter.clone()));
        let functions = template.functions(&aws, URL)?;
        let micros = move || virtual_clock.now().as_millis() * 1000;
        let slack = slack(local_slack::Clock::new(micros));
        let lambda = Lambda::new(&functions, &aws, &meter, &slack, &clock, &ids)?;
        let admin = administration(aws.unobserved().sdk_config());
        let driver = Arc::new(Driver::new(aws, lambda, &functions, clock));
        let all = (driver.clone(), meter.clone());
        let fleet = Fleet::new(all.0, all.1, &admin, load.agents).await?;
        bind_channels(&admin, &slack, &fleet, commands).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(driver.clone().feed());
        let hearing = fleet.clone().hear();
        tasks.spawn_local(async {
            hearing.await;
            Ok(())
        });
        Ok(Self {
            driver,
            meter,
            fleet,
            tasks,
        })
    }

    async fn connect(&mut self, agents: usize) -> Result<()> {
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
    async fn wait(&mut self, begun: Instant) -> Result<()> {
        self.meter.check()?;
        self.fleet.check()?;
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
        }
        if begun.elapsed() > PATIENCE {
            let (connected, ended) = (self.fleet.connected(), self.fleet.ended());
            bail!("it does not end: {connected} agents connected, {ended} tasks ended");
        }
        sleep(LOOK).await;
        Ok(())
    }

    fn sweep(&mut self) {
        let driver = self.driver.clone();
        self.tasks.spawn_local(async move {
            loop {
                sleep(SWEEP).await;
                // What fails is tried again in a minute.
                driver.sweep(Cause::Sweep).await.ok();
            }
        });
    }

    /// Begins to count; what connecting cost until now.
    fn forget(&self) -> Account {
        self.driver.functions.take_usage();
        let mut accounts = self.meter.take().accounts;
        accounts.remove(&Cause::Connect).unwrap_or_default()
    }

    /// Asks for every task when it is its time.
    async fn ask(&self, commands: &[Command]) {
        let begun = Instant::now();
        for (number, command) in (0..).zip(commands) {
            sleep_until(begun + command.at).await;
            self.fleet.asked(number);
            let (driver, fleet) = (self.driver.clone(), self.fleet.clone());
            let channel = fleet::channel(command.agent);
            let (trigger, text) = (format!("t{number}"), fleet::numbered(ASKED, number));
            spawn_local(async move {
                let asked = driver.command(&channel, &trigger, &text, Cause::Task);
                if let Err(error) = asked.await {
                    fleet.complain(format!("{error:#}"));
                }
            });
        }
    }

    /// Until every task has ended.
    async fn settle(&mut self, asked: usize) -> Result<()> {
        let begun = Instant::now();
        while self.fleet.ended() < asked {
            self.wait(begun).await?;
        }
        Ok(())
    }

    /// Until nothing waits in any queue: what is left are timers.
    async fn drain(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.driver.aws.next_due().is_some() {
            self.wait(begun).await?;
        }
        Ok(())
    }

    fn outcome(
        &self,
        load: Load,
        seconds: f64,
        accounts: BTreeMap<Cause, Account>,
        functions: BTreeMap<String, Usage>,
    ) -> Outcome {
        Outcome {
            load,
            tasks: self.fleet.ended(),
            seconds,
            dispatched: self.fleet.dispatched().into(),
            accounts,
            functions,
            hottest: self.meter.hottest(),
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

async fn bind_channels(
    admin: &Admin,
    slack: &Slack,
    fleet: &Fleet,
    commands: &[Command],
) -> Result<()> {
    let mut agents: Vec<_> = commands.iter().map(|command| command.agent).collect();
    agents.sort_unstable();
    agents.dedup();
    for agent in agents {
        let id = fleet.id(agent).context("there is no such agent")?;
        let channel = fleet::channel(agent);
        add_channel(slack, &channel);
        bind(admin, &channel, id).await?;
    }
    Ok(())
}
