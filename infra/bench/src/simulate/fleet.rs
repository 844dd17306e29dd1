//! The agents: they connect, say every 20 s that they are there, and do the tasks that they are
//! sent as the ordinary task is done in the bench.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_admin::Admin;
use bematic_protocol::ids::{AgentId, Ids as _, RandomIds, TaskId};
use bematic_protocol::messages::{AgentMessage, Envelope, Spelling};
use bematic_protocol::time::Timestamp;
use serde_json::Value;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::lambda::Lambda;
use super::meter::{Cause, Meter};
use crate::driver::Driver;
use crate::events::Socket;
use crate::lock;
use crate::scenario::PACE;
use crate::words::{self, CHUNKS, Given, HEARTBEAT_EVERY, Report, STEPS};

/// An agent.
#[derive(Debug)]
struct Agent {
    id: AgentId,
    key: String,
    connection: String,
    socket: OnceLock<Socket>,
    /// Tasks that it has at present.
    tasks: Mutex<Vec<TaskId>>,
}

/// What became of the tasks.
#[derive(Debug, Default)]
struct Seen {
    /// When each was asked for, by its number.
    asked: HashMap<u64, Instant>,
    /// From the command to the task's being sent to its agent.
    dispatched: Vec<Duration>,
    /// Ids of messages that end a task, which are to be confirmed.
    ending: HashSet<String>,
    /// Tasks whose end was confirmed.
    ended: usize,
    /// Tasks that were sent once more.
    repeated: u64,
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
    pub(super) repeated: u64,
}

/// All agents.
pub(super) struct Fleet {
    driver: Arc<Driver<Lambda>>,
    meter: Arc<Meter>,
    agents: Vec<Agent>,
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
            agents.push(Agent {
                id: made.agent_id,
                key: made.api_key,
                connection: format!("{n}="),
                socket: OnceLock::new(),
                tasks: Mutex::default(),
            });
        }
        Ok(Arc::new(Self {
            driver,
            meter,
            agents,
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
        let agent = self.agents.get(n).context("there is no such agent")?;
        self.handshake(agent).await?;
        self.say(n, Cause::Connect, words::status(&agent.id)).await;
        self.connected.fetch_add(1, Ordering::Relaxed);
        loop {
            sleep(HEARTBEAT_EVERY).await;
            if self.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let tasks = lock(&agent.tasks).clone();
            self.say(n, Cause::Presence, words::ping(tasks)).await;
        }
    }

    async fn handshake(&self, agent: &Agent) -> Result<()> {
        let key = Some((agent.id.as_str(), agent.key.as_str()));
        let causes = [Cause::Connect; 2];
        let socket = self.driver.connect(&agent.connection, key, causes).await?;
        agent.socket.set(socket).ok();
        Ok(())
    }

    /// Sends a message and waits until it was handled.
    async fn say(&self, agent: usize, cause: Cause, message: AgentMessage) {
        let envelope = Envelope {
            id: RandomIds.message(),
            timestamp: self.driver.clock.now(),
            message,
        };
        if matches!(envelope.message, AgentMessage::TaskComplete(_)) {
            let id = envelope.id.to_string();
            lock(&self.seen).ending.insert(id);
        }
        let Some(agent) = self.agents.get(agent) else {
            return;
        };
        match envelope.encode(Spelling::Canonical) {
            Ok(text) => self.send(agent, cause, text).await,
            Err(error) => self.complain(error.to_string()),
        }
    }

    async fn send(&self, agent: &Agent, cause: Cause, text: String) {
        let Some(socket) = agent.socket.get() else {
            return;
        };
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
                let message = serde_json::from_slice(&body).unwrap_or_default();
                match connection.trim_end_matches('=').parse() {
                    Ok(agent) => self.heard(agent, &message),
                    Err(_) => self.complain(format!("posted to {connection}")),
                }
            }
        }
    }

    fn heard(self: &Arc<Self>, agent: usize, message: &Value) {
        match message["type"].as_str().unwrap_or_default() {
            "TASK_SUBMIT" => self.given(agent, message),
            "MESSAGE_ACK" => {
                let id = message["payload"]["messageId"].as_str();
                let mut seen = lock(&self.seen);
                if id.is_some_and(|id| seen.ending.remove(id)) {
                    seen.ended += 1;
                }
            }
            "HEARTBEAT_PING" => self.echo(agent, message),
            "HEARTBEAT_PONG" => {}
            _ => self.complain(message.to_string()),
        }
    }

    fn echo(self: &Arc<Self>, n: usize, message: &Value) {
        let asked = message["payload"]["serverTime"].as_u64();
        let asked = Timestamp::from_millis(asked.unwrap_or_default());
        let fleet = self.clone();
        spawn_local(async move {
            let Some(agent) = fleet.agents.get(n) else {
                return;
            };
            let tasks = lock(&agent.tasks).clone();
            let pong = words::pong(&agent.id, asked, tasks);
            // The sweeper asked.
            fleet.say(n, Cause::Sweep, pong).await;
        });
    }

    fn given(self: &Arc<Self>, n: usize, message: &Value) {
        let (Some(given), Some(agent)) = (Given::of(message), self.agents.get(n)) else {
            self.complain(message.to_string());
            return;
        };
        let prompt = message["payload"]["prompt"].as_str().unwrap_or_default();
        let mut seen = lock(&self.seen);
        let asked = number(prompt).and_then(|number| seen.asked.remove(&number));
        let Some(asked) = asked else {
            // An agent runs an attempt once.
            seen.repeated += 1;
            return;
        };
        seen.dispatched.push(asked.elapsed());
        drop(seen);
        lock(&agent.tasks).push(given.task);
        let fleet = self.clone();
        spawn_local(async move {
            fleet.work(n, given).await;
        });
    }

    /// Sends each report when it is due, whether or not the one before was handled.
    async fn work(self: &Arc<Self>, n: usize, given: Given) {
        self.say(n, Cause::Task, words::ack(given)).await;
        for report in words::reports(STEPS, CHUNKS) {
            sleep(PACE).await;
            let message = match report {
                Report::Step(step) => words::progress(given, step),
                Report::Chunk(seq) => words::stream(given, seq),
            };
            let fleet = self.clone();
            spawn_local(async move { fleet.say(n, Cause::Task, message).await });
        }
        sleep(PACE).await;
        // Free before it says so, or the next task would find it full.
        if let Some(agent) = self.agents.get(n) {
            lock(&agent.tasks).retain(|task| *task != given.task);
        }
        self.say(n, Cause::Task, words::complete(given)).await;
    }

    /// Tasks whose end was confirmed.
    pub(super) fn ended(&self) -> usize {
        lock(&self.seen).ended
    }

    /// How the tasks came to their agents.
    pub(super) fn dispatched(&self) -> Dispatched {
        let seen = lock(&self.seen);
        Dispatched {
            after: seen.dispatched.clone(),
            waiting: seen.waiting,
            repeated: seen.repeated,
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
