//! A session's state, and how each of its parts sends a message or shows a notice.

use std::{collections::VecDeque, sync::Arc};

use bematic_protocol::{
    ids::{AgentId, Ids},
    messages::{AgentMessage, Envelope},
    time::Clock,
};

use super::{held::Tasks, link::Link, outbox::Outbox, outgoing::Outgoing, phase::Phase};
use crate::{
    config::Timings, event::Effect, load::Machine, run_key::RunKey, ui::Notice, workdir::Workdirs,
};

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
    pub(super) settings: Settings,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) machine: Box<dyn Machine>,
    pub(super) link: Link,
    pub(super) tasks: Tasks,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    pub(super) effects: VecDeque<Effect>,
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

    pub(super) fn outgoing(&self, message: AgentMessage, run: Option<RunKey>) -> Outgoing {
        let envelope = Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        };
        Outgoing::new(envelope, run)
    }

    pub(super) fn send(&mut self, message: AgentMessage, run: Option<RunKey>) {
        let message = self.outgoing(message, run);
        self.outbox.push(message);
    }

    pub(super) fn send_urgently(&mut self, message: AgentMessage, run: Option<RunKey>) {
        let message = self.outgoing(message, run);
        self.outbox.urgent(message);
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Tell(notice));
    }

    pub(super) fn warn(&mut self, message: String) {
        self.tell(Notice::Warning { message });
    }
}
