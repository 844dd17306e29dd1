//! How far a task is, and what may happen to it.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, Attempt, UserId},
    messages::Fault,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::policy::Terms;

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(
    tag = "status",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// Waits in its agent's queue.
    Pending {
        /// Attempts that were made: the next one has the number after it.
        attempts: u32,
        /// Attempts that count towards the most that are made.
        #[serde(default)]
        spent: u32,
        /// The next attempt was sent already, to a connection that was said to be gone or without
        /// an answer. It may have arrived: the agent may report on it, and it is offered under the
        /// same number again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undelivered: bool,
        /// Not to be offered before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// Why the last attempt came to nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
    },
    /// Sent to the agent, not yet acknowledged.
    Dispatched {
        /// Which try.
        attempt: Attempt,
        /// Earlier attempts that count.
        #[serde(default)]
        spent: u32,
        /// Since when.
        dispatched_at: Timestamp,
        /// Somebody wants it to stop.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancel: Option<CancelRequest>,
    },
    /// The agent runs it.
    Processing {
        /// Which try.
        attempt: Attempt,
        /// Earlier attempts that count.
        #[serde(default)]
        spent: u32,
        /// Since when.
        started_at: Timestamp,
        /// How long it may be silent.
        lease: Lease,
        /// Somebody wants it to stop.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancel: Option<CancelRequest>,
    },
    /// Done. What came of it is a record of its own.
    Completed {
        /// Which try.
        attempt: Attempt,
        /// When it began, as far as was seen.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
    },
    /// Did not work.
    Failed {
        /// Which try was the last, if any was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// When it began, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// Stopped on request.
    Cancelled {
        /// Which try was the last, if any was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// When it began, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Who asked for it, if an operator did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        /// What else there is to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// The right to be silent for a while. Renewed when it would end, by what was heard meanwhile: a
/// report costs no write for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The last sign of life that was looked at, by our clock.
    pub heard_at: Timestamp,
    /// When the agent first spoke of the task, by its clock: what it said of all its tasks before
    /// that says nothing of this one.
    pub since: Timestamp,
    /// When it ends, if that is before its time: the agent no longer names the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_early_at: Option<Timestamp>,
}

impl Lease {
    /// When a lease of this length ends.
    pub fn ends_at(&self, length: Duration) -> Timestamp {
        let at = self.heard_at + length;
        self.ends_early_at.map_or(at, |early| early.min(at))
    }
}

/// Somebody wants a task to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelRequest {
    /// Who.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What kind of failure.
    pub code: FailureCode,
    /// In the agent's words, cut to [`Failure::MESSAGE_CHARS`].
    pub message: String,
    /// Whether the agent thinks that trying again may help.
    pub recoverable: bool,
    /// Whose failure it was, for the agent's breaker.
    #[serde(default, skip_serializing_if = "Fault::is_agent")]
    pub fault: Fault,
}

impl Failure {
    /// Characters of a message that are kept.
    pub const MESSAGE_CHARS: usize = 2000;

    /// A failure, its message cut to size.
    pub fn new(code: FailureCode, message: &str, recoverable: bool) -> Self {
        Self {
            code,
            message: message.chars().take(Self::MESSAGE_CHARS).collect(),
            recoverable,
            fault: Fault::Agent,
        }
    }

    /// The same, and whose failure it was.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }
}

/// The stable codes of a task's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    /// The agent reported an error.
    AgentError,
    /// The agent refused the task for good.
    Refused,
    /// No attempt was accepted.
    AttemptsExhausted,
    /// The agent that ran it was not heard of again.
    AgentLost,
    /// It waited too long for its agent.
    Expired,
}

