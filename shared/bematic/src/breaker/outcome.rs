//! What came of an attempt, as far as it says something about the agent.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When that was seen.
    pub at: Timestamp,
    /// What it was.
    pub counted: Counted,
}

/// An outcome that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// It worked.
    Success,
    /// It worked, and took too long.
    Slow,
    /// It did not.
    Failure(FailureKind),
}

impl Counted {
    /// Whether it is a failure.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure(_))
    }
}

/// How an agent failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It reported an error that it did not say was the task's own.
    #[strum(serialize = "the task failed")]
    Error,
    /// It did not acknowledge the task in time.
    #[strum(serialize = "the task was not acknowledged in time")]
    AckMissed,
    /// It does not take the task, now or later.
    #[strum(serialize = "the agent refused the task for good")]
    Refused,
    /// It ran the task and was not heard of again.
    #[strum(serialize = "the agent was not heard of again")]
    Lost,
}

/// The last failure that counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// When it was seen.
    pub at: Timestamp,
    /// What it was.
    pub kind: FailureKind,
    /// In the agent's words, cut to [`LastFailure::MESSAGE_CHARS`].
    pub message: String,
}

impl LastFailure {
    /// Characters of a message that are kept.
    pub const MESSAGE_CHARS: usize = 200;
}

/// A report that was not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Of which attempt.
    pub id: String,
    /// When it came.
    pub at: Timestamp,
    /// Why it does not count.
    pub because: IgnoredBecause,
}

/// Why a report says nothing about the agent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredBecause {
    /// Somebody stopped the task.
    #[strum(serialize = "the task was cancelled")]
    Cancelled,
    /// The agent had no room for the task.
    #[strum(serialize = "the agent did not take the task for now")]
    Refused,
    /// The agent says that the task itself was at fault.
    #[strum(serialize = "the agent says that the task is at fault")]
    TaskFault,
    /// It could not be sent.
    #[strum(serialize = "it could not be sent")]
    Undelivered,
    /// It was a probe, and what it was to tell was decided without it.
    #[strum(serialize = "it was a probe of a recovery that is over")]
    Overtaken,
}
