//! The commands of operators.

use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId, UserId};
use strum::IntoStaticStr;

use crate::{
    access::{Requirement, Role},
    batch::BatchKind,
    task::Priority,
};

/// What a task is created from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArguments {
    /// The agent; `None` for the agents of the channel's project.
    pub agent: Option<AgentId>,
    /// The task's priority.
    pub priority: Priority,
    /// The prompt, as it was written.
    pub prompt: String,
}

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates a task.
    Run(RunArguments),
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
    /// Gives somebody a role.
    SetRole(UserId, Role),
    /// Lists who has which role.
    Users,
    /// Lists what people did.
    Audit {
        /// The person whose records are listed; `None` for those of all.
        user: Option<UserId>,
        /// How far back the list reaches.
        since: Duration,
        /// How long ago the list ends: less than `since`.
        until: Duration,
    },
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

    /// Returns the name of the command that gives the order.
    const fn command_name(&self) -> &'static str {
        match self {
            Self::Reset | Self::Disable { .. } => "health",
            Self::Drain { .. } | Self::Resume => "agent",
        }
    }
}

impl Command {
    /// Returns what the command requires of who gives it.
    pub const fn requirement(&self) -> Requirement {
        match self {
            Self::Help => Requirement::Role(Role::None),
            Self::Status(_) | Self::Tasks | Self::Agents | Self::Health(_) => {
                Requirement::Role(Role::Viewer)
            }
            Self::Run(_) | Self::Cancel(_) | Self::Retry(_) | Self::Bulk(_) => {
                Requirement::Role(Role::Operator)
            }
            // An operator makes nobody an admin, wherever it is.
            Self::SetRole(_, Role::Admin) | Self::Audit { .. } => Requirement::Role(Role::Admin),
            Self::Breaker(..)
            | Self::DeadLetters
            | Self::Redrive
            | Self::SetRole(..)
            | Self::Users => Requirement::AdminOrOperationsChannel,
        }
    }

    /// Whether the command changes stored data: it may be executed and not confirmed.
    pub(crate) const fn changes_stored_data(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::Cancel(_)
            | Self::Retry(_)
            | Self::Bulk(_)
            | Self::Breaker(..)
            | Self::Redrive
            | Self::SetRole(..) => true,
            Self::Status(_)
            | Self::Tasks
            | Self::Agents
            | Self::Health(_)
            | Self::DeadLetters
            | Self::Users
            | Self::Audit { .. }
            | Self::Help => false,
        }
    }

    /// Whether the command changes who may do what.
    pub(crate) const fn changes_access(&self) -> bool {
        matches!(self, Self::SetRole(..))
    }

    /// Whether the audit log records the command even if it was not refused: what changes stored
    /// data, and what admins alone may see.
    pub(crate) fn is_audited(&self) -> bool {
        self.changes_stored_data() || self.requirement() == Requirement::Role(Role::Admin)
    }

    /// Returns the command for the audit log: its words without the texts of people.
    pub(crate) fn audit_action(&self) -> String {
        match self {
            Self::Run(RunArguments { agent: None, .. }) => "run".to_owned(),
            Self::Run(RunArguments {
                agent: Some(agent), ..
            }) => format!("run --agent {agent}"),
            Self::Cancel(_) => "cancel".to_owned(),
            Self::Retry(_) => "retry".to_owned(),
            Self::Bulk(BatchKind::Cancel) => "cancel all".to_owned(),
            Self::Bulk(BatchKind::Retry) => "retry failed".to_owned(),
            Self::Bulk(BatchKind::Archive) => "archive".to_owned(),
            Self::DeadLetters => "dead-letters".to_owned(),
            Self::Redrive => "redrive".to_owned(),
            Self::Status(_) => "status".to_owned(),
            Self::Tasks => "tasks".to_owned(),
            Self::Agents => "agents".to_owned(),
            Self::Health(_) => "health".to_owned(),
            Self::Breaker(agent, order) => {
                let (order, command) = (order.name(), order.command_name());
                format!("{command} {order} {agent}")
            }
            Self::SetRole(user, role) => format!("role {user} {role}"),
            Self::Users => "users".to_owned(),
            Self::Audit { .. } => "audit".to_owned(),
            Self::Help => "help".to_owned(),
        }
    }

    /// Returns the task that the command names.
    pub(crate) const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Cancel(task) | Self::Retry(task) | Self::Status(task) => Some(*task),
            _ => None,
        }
    }
}
