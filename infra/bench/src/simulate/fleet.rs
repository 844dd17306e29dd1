//! The agents: they connect, send heartbeats, and do the tasks that they are sent as the ordinary task is
//! done in the bench.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use bematic_admin::IssuedKey;
use bematic_test_agent::{
    Agent, AgentEvent, AttemptEvent, CloudMessage, EnvelopedMessage, Ledger, Offer, Plan, Settings,
    TypeSpelling,
};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::{lambda::Lambda, meter::WorkCause, report::DispatchFigures};
use crate::agent_messages::{
    self as messages, AGENT_CAPACITY, HEARTBEAT_EVERY, OUTPUT_CHUNKS_PER_TASK, REPORT_INTERVAL,
    STEPS_PER_TASK,
};
use crate::common::{lock, millis, percentile};
use crate::driver::FunctionInvoker as _;
use crate::events::Socket;
use crate::scenario::RUN_TEXT;

/// The messages that agents may be sent here.
const EXPECTED_MESSAGE_KINDS: [&str; 4] = [
    "TASK_SUBMIT",
    "MESSAGE_ACK",
    "HEARTBEAT_PING",
    "HEARTBEAT_PONG",
];
/// When an agent sends a message again: never, since nothing gets lost here.
const NEVER_RESEND: Duration = Duration::from_hours(24 * 365);

#[derive(Debug, Default)]
pub(super) struct FleetProgress {
    pub(super) connected: usize,
    pub(super) heartbeats_ended: bool,
    /// When each task was asked for that was not sent to its agent yet, by its number.
    waiting: HashMap<u64, Instant>,
    most_waiting: usize,
    /// Milliseconds from each command to its task's being sent.
    sent_after: Vec<f64>,
}

pub(super) struct Fleet {
    pub(super) lambda: Arc<Lambda>,
    agents: Vec<IssuedKey>,
    /// Where the messages to agents go, by connection.
    inboxes: Mutex<HashMap<String, mpsc::UnboundedSender<CloudMessage>>>,
    ledger: Ledger,
    progress: Mutex<FleetProgress>,
}

pub(super) fn channel_id(agent: usize) -> String {
    format!("C0SIM{agent}")
}

fn ordinary_task_plan(offer: &Offer) -> Plan {
    let run = offer.run_key();
    let reports = messages::report_messages(run, STEPS_PER_TASK, OUTPUT_CHUNKS_PER_TASK)
        .chain([messages::complete_message(run)]);
    Plan {
        messages: (1..).map(|n| REPORT_INTERVAL * n).zip(reports).collect(),
        ..Plan::accept()
    }
}

fn cause_of_outgoing(message: &EnvelopedMessage) -> WorkCause {
    match message.message.kind.as_str() {
        "AGENT_STATUS" => WorkCause::Connect,
        "HEARTBEAT_PING" => WorkCause::Presence,
        // The sweeper asked.
        "HEARTBEAT_PONG" => WorkCause::Sweep,
        _ => WorkCause::Task,
    }
}

impl Fleet {
    pub(super) fn new(lambda: Lambda, agents: Vec<IssuedKey>) -> Arc<Self> {
        Arc::new(Self {
            lambda: Arc::new(lambda),
            agents,
            inboxes: Mutex::default(),
            ledger: Ledger::default(),
            progress: Mutex::default(),
        })
    }

