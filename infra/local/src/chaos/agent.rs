//! An agent of a run: an asynchronous task that opens its connection again whenever it is lost, and draws a
//! random plan for each attempt.

use std::future::pending;
use std::ops::Range;
use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{
    Agent, AgentMessage, CloudMessage, Connection, HandshakeHeaders, Incoming, Ledger, Offer,
    OfferResponse, Plan, Script, Settings, TypeSpelling,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// The wait after a connection that was refused or lost.
const RECONNECT_DELAY: Duration = Duration::from_millis(700);
/// The time limit of a handshake, and of sending one message.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(20);

/// The duration of a task, in milliseconds.
const TASK_MILLIS: Range<u64> = 300..4000;
/// The duration of a long task: longer than the cloud waits for the acknowledgement.
const LONG_TASK_MILLIS: Range<u64> = 8000..22_000;
/// The probability that a task is a long one.
const LONG_TASK_PROBABILITY: f64 = 0.12;
/// The probability that a task is not acknowledged.
const UNACKNOWLEDGED_PROBABILITY: f64 = 0.06;
/// The probability that a task has progress and output.
const PROGRESS_PROBABILITY: f64 = 0.2;
/// The probability that a task ends in an error.
const FAILURE_PROBABILITY: f64 = 0.05;
/// The probability that a task is refused, though there is room.
const REFUSAL_PROBABILITY: f64 = 0.02;
/// The probability that a cancellation is ignored.
const IGNORE_CANCEL_PROBABILITY: f64 = 0.2;

/// An interruption of an agent: its connection is cut.
#[derive(Debug, Default)]
pub(super) struct Interruption {
    /// The time until the agent connects again.
    pub(super) away: Duration,
    /// Whether the agent's process is killed, too: its work is lost.
    pub(super) kill: bool,
    /// Another address to connect to from now on.
    pub(super) url: Option<String>,
}

/// A running agent, seen from outside.
pub(super) struct AgentHandle {
    interruptions: mpsc::UnboundedSender<Interruption>,
    idle: watch::Receiver<bool>,
}

impl AgentHandle {
    /// Starts an agent that ends when this is dropped.
    pub(super) fn start(
        settings: Settings,
        api_key: &str,
        url: String,
        seed: u64,
        ledger: Ledger,
    ) -> Self {
        let (interruptions, interrupted) = mpsc::unbounded_channel();
        let (idle_sender, idle) = watch::channel(true);
        let handshake = HandshakeHeaders::with_key(settings.id.as_str(), api_key);
        let (id, mut rng) = (settings.id.clone(), StdRng::seed_from_u64(seed));
        let script: Script = Box::new(move |offer| draw_attempt_plan(&mut rng, &id, offer));
        let agent = Agent::new(settings, script, ledger, SystemClock.now());
        tokio::spawn(run(agent, url, handshake, interrupted, idle_sender));
        Self {
            interruptions,
            idle,
        }
    }

    pub(super) fn interrupt(&self, interruption: Interruption) {
        // It has no effect on an agent that has ended.
        let _ = self.interruptions.send(interruption);
    }

    /// Whether the agent works on nothing, and all terminal messages are confirmed.
    pub(super) fn is_idle(&self) -> bool {
        *self.idle.borrow()
    }
}

/// Runs an agent until it cannot be interrupted any more.
async fn run(
    mut agent: Agent,
    mut url: String,
    handshake: HandshakeHeaders,
    mut interruptions: mpsc::UnboundedReceiver<Interruption>,
    idle: watch::Sender<bool>,
) {
    let mut connection = None;
    let open_after =
        |after, url: &str| connect_after_delay(after, url.to_owned(), handshake.clone());
    let opening = open_after(Duration::ZERO, &url);
    tokio::pin!(opening);
    loop {
        let pause = agent.next_due().map(|at| at.since(SystemClock.now()));
        let pause = pause.unwrap_or(Duration::from_secs(1));
        let mut messages = Vec::new();
        tokio::select! {
            interruption = interruptions.recv() => {
                let Some(interruption) = interruption else {
                    return;
                };
                let now = SystemClock.now();
                if connection.take().is_some() {
                    agent.on_disconnected(now);
                }
                if interruption.kill {
                    agent.on_process_restarted(now);
                }
                url = interruption.url.unwrap_or(url);
                opening.set(open_after(interruption.away, &url));
            }
            opened = &mut opening, if connection.is_none() => {
                connection = opened;
                if connection.is_some() {
                    messages = agent.on_connected(SystemClock.now());
                } else {
                    opening.set(open_after(RECONNECT_DELAY, &url));
                }
            }
            incoming = next_incoming(&mut connection) => match incoming {
                Incoming::Text(text) => {
                    if let Ok(message) = CloudMessage::read(&text) {
                        messages = agent.receive(&message, SystemClock.now());
                    }
                }
                Incoming::Closed(_) => {
                    connection = None;
                    agent.on_disconnected(SystemClock.now());
                    opening.set(open_after(RECONNECT_DELAY, &url));
                }
            },
            () = sleep(pause) => messages = agent.take_due_messages(SystemClock.now()),
        }
        if let Some(connection) = &mut connection {
            for message in messages {
                // What cannot be sent is lost, as is the connection: the next event tells so.
                let _ = timeout(
                    SOCKET_TIMEOUT,
                    connection.send(message.text(TypeSpelling::Canonical)),
                )
                .await;
            }
        }
        idle.send_replace(agent.is_idle());
    }
}

/// Opens a connection after a while. `None` if that fails.
async fn connect_after_delay(
    after: Duration,
    url: String,
    handshake: HandshakeHeaders,
) -> Option<Connection> {
    sleep(after).await;
    let opening = timeout(SOCKET_TIMEOUT, Connection::open(&url, &handshake)).await;
    opening.ok()?.ok()
}

/// Awaits the next event of a connection, for ever if there is none.
async fn next_incoming(connection: &mut Option<Connection>) -> Incoming {
    match connection {
        Some(connection) => connection.next().await,
        None => pending().await,
    }
}

/// Draws the plan of an attempt.
fn draw_attempt_plan(rng: &mut StdRng, agent: &AgentId, offer: &Offer) -> Plan {
    let run = offer.run_key();
    if rng.random_bool(REFUSAL_PROBABILITY) {
        return Plan::refuse("not in the mood");
    }
    let is_long = rng.random_bool(LONG_TASK_PROBABILITY);
    let whole = rng.random_range(if is_long {
        LONG_TASK_MILLIS
    } else {
        TASK_MILLIS
    });
    let after = Duration::from_millis;
    let mut plan = Plan::accept();
    if rng.random_bool(UNACKNOWLEDGED_PROBABILITY) {
        plan.answer = OfferResponse::Silent;
    }
    plan.cancellable = !rng.random_bool(IGNORE_CANCEL_PROBABILITY);
    if rng.random_bool(PROGRESS_PROBABILITY) {
        let step = json!({ "progress": 50, "steps": ["half way"] });
        let output = AgentMessage::stream(run, 0, &format!("{run}\n"));
        plan = plan
            .with_message_at(after(whole / 3), AgentMessage::progress(run, step))
            .with_message_at(after(whole / 2), output);
    }
    let end = if rng.random_bool(FAILURE_PROBABILITY) {
        AgentMessage::error(run, "it went wrong")
    } else {
        AgentMessage::complete(run, &format!("did {run} at {agent}"))
    };
    plan.with_message_at(after(whole), end)
}
