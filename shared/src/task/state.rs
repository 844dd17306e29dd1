//! The state machine.
//!
//! ```text
//! pending ──claim──▶ dispatched ──ack──▶ processing ──▶ completed | failed | cancelled
//!    ▲                   │ refused, undelivered
//!    └───────────────────┘   (a task that was undelivered may turn out to be completed, too)
//! ```
//! API Gateway hands over messages concurrently, so any report of an attempt may be the first that
//! is seen: a completion ends a task that was never seen to be accepted.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::TaskPolicy;
use crate::{ids::Attempt, time::Timestamp};

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
        /// Attempts already spent.
        attempts: u32,
        /// The next attempt was sent to a connection that was said to be gone. It may have arrived:
        /// the agent may report on it, and it is offered under the same number again.
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
        /// Since when.
        dispatched_at: Timestamp,
    },
    /// The agent runs it.
    Processing {
        /// Which try.
        attempt: Attempt,
        /// Since when.
        started_at: Timestamp,
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
        /// Which try was stopped, if any was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// When it began, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable code.
    pub code: FailureCode,
    /// In the agent's words, or ours.
    pub message: String,
    /// Whether running it again may help.
    pub recoverable: bool,
}

impl Failure {
    /// Characters of a message that are kept; the output has the rest.
    pub const MESSAGE_CHARS: usize = 3000;

    /// A failure, its message cut to what is kept.
    pub fn new(code: FailureCode, message: &str, recoverable: bool) -> Self {
        Self {
            code,
            message: message.chars().take(Self::MESSAGE_CHARS).collect(),
            recoverable,
        }
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
    /// The agent refused it too often.
    AttemptsExhausted,
}

/// What may happen to a task. Reports without an attempt speak of the one that the agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The dispatcher takes it to send it.
    Claimed,
    /// It could not be sent: the connection was gone. The attempt is not spent, and an agent that
    /// got it all the same does not run it again, since it will come with the same number.
    Undelivered(Attempt),
    /// The agent takes it, or shows that it has by reporting progress or output.
    Started(Option<Attempt>),
    /// The agent does not take it.
    Refused {
        /// Of which try.
        attempt: Option<Attempt>,
        /// Why.
        reason: String,
        /// Whether to offer it again.
        retryable: bool,
    },
    /// The agent is done.
    Completed(Option<Attempt>),
    /// The agent failed.
    Failed(Option<Attempt>, Failure),
    /// The agent stopped it.
    Cancelled(Option<Attempt>, Option<String>),
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
}

impl TaskState {
    /// Of a task that was just asked for.
    pub const NEW: Self = Self::Pending {
        attempts: 0,
        undelivered: false,
        not_before: None,
        last_error: None,
    };

    /// Its name, as stored and shown.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether nothing can happen to it any more.
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

    /// The newest attempt, running or over.
    pub const fn last_attempt(&self) -> Option<Attempt> {
        match self {
            Self::Pending { attempts: 0, .. } => None,
            Self::Pending { attempts, .. } => Some(Attempt::after(*attempts - 1)),
            Self::Dispatched { attempt, .. }
            | Self::Processing { attempt, .. }
            | Self::Completed { attempt, .. } => Some(*attempt),
            Self::Failed { attempt, .. } | Self::Cancelled { attempt, .. } => *attempt,
        }
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`Unchanged`] names why there is none.
    pub fn after(
        &self,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        match event {
            TaskEvent::Claimed => self.claimed(now),
            TaskEvent::Undelivered(attempt) => self.undelivered(attempt),
            TaskEvent::Started(attempt) => self.started(attempt, now),
            TaskEvent::Refused {
                attempt,
                reason,
                retryable,
            } => {
                let attempt = self.refusable(attempt)?;
                Ok(refused(attempt, &reason, retryable, policy, now))
            }
            TaskEvent::Completed(attempt) => {
                let (attempt, started_at) = self.ends(attempt, now)?;
                Ok(Self::Completed {
                    attempt,
                    started_at,
                    finished_at: now,
                })
            }
            TaskEvent::Failed(attempt, failure) => {
                let (attempt, started_at) = self.ends(attempt, now)?;
                let (attempt, started_at) = (Some(attempt), Some(started_at));
                Ok(Self::Failed {
                    attempt,
                    started_at,
                    finished_at: now,
                    failure,
                })
            }
            TaskEvent::Cancelled(attempt, reason) => {
                let (attempt, started_at) = self.ends(attempt, now)?;
                let (attempt, started_at) = (Some(attempt), Some(started_at));
                Ok(Self::Cancelled {
                    attempt,
                    started_at,
                    finished_at: now,
                    reason,
                })
            }
        }
    }

