//! What the agent decides: no I/O, no clock, no randomness of its own. It is told [`Event`]s, and
//! what is to be done comes out as [`Effect`]s and as messages to send.

mod drain;
mod link;
mod outbox;
mod outgoing;
mod refused;
mod reports;
mod seen;
mod sent;
mod tasks;
mod terminal;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use bematic_protocol::{
    ids::{AgentId, Ids},
    messages::{AgentMessage, Envelope, Spelling},
    time::Clock,
};
use tokio::time::Instant;

pub use self::drain::StopReason;
use self::{drain::Phase, link::Link, outbox::Outbox, outgoing::Outgoing, tasks::Tasks};
use crate::{
    config::Timings,
    event::{Effect, LinkEvent, RunEvent, RunKey},
    load::Machine,
    ui::Notice,
    workdir::Workdirs,
};

/// Bytes that may wait for a slow connection before the commands have to wait.
const ENOUGH_BYTES: usize = 256 * 1024;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// To the connection.
    Link(LinkEvent),
    /// To a run.
    Run(RunKey, RunEvent),
    /// Somebody wants the agent to stop.
    Stop(StopReason),
    /// A deadline has come.
    Tick,
}

/// What a session needs to know of its agent.
pub struct Settings {
    /// Who the agent is.
    pub agent_id: AgentId,
    /// How many tasks run at once; as many may wait.
    pub concurrency: u32,
    /// Where tasks may work.
    pub workdirs: Workdirs,
    /// How long everything takes.
    pub timings: Timings,
}

/// An agent's state.
pub struct Session {
    settings: Settings,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
    machine: Box<dyn Machine>,
    link: Link,
    tasks: Tasks,
    outbox: Outbox,
    phase: Phase,
    effects: VecDeque<Effect>,
}

impl Session {
    /// A session without connection and tasks.
    pub fn new(
        settings: Settings,
        ids: Arc<dyn Ids>,
        clock: Arc<dyn Clock>,
        machine: Box<dyn Machine>,
    ) -> Self {
        Self {
            settings,
            ids,
            clock,
            machine,
            link: Link::Down,
            tasks: Tasks::default(),
            outbox: Outbox::default(),
            phase: Phase::Working,
            effects: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Link(event) => self.on_link(event, now),
            Event::Run(run, event) => self.on_run(run, event),
            Event::Stop(reason) => self.on_stop(&reason, now),
            Event::Tick => {}
        }
        self.on_time(now);
        self.advance(now);
    }

    /// What is to be done now, in order.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> {
        self.effects.drain(..)
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let resend = self.outbox.resend_at().filter(|_| self.link.is_up());
        let times = [
            self.link.deadline(self.settings.timings.silence),
            resend,
            self.phase.deadline(),
        ];
        times.into_iter().flatten().min()
    }

    /// Whether there is something to send, and a connection to send it over.
    pub fn has_outgoing(&self) -> bool {
        self.link.is_up() && self.outbox.has_next()
    }

    /// The next message to send, as text.
    pub fn next_outgoing(&mut self, now: Instant) -> Option<String> {
        while let Some(envelope) = self.outbox.next(now, self.settings.timings.resend) {
            match envelope.encode(Spelling::Canonical) {
                Ok(text) => return Some(text),
                Err(error) => {
                    // Everything is built to fit, so this is a mistake in the agent.
                    self.outbox.forget(&envelope.id);
                    self.warn(format!(
                        "a message was not sent: {error}; please report this"
                    ));
                }
            }
        }
        None
    }

    /// Whether to take in more from the runs. If not, their commands wait at their pipes.
    pub fn takes_run_events(&self) -> bool {
        !self.link.is_up() || self.outbox.queued_bytes() < ENOUGH_BYTES
    }

    fn on_time(&mut self, now: Instant) {
        self.on_link_time(now);
        if self.link.is_up() {
            self.send_again(now);
        }
    }

    fn outgoing(&self, message: AgentMessage, run: Option<RunKey>) -> Outgoing {
        let envelope = Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        };
        Outgoing::new(envelope, run)
    }

    fn send(&mut self, message: AgentMessage, run: Option<RunKey>) {
        let message = self.outgoing(message, run);
        self.outbox.push(message);
    }

    fn send_urgently(&mut self, message: AgentMessage, run: Option<RunKey>) {
        let message = self.outgoing(message, run);
        self.outbox.urgent(message);
    }

    fn tell(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Tell(notice));
    }

    fn warn(&mut self, message: String) {
        self.tell(Notice::Warning { message });
    }
}
