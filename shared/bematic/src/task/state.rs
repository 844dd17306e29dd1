//! The states of a task, and the events that change them.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, Attempt, UserId},
    messages::Fault,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::IntoStaticStr;

use super::policy::TaskTerms;

/// The state of a task.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(
    tag = "status",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// The task waits in its agent's queue.
    Pending {
        /// The number of attempts that were made: the next attempt has the number after it.
        attempts: u32,
        /// The number of attempts that count towards the maximum.
        #[serde(default)]
        spent: u32,
        /// Whether the next attempt was sent already, and may have arrived: the agent may report on
        /// it, and the task is sent under the same number again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undelivered: bool,
        /// The earliest time of the next dispatch.
        not_before: Option<Timestamp>,
        /// The error of the last attempt.
        last_error: Option<String>,
    },
    /// The task was sent to the agent and is not yet acknowledged.
    Dispatched {
        /// The attempt.
        attempt: Attempt,
        /// The number of earlier attempts that count towards the maximum.
        #[serde(default)]
        spent: u32,
        /// The time at which the attempt was sent.
        dispatched_at: Timestamp,
        /// The request to cancel the task, if there is one.
        cancel: Option<CancelRequest>,
    },
    /// The agent runs the task.
    Processing {
        /// The attempt.
        attempt: Attempt,
        /// The number of earlier attempts that count towards the maximum.
        #[serde(default)]
        spent: u32,
        /// The time at which the attempt began.
        started_at: Timestamp,
        /// The attempt's lease.
        lease: Lease,
        /// The request to cancel the task, if there is one.
        cancel: Option<CancelRequest>,
    },
    /// The task completed. Its result is a separate record.
    Completed {
        /// The attempt.
        attempt: Attempt,
        /// The time at which the attempt began, as far as that was seen.
        started_at: Timestamp,
        /// The time at which the attempt ended.
        finished_at: Timestamp,
    },
    /// The task failed.
    Failed {
        /// The last attempt, if any was made.
        attempt: Option<Attempt>,
        /// The time at which the attempt began, if it did.
        started_at: Option<Timestamp>,
        /// The time at which the task failed.
        finished_at: Timestamp,
        /// The failure.
        failure: Failure,
    },
    /// The task was cancelled.
    Cancelled {
        /// The last attempt, if any was made.
        attempt: Option<Attempt>,
        /// The time at which the attempt began, if it did.
        started_at: Option<Timestamp>,
        /// The time at which the task was cancelled.
        finished_at: Timestamp,
        /// The operator who asked for it, if one did.
        by: Option<UserId>,
        /// The reason, if there is one.
        reason: Option<String>,
    },
}

/// The time for which an agent may be silent about a task. It is renewed when it ends, by the signs
/// of life received meanwhile: a progress report needs no write for it.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The last sign of life that was evaluated, by the cloud's clock.
    pub heard_at: Timestamp,
    /// The time at which the agent first named the task, by the agent's clock: its earlier lists of
    /// tasks say nothing about this one.
    pub since: Timestamp,
    /// The time at which the lease ends early: the agent no longer names the task.
    pub ends_early_at: Option<Timestamp>,
}

impl Lease {
    /// Returns the time at which a lease of this length ends.
    pub(crate) fn ends_at(&self, length: Duration) -> Timestamp {
        let at = self.heard_at + length;
        self.ends_early_at.map_or(at, |early| early.min(at))
    }
}

/// An operator's request to cancel a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelRequest {
    /// The operator.
    pub by: UserId,
    /// The time of the request.
    pub at: Timestamp,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of failure.
    pub code: FailureCode,
    /// The agent's message, cut to [`Failure::MESSAGE_CHARS`].
    pub message: String,
    /// Whether the agent reports that a retry may succeed.
    pub recoverable: bool,
    /// Whether the agent or the task is at fault, for the agent's breaker.
    #[serde(default, skip_serializing_if = "Fault::is_agent")]
    pub fault: Fault,
}

impl Failure {
    /// The number of characters of a message that are kept.
    pub const MESSAGE_CHARS: usize = 2000;

    /// Returns a failure of the agent, its message cut to size.
    pub fn new(code: FailureCode, message: &str, recoverable: bool) -> Self {
        Self {
            code,
            message: message.chars().take(Self::MESSAGE_CHARS).collect(),
            recoverable,
            fault: Fault::Agent,
        }
    }
}

