//! What the agents of a run did: the one account of what really ran, kept by those who ran it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bematic::task::Slot;
use bematic_protocol::ids::AgentId;
use bematic_protocol::time::Timestamp;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub agent: AgentId,
    /// What.
    pub what: What,
}

/// What an agent did, or what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its handshake was accepted.
    Connected,
    /// Its connection is no more.
    Disconnected,
    /// Something about one attempt of a task.
    Run(Slot, Deed),
}

/// What became of one attempt at an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A TASK_SUBMIT arrived, wanted or not.
    Offered {
        /// The id of the message: the same twice is one message that was doubled on its way.
        message: String,
        /// When it was sent, by the cloud's clock.
        sent_at: Timestamp,
    },
    /// The agent did not take it.
    Refused,
    /// Work began. Written by what works, not by what decides whether to.
    Started,
    /// Work ended, and this was reported.
    Reported(Report),
    /// The agent was killed while it worked: nothing will be reported.
    Died,
    /// The cloud confirmed the report.
    Confirmed,
}

/// How an agent says that an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// TASK_COMPLETE with this result.
    Completed(String),
    /// TASK_ERROR
    Failed,
    /// TASK_CANCELLED
    Cancelled,
}

/// The ledger of a run, which all its agents write.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Entry>>>);

impl Ledger {
    /// Adds a line.
    pub fn write(&self, at: Timestamp, agent: &AgentId, what: What) {
        let agent = agent.clone();
        self.lock().push(Entry { at, agent, what });
    }

    /// All lines so far, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// How many lines are as wanted.
    pub fn count(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.lock().iter().filter(|line| wanted(&line.what)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
