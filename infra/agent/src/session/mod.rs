//! The agent's decisions: no I/O, no clock, no randomness of its own. [`Session::handle`] takes
//! [`Event`]s; [`Effect`]s and messages to send come out.

mod incoming;
mod outbox;
mod state;
mod stop;
mod tasks;
mod terminal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bematic_protocol::{
    ids::{Ids, TaskId},
    messages::{
        AgentMessage, AgentStatus, Availability, Envelope, HeartbeatReport, HeartbeatSignal,
        Spelling, limits,
    },
    time::{Clock, Timestamp},
};
use tokio::time::Instant;

pub(crate) use self::state::Session;
pub use self::state::StopReason;
use self::{
    outbox::{Outbox, Outgoing},
    state::{Phase, Tasks},
};
use crate::{
    config::Config,
    event::{Effect, LinkEvent, RunEvent},
    load::MeasureLoad,
    run_key::RunKey,
    ui::Notice,
};

/// Bytes that may wait for a slow connection before the commands have to wait.
const ENOUGH_BYTES: usize = 256 * 1024;
/// The software version that AGENT_STATUS names.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An event that the session decides about.
#[derive(Debug)]
pub(crate) enum Event {
    Link(LinkEvent),
    Run(RunKey, RunEvent),
    /// A request to stop the agent.
    Stop(StopReason),
    /// A deadline has come.
    Tick,
}

impl Session {
    /// Returns a session without connection and tasks.
    pub(crate) fn new(
        config: Arc<Config>,
        ids: Arc<dyn Ids>,
        clock: Arc<dyn Clock>,
        load: MeasureLoad,
    ) -> Self {
        Self {
            config,
            ids,
            clock,
            load,
            link: None,
            tasks: Tasks::default(),
            outbox: Outbox::default(),
            phase: Phase::Working,
            effects: Vec::new(),
        }
    }

    /// Handles an event.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Link(event) => self.on_link(event, now),
            Event::Run(run, event) => self.on_run(run, event),
            Event::Stop(reason) => self.on_stop(&reason, now),
            Event::Tick => {}
        }
        self.on_link_time(now);
        if self.link.is_some() {
            self.resend_due(now);
        }
        self.advance(now);
    }

    /// Takes the effects that are due, in order.
    pub(crate) fn effects(&mut self) -> impl Iterator<Item = Effect> {
        self.effects.drain(..)
    }

    /// The time at which [`Event::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let link = self.link.as_ref();
        let times = [
            link.map(|link| link.deadline(self.config.timings.silence)),
            link.and_then(|_| self.outbox.resend_at()),
            self.phase.deadline(),
        ];
        times.into_iter().flatten().min()
    }

    /// Whether there is a message to send, and a connection to send it over.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.link.is_some() && self.outbox.has_next()
    }

    /// Takes the next message to send, as text.
    pub(crate) fn next_outgoing(&mut self, now: Instant) -> Option<String> {
        while let Some(envelope) = self.outbox.next(now, self.config.timings.resend) {
            match envelope.encode(Spelling::Canonical) {
                Ok(text) => return Some(text),
                Err(error) => {
                    // Every message is built to fit, so this is a mistake in the agent.
                    self.outbox.forget(&envelope.id);
                    self.warn(format!(
                        "a message was not sent: {error}; please report this"
                    ));
                }
            }
        }
        None
    }

    /// Whether to handle more events of runs. If not, their commands wait at their pipes.
    pub(crate) fn takes_run_events(&self) -> bool {
        self.link.is_none() || self.outbox.queued_bytes() < ENOUGH_BYTES
    }

    fn seal(&self, message: AgentMessage) -> Outgoing {
        Outgoing::from(Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        })
    }

    fn send(&mut self, message: AgentMessage) {
        let message = self.seal(message);
        self.outbox.push(message);
    }

    fn show(&mut self, notice: Notice) {
        self.effects.push(Effect::Show(notice));
    }

    fn warn(&mut self, message: String) {
        self.show(Notice::Warning { message });
    }

    /// HEARTBEAT_PONG, the answer to a ping of that time.
    fn pong(&mut self, asked: Timestamp) -> AgentMessage {
        let load = (self.load)();
        AgentMessage::HeartbeatPong(HeartbeatReport {
            agent_id: self.config.agent_id.clone(),
            server_time: asked,
            active_tasks: self.tasks.active().count() as u64,
            cpu_usage: load.cpu,
            memory_usage: load.memory,
            tasks: Some(self.held()),
        })
    }

    /// HEARTBEAT_PING
    fn ping(&self) -> AgentMessage {
        AgentMessage::HeartbeatPing(HeartbeatSignal {
            server_time: None,
            tasks: Some(self.held()),
        })
    }

    /// The tasks that the agent still answers for.
    fn held(&self) -> Vec<TaskId> {
        let runs = self.tasks.active().chain(self.outbox.unsettled());
        let mut tasks: Vec<_> = runs.map(|run| run.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks.truncate(limits::LIST);
        tasks
    }

    /// AGENT_STATUS
    fn status(&self, status: Availability) -> AgentMessage {
        AgentMessage::AgentStatus(AgentStatus {
            agent_id: self.config.agent_id.clone(),
            status,
            active_tasks: self.held(),
            capacity: self.config.concurrency,
            version: Some(VERSION.to_owned()),
            resource_status: None,
        })
    }
}
