//! The agents: they connect, say every 20 s that they are there, and do the tasks that they are
//! sent as the ordinary task is done in the bench.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_admin::Admin;
use bematic_protocol::ids::AgentId;
use bematic_test_agent::{
    Agent, CloudMessage, Deed, Ledger, Offer, Outgoing, Plan, Script, Settings, Spelling, What,
};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::lambda::Lambda;
use super::meter::{Cause, Meter};
use crate::common::lock;
use crate::driver::Driver;
use crate::events::Socket;
use crate::scenario::PACE;
use crate::words::{self, CAPACITY, CHUNKS, HEARTBEAT_EVERY, STEPS};

/// A message that no agent sends again: nothing gets lost here.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// An agent, seen from outside.
#[derive(Debug)]
struct Member {
    id: AgentId,
    key: String,
    connection: String,
    inbox: mpsc::UnboundedSender<CloudMessage>,
    /// The receiving end, until the agent connects.
    unread: Mutex<Option<mpsc::UnboundedReceiver<CloudMessage>>>,
}

/// What became of the tasks.
#[derive(Debug, Default)]
struct Seen {
    /// When each was asked for, by its number.
    asked: HashMap<u64, Instant>,
    /// From the command to the task's being sent to its agent.
    dispatched: Vec<Duration>,
    /// The most tasks that were asked for and not yet sent.
    waiting: usize,
    complaints: Vec<String>,
}

/// How tasks came to their agents.
pub(super) struct Dispatched {
    /// From each command to its task's being sent.
    pub(super) after: Vec<Duration>,
    /// The most tasks that waited for that.
    pub(super) waiting: usize,
    /// Tasks that were sent once more.
    pub(super) repeated: usize,
}

/// All agents.
pub(super) struct Fleet {
    driver: Arc<Driver<Lambda>>,
    meter: Arc<Meter>,
    agents: Vec<Member>,
    /// What the agents did.
    ledger: Ledger,
    seen: Mutex<Seen>,
    connected: AtomicUsize,
    over: AtomicBool,
}

/// The channel that an agent's tasks are asked for in.
pub(super) fn channel(agent: usize) -> String {
    format!("C0SIM{agent}")
}

/// What a task is told apart by: the end of its prompt.
pub(super) fn numbered(prompt: &str, number: u64) -> String {
    format!("{prompt} #{number}")
}

fn number(prompt: &str) -> Option<u64> {
    prompt.rsplit_once('#')?.1.parse().ok()
}

/// Returns the plan of an ordinary task.
fn ordinary(offer: &Offer) -> Plan {
    let run = offer.run();
    let reports = words::reports(STEPS, CHUNKS).map(|report| words::report(run, report));
    let messages = reports.chain([words::complete(run)]);
    let mut at = Duration::ZERO;
    let messages = messages.map(|message| {
        at += PACE;
        (at, message)
    });
    Plan {
        messages: messages.collect(),
        ..Plan::accept()
    }
}

/// Returns the cause of an agent's message.
fn cause(message: &Outgoing) -> Cause {
    match message.message.kind.as_str() {
        "AGENT_STATUS" => Cause::Connect,
        "HEARTBEAT_PING" => Cause::Presence,
        // The sweeper asked.
        "HEARTBEAT_PONG" => Cause::Sweep,
        _ => Cause::Task,
    }
}

/// Whether the simulation's agents may be sent such a message.
fn is_expected(message: &CloudMessage) -> bool {
    let expected = [
        "TASK_SUBMIT",
        "MESSAGE_ACK",
        "HEARTBEAT_PING",
        "HEARTBEAT_PONG",
    ];
    expected.contains(&message.kind.as_str())
}

impl Fleet {
    /// Makes so many agents, none of them connected.
    pub(super) async fn new(
        driver: Arc<Driver<Lambda>>,
        meter: Arc<Meter>,
        admin: &Admin,
        count: usize,
    ) -> Result<Arc<Self>> {
        let mut agents = Vec::with_capacity(count);
        for n in 0..count {
            let made = admin
                .create_agent(format!("box-{n}").parse()?, false)
                .await?;
            let (inbox, unread) = mpsc::unbounded_channel();
            agents.push(Member {
                id: made.agent_id,
                key: made.api_key,
                connection: format!("{n}="),
                inbox,
                unread: Mutex::new(Some(unread)),
            });
        }
        Ok(Arc::new(Self {
            driver,
            meter,
            agents,
            ledger: Ledger::default(),
            seen: Mutex::default(),
            connected: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }))
    }

    pub(super) fn id(&self, agent: usize) -> Option<&AgentId> {
        self.agents.get(agent).map(|agent| &agent.id)
    }

    /// Agents that are connected.
    pub(super) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// No more heartbeats.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Connects an agent, which then says that it is there until the end.
    pub(super) fn connect(self: &Arc<Self>, agent: usize) {
        let fleet = self.clone();
        spawn_local(async move {
            let live = fleet.live(agent);
            if let Err(error) = live.await {
                fleet.complain(format!("{error:#}"));
            }
        });
    }

