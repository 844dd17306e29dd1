//! An agent of a run: an asynchronous task with a connection of its own.

mod core;
mod disk;
mod link;
mod temper;
mod wire;

use std::time::Duration;

use bematic_protocol::time::{Clock as _, SystemClock};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::core::Core;

pub(super) use self::link::Door;
use self::link::{Happened, Link};
pub(super) use self::temper::Temper;
use super::ledger::Ledger;

/// What the run does to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blow {
    /// Its process is killed and started again after a while: its work is lost.
    Kill { away: Duration },
    /// Its connection is lost for a while; its work goes on.
    Drop { away: Duration },
    /// From now on it connects here, and anew.
    Move { url: String },
}

/// A running agent, seen from outside.
pub(super) struct Agent {
    blows: mpsc::UnboundedSender<Blow>,
    idle: watch::Receiver<bool>,
}

impl Agent {
    /// Starts one, which ends when this is dropped.
    pub(super) fn start(
        door: Door,
        capacity: usize,
        temper: Temper,
        seed: u64,
        ledger: Ledger,
    ) -> Self {
        let (blows, struck) = mpsc::unbounded_channel();
        let (tell, idle) = watch::channel(true);
        let now = SystemClock.now();
        let core = Core::new(door.agent.clone(), capacity, temper, seed, ledger, now);
        tokio::spawn(live(core, Link::new(door), struck, tell));
        Self { blows, idle }
    }

    /// Has it struck.
    pub(super) fn strike(&self, blow: Blow) {
        // One that has ended feels nothing.
        let _ = self.blows.send(blow);
    }

    /// Has it leave its connection and open another here.
    pub(super) fn move_to(&self, url: String) {
        self.strike(Blow::Move { url });
    }

    /// Whether it works on nothing, and all that it reported is confirmed.
    pub(super) fn is_idle(&self) -> bool {
        *self.idle.borrow()
    }
}

async fn live(
    mut core: Core,
    mut link: Link,
    mut blows: mpsc::UnboundedReceiver<Blow>,
    tell: watch::Sender<bool>,
) {
    loop {
        let pause = core.next_due().map(|at| at.since(SystemClock.now()));
        let pause = pause.unwrap_or(Duration::from_secs(1));
        let said = tokio::select! {
            blow = blows.recv() => match blow {
                Some(blow) => {
                    struck(&mut core, &mut link, blow);
                    Vec::new()
                }
                None => return,
            },
            happened = link.next() => answer(&mut core, happened),
            () = sleep(pause) => core.due(SystemClock.now()),
        };
        link.send(said).await;
        tell.send_replace(core.is_idle());
    }
}

fn answer(core: &mut Core, happened: Happened) -> Vec<String> {
    let now = SystemClock.now();
    match happened {
        Happened::Opened => core.connected(now),
        Happened::Said(text) => core.heard(wire::read(&text), now),
        Happened::Lost { was_open: true } => {
            core.disconnected(now);
            Vec::new()
        }
        Happened::Lost { was_open: false } => Vec::new(),
    }
}

fn struck(core: &mut Core, link: &mut Link, blow: Blow) {
    let now = SystemClock.now();
    if link.is_open() {
        core.disconnected(now);
    }
    match blow {
        Blow::Kill { away } => {
            core.killed(now);
            link.leave(away);
        }
        Blow::Drop { away } => link.leave(away),
        Blow::Move { url } => {
            link.move_to(url);
            link.leave(Duration::ZERO);
        }
    }
}