/// What may happen to a task. Reports without an attempt speak of the one that the agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The dispatcher takes it to send it.
    Claimed,
    /// It could not be sent: the connection was gone. The attempt is not spent, and an agent that
    /// got it all the same does not run it again, since it will come with the same number.
    Undelivered(Attempt),
    /// Sending it failed. It may have arrived, so that it will come with the same number; but it
    /// counts.
    DeliveryFailed(Attempt, String),
    /// The agent takes it, or shows that it has by reporting progress or output.
    Started {
        /// Of which try.
        attempt: Option<Attempt>,
        /// When that was said, by the agent's clock.
        said_at: Timestamp,
    },
    /// The agent does not take it.
    Refused {
        /// Of which try.
        attempt: Option<Attempt>,
        /// Why.
        reason: String,
        /// Whether to offer it again.
        retryable: bool,
        /// Whether it counts. An agent that stops hands back what it has not begun, accepted or
        /// not, and that does not.
        spent: bool,
    },
    /// The agent is done.
    Completed(Option<Attempt>),
    /// The agent failed.
    Failed(Option<Attempt>, Failure),
    /// The agent stopped it.
    Cancelled(Option<Attempt>, Option<String>),
    /// An operator wants it to stop.
    CancelRequested(UserId),
    /// The agent does not name it among those that it has.
    Missing {
        /// When it said so, by its clock.
        said_at: Timestamp,
    },
    /// A timer may have ended.
    Tick {
        /// The last sign of life of the attempt, by our clock.
        heard_at: Option<Timestamp>,
    },
    /// An operator wants it to be tried again.
    Retried,
    /// It is to wait for this agent instead.
    Rerouted(AgentId),
}

impl TaskEvent {
    /// The attempt that it speaks of, if it says which.
    pub const fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Undelivered(attempt) | Self::DeliveryFailed(attempt, _) => Some(*attempt),
            Self::Started { attempt, .. }
            | Self::Refused { attempt, .. }
            | Self::Completed(attempt)
            | Self::Failed(attempt, _)
            | Self::Cancelled(attempt, _) => *attempt,
            _ => None,
        }
    }
}

/// Why an event changes nothing: an outcome, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Unchanged {
    /// The state says so already.
    Duplicate,
    /// The attempt it speaks of is over.
    Late,
    /// No agent holds the task, so none can report on it.
    NotHeld,
    /// Another took it first.
    AlreadyClaimed,
    /// It is not time yet.
    NotDue,
    /// It is over.
    Ended,
}

impl TaskState {
    /// Of a task that was just asked for.
    pub const NEW: Self = Self::pending_after(0);

    /// To be tried anew after this many attempts.
    pub(super) const fn pending_after(attempts: u32) -> Self {
        Self::Pending {
            attempts,
            spent: 0,
            undelivered: false,
            not_before: None,
            last_error: None,
        }
    }

    /// Its name, as stored and shown.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether it is over, unless an operator has it tried again.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. }
        )
    }

    /// The attempt that is at the agent.
    pub const fn held(&self) -> Option<Attempt> {
        match self {
            Self::Dispatched { attempt, .. } | Self::Processing { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// The newest attempt: running, over, or sent and said not to have arrived.
    pub const fn last_attempt(&self) -> Option<Attempt> {
        match self {
            Self::Pending {
                attempts,
                undelivered: true,
                ..
            } => Some(Attempt::after(*attempts)),
            Self::Pending { attempts: 0, .. } => None,
            Self::Pending { attempts, .. } => Some(Attempt::after(*attempts - 1)),
            Self::Dispatched { attempt, .. }
            | Self::Processing { attempt, .. }
            | Self::Completed { attempt, .. } => Some(*attempt),
            Self::Failed { attempt, .. } | Self::Cancelled { attempt, .. } => *attempt,
        }
    }

    /// Who wants it to stop.
    pub const fn cancel_request(&self) -> Option<&CancelRequest> {
        match self {
            Self::Dispatched { cancel, .. } | Self::Processing { cancel, .. } => cancel.as_ref(),
            _ => None,
        }
    }

    /// When the state ends by itself.
    pub fn timer(&self, terms: &Terms<'_>) -> Option<Timestamp> {
        let own = match self {
            Self::Pending { .. } => terms.expires_at,
            Self::Dispatched { dispatched_at, .. } => *dispatched_at + terms.policy.ack_deadline,
            Self::Processing { lease, .. } => lease.ends_at(terms.lease),
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. } => return None,
        };
        let cancel = self.cancel_request();
        let cancel = cancel.map(|request| request.at + terms.policy.cancel_deadline);
        Some(cancel.map_or(own, |cancel| cancel.min(own)))
    }
}
