//! An agent of a run: an asynchronous task with a connection of its own.

mod link;
mod script;

use std::time::Duration;

use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{Agent, CloudMessage, Handshake, Ledger, Outgoing, Settings};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::link::{Event, Link};

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
pub(super) struct RunningAgent {
    interruptions: mpsc::UnboundedSender<Interruption>,
    idle: watch::Receiver<bool>,
}

impl RunningAgent {
    /// Starts an agent that ends when this is dropped.
    pub(super) fn start(
        settings: Settings,
        api_key: &str,
        url: String,
        seed: u64,
        ledger: Ledger,
    ) -> Self {
        let (interruptions, interrupted) = mpsc::unbounded_channel();
        let (tell, idle) = watch::channel(true);
        let link = Link::new(url, Handshake::header(settings.id.as_str(), api_key));
        let script = script::script(settings.id.clone(), seed);
        let agent = Agent::new(settings, script, ledger, SystemClock.now());
        tokio::spawn(live(agent, link, interrupted, tell));
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

async fn live(
    mut agent: Agent,
    mut link: Link,
    mut interruptions: mpsc::UnboundedReceiver<Interruption>,
    idle: watch::Sender<bool>,
) {
    loop {
        let pause = agent.next_due().map(|at| at.since(SystemClock.now()));
        let pause = pause.unwrap_or(Duration::from_secs(1));
        let messages = tokio::select! {
            interruption = interruptions.recv() => match interruption {
                Some(interruption) => {
                    interrupt(&mut agent, &mut link, interruption);
                    Vec::new()
                }
                None => return,
            },
            event = link.next() => answer(&mut agent, event),
            () = sleep(pause) => agent.due(SystemClock.now()),
        };
        link.send(messages).await;
        idle.send_replace(agent.is_idle());
    }
}

fn answer(agent: &mut Agent, event: Event) -> Vec<Outgoing> {
    let now = SystemClock.now();
    match event {
        Event::Opened => agent.connected(now),
        Event::Received(text) => {
            let message = CloudMessage::read(&text);
            let answers = message.map(|message| agent.receive(&message, now));
            answers.unwrap_or_default()
        }
        Event::NotOpened => Vec::new(),
        Event::Lost => {
            agent.disconnected(now);
            Vec::new()
        }
    }
}

fn interrupt(agent: &mut Agent, link: &mut Link, interruption: Interruption) {
    let now = SystemClock.now();
    if link.is_open() {
        agent.disconnected(now);
    }
    if interruption.kill {
        agent.killed(now);
    }
    link.reopen(interruption.away, interruption.url);
}
