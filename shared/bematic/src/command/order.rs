//! The commands of operators.

use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use strum::IntoStaticStr;

use crate::{batch::BatchKind, task::Priority};

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates a task.
    Run {
        /// The agent; `None` for the agents of the channel's project.
        agent: Option<AgentId>,
        /// The task's priority.
        priority: Priority,
        /// The prompt, as it was written.
        prompt: String,
    },
    /// Cancels one task.
    Cancel(TaskId),
    /// Retries one task that failed or was cancelled.
    Retry(TaskId),
    /// Starts a bulk operation on the channel's tasks that qualify.
    Bulk(BatchKind),
    /// Lists the dead letters.
    DeadLetters,
    /// Moves the dead letters back to their queues.
    Redrive,
    /// Shows one task.
    Status(TaskId),
    /// Lists the channel's tasks.
    Tasks,
    /// Lists the agents.
    Agents,
    /// Shows one agent's circuit breaker, or those of all agents.
    Health(Option<AgentId>),
    /// Gives an order to an agent's circuit breaker.
    Breaker(AgentId, BreakerOrder),
    /// Lists the commands.
    Help,
}

/// An operator's order to an agent's circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerOrder {
    /// Resets the breaker: closed, with nothing counted.
    Reset,
    /// Drains the agent: no new tasks; running tasks go on.
    Drain {
        /// The duration of the order.
        lasts: Duration,
        /// The operator's note; empty if there is none.
        note: String,
    },
    /// Disables the breaker: tasks are sent to the agent, whatever the outcomes.
    Disable {
        /// The duration of the order.
        lasts: Duration,
        /// The operator's note; empty if there is none.
        note: String,
    },
    /// Ends the order that is in force.
    Resume,
}

impl BreakerOrder {
    /// Returns the order's name, without the operator's note.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl Command {
    /// Whether the command changes stored data: it may be executed and not confirmed.
    pub(crate) const fn changes_stored_data(&self) -> bool {
        matches!(
            self,
            Self::Run { .. } | Self::Cancel(_) | Self::Retry(_) | Self::Bulk(_) | Self::Breaker(..)
        )
    }
}
