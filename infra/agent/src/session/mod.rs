//! What the agent decides: no I/O, no clock, no randomness of its own. It is told [`Event`]s, and
//! what is to be done comes out as [`Effect`]s and as messages to send.

mod drain;
mod held;
mod incoming;
mod link;
mod outbox;
mod outgoing;
mod phase;
mod refused;
mod reports;
mod seen;
mod sent;
mod state;
mod status;
mod tasks;
mod terminal;
#[cfg(test)]
mod tests;

use bematic_protocol::messages::Spelling;
use tokio::time::Instant;

pub use self::{
    phase::StopReason,
    state::{Session, Settings},
};
use crate::{
    event::{Effect, LinkEvent, RunEvent},
    run_key::RunKey,
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

impl Session {
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
}