/// The stable codes of a task's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    /// The agent sent a terminal error.
    AgentError,
    /// The agent refused the task permanently.
    Refused,
    /// No attempt was acknowledged.
    AttemptsExhausted,
    /// The agent that ran the task sent no further sign of life.
    AgentLost,
    /// The task waited too long for its agent.
    Expired,
}

/// An event in a task's life cycle. A report without an attempt is about the one that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The dispatcher claims the task to send it.
    Claimed,
    /// The attempt could not be sent: the connection was gone. It does not count, and is sent under
    /// the same number again, which an agent that received it all the same does not run twice.
    Undelivered(Attempt),
    /// Sending the attempt failed. It counts, but may have arrived: the next has the same number.
    DeliveryFailed(Attempt, String),
    /// The agent accepts the task, or shows that it has by reporting progress or output.
    Started {
        /// The attempt.
        attempt: Option<Attempt>,
        /// The time of the report, by the agent's clock.
        said_at: Timestamp,
    },
    /// The agent refuses the task.
    Refused {
        /// The attempt.
        attempt: Option<Attempt>,
        /// The agent's reason.
        reason: String,
        /// Whether to dispatch the task again.
        retryable: bool,
        /// Whether the attempt counts towards the maximum: not if the agent hands the task back.
        spent: bool,
    },
    /// The agent sent TASK_COMPLETE.
    Completed(Option<Attempt>),
    /// The agent sent TASK_ERROR.
    Failed(Option<Attempt>, Failure),
    /// The agent sent TASK_CANCELLED.
    Cancelled(Option<Attempt>, Option<String>),
    /// An operator requests that the task be cancelled.
    CancelRequested(UserId),
    /// The agent does not name the task among those that it has.
    Missing {
        /// The time of the agent's list, by the agent's clock.
        said_at: Timestamp,
    },
    /// Time has passed: a timer may have ended.
    Tick {
        /// The last sign of life of the attempt, by the cloud's clock.
        heard_at: Option<Timestamp>,
    },
    /// An operator requests a retry.
    Retried,
    /// The task is moved to this agent's queue.
    Moved(AgentId),
}

impl TaskEvent {
    /// Returns the attempt that the event refers to, if it names one.
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
    /// The state reflects the event already.
    Duplicate,
    /// The attempt of the event is over.
    Late,
    /// No agent holds the task, so none can report on it.
    NotHeld,
    /// The task was claimed by another dispatcher first.
    AlreadyClaimed,
    /// The event is not due yet.
    NotDue,
    /// The task is over.
    Ended,
}

impl TaskState {
    /// The state of a new task.
    pub const NEW: Self = Self::pending_after(0, 0);

    /// Returns the state of a task that waits after this many attempts, of which `spent` count.
    pub(super) const fn pending_after(attempts: u32, spent: u32) -> Self {
        Self::Pending {
            attempts,
            spent,
            undelivered: false,
            not_before: None,
            last_error: None,
        }
    }

    /// Returns the state's name, as it is stored and shown.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the task is over, unless an operator retries it.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. }
        )
    }

    /// Whether the task waits, and no agent can have received the next attempt.
    pub(super) const fn is_pending_unsent(&self) -> bool {
        matches!(
            self,
            Self::Pending {
                undelivered: false,
                ..
            }
        )
    }

    /// Returns the attempt that the agent holds.
    pub const fn held_attempt(&self) -> Option<Attempt> {
        match self {
            Self::Dispatched { attempt, .. } | Self::Processing { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// Returns the newest attempt: running, over, or reported as undelivered.
    pub const fn last_attempt(&self) -> Option<Attempt> {
        match self {
            Self::Pending {
                attempts,
                undelivered: true,
                ..
            } => Some(Attempt::after_attempts(*attempts)),
            Self::Pending { attempts: 0, .. } => None,
            Self::Pending { attempts, .. } => Some(Attempt::after_attempts(*attempts - 1)),
            Self::Dispatched { attempt, .. }
            | Self::Processing { attempt, .. }
            | Self::Completed { attempt, .. } => Some(*attempt),
            Self::Failed { attempt, .. } | Self::Cancelled { attempt, .. } => *attempt,
        }
    }

    pub(crate) const fn cancel_request(&self) -> Option<&CancelRequest> {
        match self {
            Self::Dispatched { cancel, .. } | Self::Processing { cancel, .. } => cancel.as_ref(),
            _ => None,
        }
    }

    /// Returns the time at which the state's timer ends.
    pub(crate) fn timer_ends_at(&self, terms: &TaskTerms<'_>) -> Option<Timestamp> {
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
