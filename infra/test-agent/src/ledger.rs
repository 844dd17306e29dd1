//! The ledger: the one record of what agents really did, written by the agents themselves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;

use crate::message::{AgentMessage, RunKey};

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The time.
    pub at: Timestamp,
    /// The agent.
    pub agent: AgentId,
    /// The event.
    pub what: AgentEvent,
}

/// An event at an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The agent's handshake was accepted.
    Connected,
    /// The agent's connection ended.
    Disconnected,
    /// An event of one attempt of a task.
    Run(RunKey, AttemptEvent),
}

/// An event of one attempt at an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEvent {
    /// A TASK_SUBMIT arrived, wanted or not.
    Offered {
        /// The id of the message: the same id twice means that one message was duplicated on its way.
        message: String,
        /// The time of the message, by the cloud's clock.
        sent_at: Timestamp,
    },
    /// The agent refused.
    Refused,
    /// Work began.
    Started,
    /// Work ended, with this terminal message.
    Reported(TerminalReport),
    /// The agent was killed while it worked: nothing will be reported.
    Died,
    /// The cloud confirmed the terminal message.
    Confirmed,
}

/// A terminal message, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalReport {
    /// TASK_COMPLETE with this result.
    Completed(String),
    /// TASK_ERROR
    Failed,
    /// TASK_CANCELLED
    Cancelled,
}

impl TerminalReport {
    /// Returns the report that a message is, if it is a terminal one.
    pub(crate) fn of(message: &AgentMessage) -> Option<Self> {
        match message.kind.as_str() {
            "TASK_COMPLETE" => {
                let result = message.payload["result"].as_str();
                Some(Self::Completed(result.unwrap_or_default().to_owned()))
            }
            "TASK_ERROR" => Some(Self::Failed),
            "TASK_CANCELLED" => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// A ledger that any number of agents write. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Entry>>>);

impl Ledger {
    pub(crate) fn write(&self, at: Timestamp, agent: &AgentId, what: AgentEvent) {
        let agent = agent.clone();
        self.lock().push(Entry { at, agent, what });
    }

    /// Returns all entries so far, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Counts the entries with such an event.
    pub fn count_matching(&self, wanted: impl Fn(&AgentEvent) -> bool) -> usize {
        let entries = self.lock();
        entries.iter().filter(|entry| wanted(&entry.what)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