    pub(super) fn lock_progress(&self) -> MutexGuard<'_, FleetProgress> {
        lock(&self.progress)
    }

    /// Connects an agent, which then sends heartbeats until they end.
    pub(super) fn spawn_agent(self: &Arc<Self>, agent: usize) {
        let fleet = self.clone();
        spawn_local(async move { fleet.record_if_failed(fleet.run_agent(agent).await) });
    }

    /// Connects an agent, and does what it is sent until the simulation ends.
    async fn run_agent(self: &Arc<Self>, n: usize) -> Result<()> {
        let member = self.agents.get(n).context("there is no such agent")?;
        let connection = format!("{n}=");
        let (sender, mut inbox) = mpsc::unbounded_channel();
        lock(&self.inboxes).insert(connection.clone(), sender);
        let key = Some((member.agent_id.as_str(), member.api_key.as_str()));
        let connecting = self
            .lambda
            .connect(&connection, key, [WorkCause::Connect.into(); 2]);
        let socket = connecting.await?;
        let now = || self.lambda.cloud.clock.now();
        let settings = Settings {
            capacity: AGENT_CAPACITY,
            heartbeat: HEARTBEAT_EVERY,
            resend: NEVER_RESEND,
            ..Settings::new(member.agent_id.clone())
        };
        let fleet = self.clone();
        let script = Box::new(move |offer: &Offer| {
            fleet.record_task_sent(offer);
            ordinary_task_plan(offer)
        });
        let mut agent = Agent::new(settings, script, self.ledger.clone(), now());
        for status in agent.on_connected(now()) {
            self.send(&socket, &status).await;
        }
        self.lock_progress().connected += 1;
        loop {
            let due = agent.next_due().map(|at| at.since(now()));
            tokio::select! {
                Some(message) = inbox.recv() => {
                    for answer in agent.receive(&message, now()) {
                        // Nothing about the task is sent before the acknowledgement was handled.
                        self.send(&socket, &answer).await;
                    }
                }
                () = sleep(due.unwrap_or(HEARTBEAT_EVERY)) => {
                    for message in agent.take_due_messages(now()) {
                        if cause_of_outgoing(&message) == WorkCause::Presence
                            && self.lock_progress().heartbeats_ended
                        {
                            continue;
                        }
                        // The next message does not wait until this one was handled.
                        let (fleet, socket) = (self.clone(), socket.clone());
                        spawn_local(async move { fleet.send(&socket, &message).await });
                    }
                }
            }
        }
    }

    async fn send(&self, socket: &Socket, message: &EnvelopedMessage) {
        let text = message.text(TypeSpelling::Canonical);
        let answer = self
            .lambda
            .send_client_message(socket, &text, cause_of_outgoing(message).into())
            .await;
        self.record_if_failed(answer.map(drop));
    }

    /// Asks for a task of an agent, whose prompt ends with the task's number.
    pub(super) fn request_task(self: &Arc<Self>, number: u64, agent: usize) {
        let mut progress = self.lock_progress();
        progress.waiting.insert(number, Instant::now());
        progress.most_waiting = progress.most_waiting.max(progress.waiting.len());
        drop(progress);
        let fleet = self.clone();
        spawn_local(async move {
            let (trigger, text) = (format!("t{number}"), format!("{RUN_TEXT} #{number}"));
            let (channel, lambda) = (channel_id(agent), &fleet.lambda);
            fleet.record_if_failed(
                lambda
                    .send_slash_command(&channel, &trigger, &text, WorkCause::Task.into())
                    .await,
            );
        });
    }

    fn record_task_sent(&self, offer: &Offer) {
        let prompt = offer.payload["prompt"].as_str().unwrap_or_default();
        let number = prompt.rsplit('#').next().and_then(|it| it.parse().ok());
        let mut progress = self.lock_progress();
        match number.and_then(|number: u64| progress.waiting.remove(&number)) {
            Some(asked) => progress.sent_after.push(millis(asked.elapsed())),
            None => self.record_failure(format!("{} was not asked for", offer.id)),
        }
    }

    fn record_failure(&self, failure: String) {
        self.lambda.meter.record_failure(failure);
    }

    fn record_if_failed(&self, result: Result<()>) {
        if let Err(error) = result {
            self.record_failure(format!("{error:#}"));
        }
    }

    /// Delivers what is posted to connections to the inboxes of their agents, without end.
    pub(super) async fn deliver_posts_to_agents(self: Arc<Self>) -> Result<()> {
        loop {
            self.lambda.meter.posted.notified().await;
            for (connection, body) in self.lambda.cloud.aws.connections().take_posts() {
                let message = CloudMessage::read(&String::from_utf8_lossy(&body));
                let inboxes = lock(&self.inboxes);
                match (inboxes.get(&connection), message) {
                    (Some(inbox), Ok(message))
                        if EXPECTED_MESSAGE_KINDS.contains(&message.kind.as_str()) =>
                    {
                        // An agent that has ended reads nothing.
                        inbox.send(message).ok();
                    }
                    (_, message) => {
                        let failure = format!("an agent was sent: {message:?} to {connection}");
                        self.record_failure(failure);
                    }
                }
            }
        }
    }

    pub(super) fn ended_task_count(&self) -> usize {
        let confirmed =
            |what: &AgentEvent| matches!(what, AgentEvent::Run(_, AttemptEvent::Confirmed));
        self.ledger.count_matching(confirmed)
    }

    pub(super) fn dispatch_figures(&self) -> DispatchFigures {
        let is_offer =
            |what: &AgentEvent| matches!(what, AgentEvent::Run(_, AttemptEvent::Offered { .. }));
        let offered = self.ledger.count_matching(is_offer);
        let progress = self.lock_progress();
        let after = |percent| percentile(&progress.sent_after, percent).unwrap_or_default();
        DispatchFigures {
            ms_p50: after(50),
            ms_p95: after(95),
            ms_p99: after(99),
            ms_max: after(100),
            waiting: progress.most_waiting,
            repeated: offered.saturating_sub(progress.sent_after.len()),
        }
    }
}