    async fn live(self: &Arc<Self>, n: usize) -> Result<()> {
        let member = self.agents.get(n).context("there is no such agent")?;
        let mut inbox = lock(&member.unread)
            .take()
            .context("the agent is connected already")?;
        let key = Some((member.id.as_str(), member.key.as_str()));
        let causes = [Cause::Connect; 2];
        let socket = self.driver.connect(&member.connection, key, causes).await?;
        let clock = &self.driver.clock;
        let mut agent = self.agent(&member.id);
        for status in agent.connected(clock.now()) {
            self.send(&socket, Cause::Connect, &status).await;
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        loop {
            let due = agent.next_due().map(|at| at.since(clock.now()));
            tokio::select! {
                Some(message) = inbox.recv() => {
                    for answer in agent.receive(&message, clock.now()) {
                        // Nothing about the task is sent before the acknowledgement was handled.
                        self.send(&socket, cause(&answer), &answer).await;
                    }
                }
                () = sleep(due.unwrap_or(HEARTBEAT_EVERY)) => {
                    for message in agent.due(clock.now()) {
                        self.clone().send_beside(socket.clone(), message);
                    }
                }
            }
        }
    }

    fn agent(self: &Arc<Self>, id: &AgentId) -> Agent {
        let fleet = self.clone();
        let script: Script = Box::new(move |offer| {
            fleet.given(offer);
            ordinary(offer)
        });
        let settings = Settings {
            capacity: CAPACITY,
            heartbeat: HEARTBEAT_EVERY,
            resend: NEVER,
            ..Settings::new(id.clone())
        };
        let now = self.driver.clock.now();
        Agent::new(settings, script, self.ledger.clone(), now)
    }

    /// Sends a message when it is due, whether or not the one before was handled.
    fn send_beside(self: Arc<Self>, socket: Socket, message: Outgoing) {
        let cause = cause(&message);
        if cause == Cause::Presence && self.over.load(Ordering::Relaxed) {
            return;
        }
        spawn_local(async move { self.send(&socket, cause, &message).await });
    }

    /// Sends a message and waits until it was handled.
    async fn send(&self, socket: &Socket, cause: Cause, message: &Outgoing) {
        let text = message.text(Spelling::Canonical);
        if let Err(error) = self.driver.message(socket, &text, cause).await {
            self.complain(format!("{error:#}"));
        }
    }

    pub(super) fn complain(&self, complaint: String) {
        lock(&self.seen).complaints.push(complaint);
    }

    /// A task is about to be asked for.
    pub(super) fn asked(&self, number: u64) {
        let mut seen = lock(&self.seen);
        seen.asked.insert(number, Instant::now());
        seen.waiting = seen.waiting.max(seen.asked.len());
    }

    /// Hears what is posted to connections, as long as the simulation lasts.
    pub(super) async fn hear(self: Arc<Self>) {
        loop {
            self.meter.posted.notified().await;
            for (connection, body) in self.driver.aws.connections().take_posts() {
                let agent = connection.trim_end_matches('=').parse::<usize>().ok();
                let member = agent.and_then(|agent| self.agents.get(agent));
                let message = CloudMessage::read(&String::from_utf8_lossy(&body));
                match (member, message) {
                    (Some(member), Ok(message)) if is_expected(&message) => {
                        // An agent that has ended reads nothing.
                        member.inbox.send(message).ok();
                    }
                    (_, message) => self.complain(format!("{message:?} to {connection}")),
                }
            }
        }
    }

    fn given(&self, offer: &Offer) {
        let prompt = offer.payload["prompt"].as_str().unwrap_or_default();
        let mut seen = lock(&self.seen);
        let asked = number(prompt).and_then(|number| seen.asked.remove(&number));
        match asked {
            Some(asked) => seen.dispatched.push(asked.elapsed()),
            None => seen
                .complaints
                .push(format!("{} was not asked for", offer.id)),
        }
    }

    /// Tasks whose end was confirmed.
    pub(super) fn ended(&self) -> usize {
        self.count(|deed| *deed == Deed::Confirmed)
    }

    fn count(&self, wanted: impl Fn(&Deed) -> bool) -> usize {
        let wanted = |what: &What| matches!(what, What::Run(_, deed) if wanted(deed));
        self.ledger.count(wanted)
    }

    /// How the tasks came to their agents.
    pub(super) fn dispatched(&self) -> Dispatched {
        let offered = self.count(|deed| matches!(deed, Deed::Offered { .. }));
        let seen = lock(&self.seen);
        let repeated = offered.saturating_sub(seen.dispatched.len());
        Dispatched {
            after: seen.dispatched.clone(),
            waiting: seen.waiting,
            repeated,
        }
    }

    /// # Errors
    /// If an agent was sent what it should not have been.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.seen).complaints.first() {
            None => Ok(()),
            Some(complaint) => bail!("an agent of the simulation was told: {complaint}"),
        }
    }
}
