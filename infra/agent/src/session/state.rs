//! The state of a session: its connection, its tasks, and the progress of stopping.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use bematic_protocol::{
    ids::Ids,
    messages::{Availability, TaskAck, TaskSubmit},
    time::Clock,
};
use tokio::time::Instant;

use super::{outbox::Outbox, terminal::Cause};
use crate::{
    config::Config,
    event::{Effect, Exit},
    load::MeasureLoad,
    run_key::RunKey,
};

/// The number of acknowledgements that are remembered. A repetition of TASK_SUBMIT comes within
/// minutes; no agent is offered so many tasks in that time.
pub(super) const REMEMBERED: usize = 4096;

/// An agent's state.
pub(crate) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) load: MeasureLoad,
    pub(super) link: Option<Link>,
    pub(super) tasks: Tasks,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    pub(super) effects: Vec<Effect>,
}

/// The state of the present connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The time at which the last message arrived.
    pub(super) last_message: Instant,
    /// The time at which the next heartbeat is due.
    pub(super) beat: Instant,
    pub(super) renewal: Renewal,
}

/// The progress of a connection's replacement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Renewal {
    /// It begins at this time.
    Due(Instant),
    /// Sending pauses until this time, or until all messages are proven to have arrived. The cloud
    /// closes the older connection as soon as it has the newer one, with whatever is on its way.
    Proving(Instant),
    /// The new connection is being opened, and the old one is still read.
    Opening,
}

impl Link {
    /// The time at which the next heartbeat is due, or the connection counts as dead or is to be
    /// replaced.
    pub(super) fn deadline(&self, silence: Duration) -> Instant {
        let next = self.beat.min(self.last_message + silence);
        match self.renewal {
            Renewal::Due(at) | Renewal::Proving(at) => next.min(at),
            Renewal::Opening => next,
        }
    }
}

/// The origin of a request to stop. Signals count: the first stops the agent gently, the second
/// ends the tasks that still run, the third does not wait for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// A signal, by its name.
    Signal(&'static str),
    /// SYSTEM_SHUTDOWN, with its reason.
    CloudShutdown(String),
    /// SYSTEM_RESTART, with its reason.
    CloudRestart(String),
}

/// The progress of stopping, with the reason for which the agent will exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Working,
    /// Running tasks may finish until this time.
    Draining(Exit, Instant),
    /// Running tasks are being ended.
    Forced(Exit),
    /// No task runs; the cloud may confirm until this time.
    Settling(Exit, Instant),
    /// The last message is on its way, for which there is time until then.
    Leaving(Exit, Instant),
    Gone,
}

impl Phase {
    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Draining(_, until) | Self::Settling(_, until) | Self::Leaving(_, until) => {
                Some(until)
            }
            Self::Working | Self::Forced(_) | Self::Gone => None,
        }
    }

    pub(super) const fn availability(self) -> Availability {
        match self {
            Self::Working => Availability::Online,
            Self::Draining(..) | Self::Forced(_) | Self::Settling(..) => Availability::Draining,
            Self::Leaving(..) | Self::Gone => Availability::Offline,
        }
    }
}

/// The tasks that the agent holds: some run, the others wait for a slot.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) running: Vec<Running>,
    /// The latest acknowledgements, since a TASK_SUBMIT may come any number of times.
    pub(super) acks: VecDeque<(RunKey, TaskAck)>,
}

/// A task that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) run: RunKey,
    pub(super) submit: Box<TaskSubmit>,
    pub(super) folder: PathBuf,
}

/// A task whose command runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) run: RunKey,
    pub(super) title: String,
    pub(super) next_seq: u64,
    /// The cause for which the command was asked to end, if it was.
    pub(super) stopped: Option<Cause>,
}

impl Tasks {
    /// The runs of all tasks: first those that run, then those that wait.
    pub(super) fn active(&self) -> impl Iterator<Item = RunKey> {
        let running = self.running.iter().map(|task| task.run);
        running.chain(self.waiting.iter().map(|task| task.run))
    }

    /// The number of tasks before a waiting one.
    pub(super) fn position(&self, run: RunKey) -> Option<u64> {
        let waiting = self.waiting.iter().position(|task| task.run == run)?;
        Some((self.running.len() + waiting) as u64)
    }

    pub(super) fn find(&mut self, run: RunKey) -> Option<&mut Running> {
        self.running.iter_mut().find(|task| task.run == run)
    }

    /// Takes out the first waiting task that may run; never beside another attempt of itself.
    pub(super) fn next_ready(&mut self) -> Option<Waiting> {
        let free = |run: RunKey| self.running.iter().all(|task| task.run.task != run.task);
        let at = self.waiting.iter().position(|task| free(task.run))?;
        self.waiting.remove(at)
    }

    /// Remembers an acknowledgement in place of an earlier one.
    pub(super) fn remember(&mut self, run: RunKey, ack: TaskAck) {
        self.acks.retain(|(earlier, _)| *earlier != run);
        self.acks.push_back((run, ack));
        if self.acks.len() > REMEMBERED {
            self.acks.pop_front();
        }
    }

    pub(super) fn acknowledged(&self, run: RunKey) -> Option<&TaskAck> {
        let (_, ack) = self.acks.iter().find(|(earlier, _)| *earlier == run)?;
        Some(ack)
    }
}
