//! The outcome of an attempt, as far as it says something about the agent.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// The outcome of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The time at which the outcome was seen.
    pub at: Timestamp,
    /// The kind of outcome.
    pub kind: OutcomeKind,
}

/// A kind of outcome that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// The attempt succeeded.
    Success,
    /// The attempt succeeded, and took too long.
    Slow,
    /// The attempt failed.
    Failure(FailureKind),
}

impl OutcomeKind {
    /// Whether the outcome is a failure.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure(_))
    }
}

/// The ways in which an agent fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(Display, IntoStaticStr)]
pub enum FailureKind {
    /// The agent reported an error that it did not attribute to the task.
    #[strum(serialize = "the task failed")]
    Error,
    /// The agent did not acknowledge the task in time.
    #[strum(serialize = "the task was not acknowledged in time")]
    AckMissed,
    /// The agent refused the task permanently.
    #[strum(serialize = "the agent refused the task for good")]
    Refused,
    /// The agent ran the task and sent no further sign of life.
    #[strum(serialize = "the agent was not heard of again")]
    Lost,
}

/// The last failure that counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// The time at which the failure was seen.
    pub at: Timestamp,
    /// The kind of failure.
    pub kind: FailureKind,
    /// The agent's message, cut to [`LastFailure::MESSAGE_CHARS`].
    pub message: String,
}

impl LastFailure {
    /// The number of characters of a message that are kept.
    pub const MESSAGE_CHARS: usize = 200;
}

/// A report that was not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredReport {
    /// The attempt, as `task#attempt`.
    pub id: String,
    /// The time at which the report arrived.
    pub at: Timestamp,
    /// The reason why the report does not count.
    pub because: IgnoredBecause,
}

/// The reasons why a report says nothing about the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(Display, IntoStaticStr)]
pub enum IgnoredBecause {
    /// The task was cancelled.
    #[strum(serialize = "the task was cancelled")]
    Cancelled,
    /// The agent had no room for the task.
    #[strum(serialize = "the agent did not take the task for now")]
    Refused,
    /// The agent reports that the task itself was at fault.
    #[strum(serialize = "the agent says that the task is at fault")]
    TaskFault,
    /// The attempt could not be sent.
    #[strum(serialize = "it could not be sent")]
    Undelivered,
    /// The attempt was a probe of a recovery that was decided without it.
    #[strum(serialize = "it was a probe of a recovery that is over")]
    Overtaken,
}