    fn claimed(&self, now: Timestamp) -> Result<Self, Unchanged> {
        match self {
            Self::Pending {
                not_before: Some(due),
                ..
            } if *due > now => Err(Unchanged::NotDue),
            Self::Pending { attempts, .. } => Ok(Self::Dispatched {
                attempt: Attempt::after(*attempts),
                dispatched_at: now,
            }),
            _ => Err(Unchanged::AlreadyClaimed),
        }
    }

    fn undelivered(&self, attempt: Attempt) -> Result<Self, Unchanged> {
        match self.current(Some(attempt))? {
            attempt if matches!(self, Self::Dispatched { .. }) => Ok(Self::Pending {
                attempts: attempt.number() - 1,
                undelivered: true,
                not_before: None,
                last_error: None,
            }),
            _ => Err(Unchanged::Late),
        }
    }

    fn started(&self, attempt: Option<Attempt>, now: Timestamp) -> Result<Self, Unchanged> {
        let attempt = self.current(attempt)?;
        match self {
            Self::Dispatched { .. } => Ok(Self::Processing {
                attempt,
                started_at: now,
            }),
            _ => Err(Unchanged::Duplicate),
        }
    }

    /// A refusal counts only before the agent has shown that it took the task.
    fn refusable(&self, attempt: Option<Attempt>) -> Result<Attempt, Unchanged> {
        let attempt = self.current(attempt)?;
        match self {
            Self::Dispatched { .. } => Ok(attempt),
            _ => Err(Unchanged::Late),
        }
    }

    /// The attempt that a terminal report ends, and when it began.
    fn ends(
        &self,
        attempt: Option<Attempt>,
        now: Timestamp,
    ) -> Result<(Attempt, Timestamp), Unchanged> {
        if let Self::Pending {
            attempts,
            undelivered: true,
            ..
        } = self
        {
            let sent = Attempt::after(*attempts);
            if attempt.is_none_or(|attempt| attempt == sent) {
                return Ok((sent, now));
            }
        }
        let attempt = self.current(attempt)?;
        match self {
            Self::Dispatched { dispatched_at, .. } => Ok((attempt, *dispatched_at)),
            Self::Processing { started_at, .. } => Ok((attempt, *started_at)),
            _ => Err(Unchanged::Duplicate),
        }
    }

    /// The fence: lets only the attempt pass that the agent holds.
    fn current(&self, attempt: Option<Attempt>) -> Result<Attempt, Unchanged> {
        match (self.held(), attempt) {
            (Some(held), None) => Ok(held),
            (Some(held), Some(attempt)) if attempt == held => Ok(held),
            (Some(held), Some(attempt)) if attempt > held => Err(Unchanged::NotHeld),
            (Some(_), Some(_)) => Err(Unchanged::Late),
            (None, attempt) => Err(self.unheld(attempt)),
        }
    }

    fn unheld(&self, attempt: Option<Attempt>) -> Unchanged {
        match (self.last_attempt(), attempt) {
            (Some(_), None) if self.is_terminal() => Unchanged::Duplicate,
            (Some(last), Some(attempt)) if self.is_terminal() && attempt == last => {
                Unchanged::Duplicate
            }
            (Some(last), Some(attempt)) if attempt <= last => Unchanged::Late,
            _ => Unchanged::NotHeld,
        }
    }
}

fn refused(
    attempt: Attempt,
    reason: &str,
    retryable: bool,
    policy: &TaskPolicy,
    now: Timestamp,
) -> TaskState {
    let spent = attempt.number();
    if retryable && spent < policy.max_attempts {
        return TaskState::Pending {
            attempts: spent,
            undelivered: false,
            not_before: Some(now + policy.backoff_after(spent)),
            last_error: Some(Failure::new(FailureCode::Refused, reason, true).message),
        };
    }
    let code = if retryable {
        FailureCode::AttemptsExhausted
    } else {
        FailureCode::Refused
    };
    TaskState::Failed {
        attempt: Some(attempt),
        started_at: None,
        finished_at: now,
        failure: Failure::new(code, reason, retryable),
    }
}
