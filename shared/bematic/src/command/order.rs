//! What an operator can ask for.

use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use strum::IntoStaticStr;

use crate::{batch::BatchKind, task::Priority};

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives an agent something to do.
    Run {
        /// Which agent; `None` for the channel's own.
        agent: Option<AgentId>,
        /// How urgent it is.
        priority: Priority,
        /// What to do, to the letter.
        prompt: String,
    },
    /// Stops one task.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// Tries one task again that failed or was cancelled.
    Retry {
        /// Which.
        task: TaskId,
    },
    /// Changes all of the channel's tasks that it fits.
    Bulk(BatchKind),
    /// Asks what the functions gave up on.
    DeadLetters,
    /// Has what they gave up on given to them again.
    Redrive,
    /// Asks for one task.
    Status {
        /// Which.
        task: TaskId,
    },
    /// Asks for the channel's tasks.
    Tasks,
    /// Asks for the agents.
    Agents,
    /// Asks for one agent's circuit breaker, or for all.
    Health {
        /// Which; `None` for all.
        agent: Option<AgentId>,
    },
    /// Takes over an agent's circuit breaker.
    Breaker {
        /// Which.
        agent: AgentId,
        /// What it is to do.
        order: BreakerOrder,
    },
    /// Asks what can be asked.
    Help,
}

/// What an operator wants of an agent's circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerOrder {
    /// To start anew: closed, with nothing counted.
    Reset,
    /// No new work for the agent; what it runs goes on.
    Drain {
        /// For how long.
        lasts: Duration,
        /// Why, if they say.
        note: String,
    },
    /// Work for the agent, whatever it makes of it.
    Disable {
        /// For how long.
        lasts: Duration,
        /// Why, if they say.
        note: String,
    },
    /// To decide by itself again.
    Resume,
}

impl BreakerOrder {
    /// What it is, without an operator's words.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl Command {
    /// Whether it changes what is stored, so that it may have been carried out though that was not
    /// confirmed.
    pub const fn stores(&self) -> bool {
        matches!(
            self,
            Self::Run { .. }
                | Self::Cancel { .. }
                | Self::Retry { .. }
                | Self::Bulk(_)
                | Self::Breaker { .. }
        )
    }
}
