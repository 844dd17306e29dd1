//! An agent of a run: an asynchronous task with a connection of its own.

mod link;
mod script;

use std::time::Duration;

use bematic_protocol::time::{Clock as _, SystemClock};
use bematic_test_agent::{Agent, CloudMessage, Handshake, Ledger, Outgoing, Settings};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::link::{Happened, Link};
pub(super) use self::script::Odds;

/// What the run does to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blow {
    /// Kills the agent's process, which starts again after a while: its work is lost.
    Kill { away: Duration },
    /// Cuts the agent's connection for a while; the work goes on.
    Drop { away: Duration },
    /// Has the agent connect here from now on, and anew.
    Move { url: String },
}

/// A running agent, seen from outside.
pub(super) struct RunningAgent {
    blows: mpsc::UnboundedSender<Blow>,
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
        let (blows, struck) = mpsc::unbounded_channel();
        let (tell, idle) = watch::channel(true);
        let link = Link::new(url, Handshake::header(settings.id.as_str(), api_key));
        let script = Odds::default().script(settings.id.clone(), seed);
        let agent = Agent::new(settings, script, ledger, SystemClock.now());
        tokio::spawn(live(agent, link, struck, tell));
        Self { blows, idle }
    }

    /// Has the agent struck.
    pub(super) fn strike(&self, blow: Blow) {
        // An agent that has ended feels nothing.
        let _ = self.blows.send(blow);
    }

    /// Has the agent leave its connection and open another here.
    pub(super) fn move_to(&self, url: String) {
        self.strike(Blow::Move { url });
    }

    /// Whether the agent works on nothing, and all terminal messages are confirmed.
    pub(super) fn is_idle(&self) -> bool {
        *self.idle.borrow()
    }
}

async fn live(
    mut agent: Agent,
    mut link: Link,
    mut blows: mpsc::UnboundedReceiver<Blow>,
    tell: watch::Sender<bool>,
) {
    loop {
        let pause = agent.next_due().map(|at| at.since(SystemClock.now()));
        let pause = pause.unwrap_or(Duration::from_secs(1));
        let messages = tokio::select! {
            blow = blows.recv() => match blow {
                Some(blow) => {
                    struck(&mut agent, &mut link, blow);
                    Vec::new()
                }
                None => return,
            },
            happened = link.next() => answer(&mut agent, happened),
            () = sleep(pause) => agent.due(SystemClock.now()),
        };
        link.send(messages).await;
        tell.send_replace(agent.is_idle());
    }
}

fn answer(agent: &mut Agent, happened: Happened) -> Vec<Outgoing> {
    let now = SystemClock.now();
    match happened {
        Happened::Opened => agent.connected(now),
        Happened::Received(text) => {
            let message = CloudMessage::read(&text);
            let answers = message.map(|message| agent.receive(&message, now));
            answers.unwrap_or_default()
        }
        Happened::Lost { was_open } => {
            if was_open {
                agent.disconnected(now);
            }
            Vec::new()
        }
    }
}

fn struck(agent: &mut Agent, link: &mut Link, blow: Blow) {
    let now = SystemClock.now();
    if link.is_open() {
        agent.disconnected(now);
    }
    match blow {
        Blow::Kill { away } => {
            agent.killed(now);
            link.leave(away);
        }
        Blow::Drop { away } => link.leave(away),
        Blow::Move { url } => {
            link.move_to(url);
            link.leave(Duration::ZERO);
        }
    }
}
