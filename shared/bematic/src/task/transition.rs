//! The state machine of a task.
//!
//! ```text
//!    ┌───── refused, undelivered, not acknowledged in time, handed back ──────┐
//!    ▼                                                                        │
//! pending ──claim──▶ dispatched ──ack──▶ processing ──▶ completed | failed | cancelled
//!    ▲                                                              │
//!    └───────────────────────── retried by an operator ─────────────┘
//! ```
//! A task that is pending and was not sent can be moved to another agent.
//!
//! API Gateway passes messages on concurrently, so any report of an attempt may be the first that
//! is seen: a completion ends a task that was never seen to be accepted, and a task whose delivery
//! was reported as failed may turn out to run.

use std::cmp::Ordering;

use bematic_protocol::{
    ids::{Attempt, UserId},
    time::Timestamp,
};

use super::{
    policy::TaskTerms,
    state::{CancelRequest, Failure, FailureCode, Lease, TaskEvent, TaskState, Unchanged},
};

impl TaskState {
    /// Returns the state after `event`.
    pub(crate) fn after(
        &self,
        event: TaskEvent,
        terms: &TaskTerms<'_>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        match event {
            TaskEvent::Claimed => self.after_claim(now),
            TaskEvent::Undelivered(attempt) => {
                self.after_failed_delivery(attempt, None, terms, now)
            }
            TaskEvent::DeliveryFailed(attempt, error) => {
                self.after_failed_delivery(attempt, Some(&error), terms, now)
            }
            TaskEvent::Started { attempt, said_at } => self.after_start(attempt, said_at, now),
            TaskEvent::Refused {
                attempt,
                reason,
                retryable,
                spent,
            } => self.after_refusal(attempt, &reason, retryable, spent, terms, now),
            TaskEvent::Completed(attempt) => self.after_completion(attempt, now),
            TaskEvent::Failed(attempt, failure) => self.after_failure(attempt, failure, now),
            TaskEvent::Cancelled(attempt, reason) => {
                self.after_cancelled_attempt(attempt, reason, now)
            }
            TaskEvent::CancelRequested(by) => self.after_cancel_request(by, now),
            TaskEvent::Missing { said_at } => self.after_missing(said_at, terms, now),
            TaskEvent::Tick { heard_at } => self.after_tick(heard_at, terms, now),
            TaskEvent::Retried => self.after_retry(),
            TaskEvent::Moved(_) => self.after_move(),
        }
    }

    fn after_claim(&self, now: Timestamp) -> Result<Self, Unchanged> {
        match self {
            Self::Pending {
                not_before: Some(due),
                ..
            } if *due > now => Err(Unchanged::NotDue),
            Self::Pending {
                attempts, spent, ..
            } => Ok(Self::Dispatched {
                attempt: Attempt::after_attempts(*attempts),
                spent: *spent,
                dispatched_at: now,
                cancel: None,
            }),
            _ => Err(Unchanged::AlreadyClaimed),
        }
    }

    /// Returns an undelivered attempt to the queue. It counts if sending it failed with an error.
    fn after_failed_delivery(
        &self,
        attempt: Attempt,
        error: Option<&str>,
        terms: &TaskTerms<'_>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let attempt = self.check_current_attempt(Some(attempt))?;
        let Self::Dispatched { spent, cancel, .. } = self else {
            return Err(Unchanged::Late);
        };
        if cancel.is_some() {
            return self.after_cancelled_attempt(Some(attempt), None, now);
        }
        let mut next = match error {
            Some(error) => state_after_failed_attempt(attempt, spent + 1, error, terms, now),
            None => Self::pending_after(attempt.number(), *spent),
        };
        if let Self::Pending {
            attempts,
            undelivered,
            ..
        } = &mut next
        {
            *attempts = attempt.number() - 1;
            *undelivered = true;
        }
        Ok(next)
    }

    fn after_start(
        &self,
        attempt: Option<Attempt>,
        said_at: Timestamp,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let (attempt, spent) = match (self.possibly_delivered_attempt(attempt), self) {
            (Some(sent), _) => sent,
            (None, Self::Dispatched { spent, .. }) => {
                (self.check_current_attempt(attempt)?, *spent)
            }
            (None, _) => {
                return Err(self
                    .check_current_attempt(attempt)
                    .err()
                    .unwrap_or(Unchanged::Duplicate));
            }
        };
        Ok(Self::Processing {
            attempt,
            spent,
            started_at: now,
            lease: Lease {
                heard_at: now,
                since: said_at,
                ends_early_at: None,
            },
            cancel: self.cancel_request().cloned(),
        })
    }

    /// Applies a refusal. An agent that has accepted the task can hand it back, but not refuse it.
    fn after_refusal(
        &self,
        attempt: Option<Attempt>,
        reason: &str,
        retryable: bool,
        counts: bool,
        terms: &TaskTerms<'_>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let attempt = self.check_current_attempt(attempt)?;
        let spent = match self {
            Self::Dispatched { spent, .. } => *spent,
            Self::Processing { spent, .. } if retryable && !counts => *spent,
            _ => return Err(Unchanged::Late),
        };
        if self.cancel_request().is_some() {
            return self.after_cancelled_attempt(Some(attempt), Some(reason.to_owned()), now);
        }
        if retryable {
            let spent = spent + u32::from(counts);
            return Ok(state_after_failed_attempt(
                attempt, spent, reason, terms, now,
            ));
        }
        Ok(Self::Failed {
            attempt: Some(attempt),
            started_at: None,
            finished_at: now,
            failure: Failure::new(FailureCode::Refused, reason, false),
        })
    }

    fn after_completion(
        &self,
        attempt: Option<Attempt>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let repeats = matches!(self, Self::Completed { .. });
        let (attempt, started_at) = self.attempt_to_end(attempt, repeats, now)?;
        Ok(Self::Completed {
            attempt,
            started_at,
            finished_at: now,
        })
    }

    /// Fails the task for good: only an operator's command has it tried again.
    fn after_failure(
        &self,
        attempt: Option<Attempt>,
        failure: Failure,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let repeats =
            matches!(self, Self::Failed { failure: known, .. } if known.code == failure.code);
        let (attempt, started_at) = self.attempt_to_end(attempt, repeats, now)?;
        Ok(Self::Failed {
            attempt: Some(attempt),
            started_at: Some(started_at),
            finished_at: now,
            failure,
        })
    }

    fn after_cancelled_attempt(
        &self,
        attempt: Option<Attempt>,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let repeats = matches!(self, Self::Cancelled { .. });
        let (attempt, started_at) = self.attempt_to_end(attempt, repeats, now)?;
        Ok(Self::Cancelled {
            attempt: Some(attempt),
            started_at: Some(started_at),
            finished_at: now,
            by: self.cancel_request().map(|request| request.by.clone()),
            reason,
        })
    }

    /// Returns the attempt that a terminal message ends, and the time at which it began. `repeats`
    /// is whether the state is the one that the message asks for.
    fn attempt_to_end(
        &self,
        attempt: Option<Attempt>,
        repeats: bool,
        now: Timestamp,
    ) -> Result<(Attempt, Timestamp), Unchanged> {
        if let Some((sent, _)) = self.possibly_delivered_attempt(attempt) {
            return Ok((sent, now));
        }
        match (self.check_current_attempt(attempt), self) {
            (Ok(attempt), Self::Processing { started_at, .. }) => Ok((attempt, *started_at)),
            (Ok(attempt), Self::Dispatched { dispatched_at, .. }) => Ok((attempt, *dispatched_at)),
            (Err(Unchanged::Duplicate), _) if !repeats => Err(Unchanged::Late),
            (result, _) => Err(result.err().unwrap_or(Unchanged::Duplicate)),
        }
    }

    fn after_cancel_request(&self, by: UserId, now: Timestamp) -> Result<Self, Unchanged> {
        if self.cancel_request().is_some() {
            return Err(Unchanged::Duplicate);
        }
        let mut next = self.clone();
        match &mut next {
            Self::Pending { .. } => Ok(Self::Cancelled {
                attempt: self.last_attempt(),
                started_at: None,
                finished_at: now,
                by: Some(by),
                reason: None,
            }),
            Self::Dispatched { cancel, .. } | Self::Processing { cancel, .. } => {
                *cancel = Some(CancelRequest { by, at: now });
                Ok(next)
            }
            Self::Cancelled { .. } => Err(Unchanged::Duplicate),
            Self::Completed { .. } | Self::Failed { .. } => Err(Unchanged::Ended),
        }
    }

    /// Shortens the lease of a task that its agent does not name: its result may be under way.
    fn after_missing(
        &self,
        said_at: Timestamp,
        terms: &TaskTerms<'_>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let ends_at = now + terms.policy.missing_grace;
        let Self::Processing { lease, .. } = self else {
            return Err(Unchanged::NotHeld);
        };
        if lease.since >= said_at {
            return Err(Unchanged::Late);
        }
        if lease.ends_at(terms.lease) <= ends_at {
            return Err(Unchanged::Duplicate);
        }
        Ok(self.with_lease(Lease {
            heard_at: now,
            ends_early_at: Some(ends_at),
            ..*lease
        }))
    }

    fn after_tick(
        &self,
        heard_at: Option<Timestamp>,
        terms: &TaskTerms<'_>,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        if self.timer_ends_at(terms).ok_or(Unchanged::Ended)? > now {
            return Err(Unchanged::NotDue);
        }
        if let Some(request) = self.cancel_request()
            && request.at + terms.policy.cancel_deadline <= now
        {
            let secs = terms.policy.cancel_deadline.as_secs();
            let reason = format!("The agent has not confirmed within {secs} s that it stopped.");
            return self.after_cancelled_attempt(None, Some(reason), now);
        }
        match self {
            Self::Pending { last_error, .. } => Ok(self.after_expiry(last_error.as_deref(), now)),
            Self::Dispatched {
                cancel: Some(_), ..
            } => self.after_cancelled_attempt(None, None, now),
            // The agent names the task: its acknowledgement was lost on the way. The time of the
            // agent's first report, by its own clock, is not known.
            Self::Dispatched {
                attempt,
                dispatched_at,
                ..
            } if heard_at.is_some_and(|at| at > *dispatched_at) => {
                self.after_start(Some(*attempt), Timestamp::from_millis(0), now)
            }
            Self::Dispatched { attempt, spent, .. } => {
                let secs = terms.policy.ack_deadline.as_secs();
                let why = format!("the agent did not acknowledge it within {secs} s");
                Ok(state_after_failed_attempt(
                    *attempt,
                    spent + 1,
                    &why,
                    terms,
                    now,
                ))
            }
            Self::Processing { lease, .. } => {
                let renewed = |at: &Timestamp| *at > lease.heard_at && *at + terms.lease > now;
                match heard_at.filter(renewed) {
                    None => self.after_agent_lost(lease, now),
                    Some(heard_at) => Ok(self.with_lease(Lease {
                        heard_at,
                        ends_early_at: None,
                        ..*lease
                    })),
                }
            }
            _ => Err(Unchanged::Ended),
        }
    }

    /// Returns the state of a task that the agent runs, with another lease.
    fn with_lease(&self, lease: Lease) -> Self {
        let mut next = self.clone();
        if let Self::Processing { lease: present, .. } = &mut next {
            *present = lease;
        }
        next
    }

    fn after_expiry(&self, last_error: Option<&str>, now: Timestamp) -> Self {
        let why = match last_error {
            Some(error) => format!("No agent took it in time. The last attempt failed: {error}"),
            None => "No agent took it in time.".to_owned(),
        };
        Self::Failed {
            attempt: self.last_attempt(),
            started_at: None,
            finished_at: now,
            failure: Failure::new(FailureCode::Expired, &why, true),
        }
    }

    fn after_agent_lost(&self, lease: &Lease, now: Timestamp) -> Result<Self, Unchanged> {
        let minutes = now.since(lease.heard_at).as_secs().div_ceil(60);
        let why = format!(
            "The agent ran the task and has not reported on it for {minutes} min. It may have had \
             effects."
        );
        let failure = Failure::new(FailureCode::AgentLost, &why, true);
        self.after_failure(None, failure, now)
    }

    fn after_retry(&self) -> Result<Self, Unchanged> {
        match self {
            Self::Failed { .. } | Self::Cancelled { .. } => {
                let attempts = self.last_attempt().map_or(0, Attempt::number);
                Ok(Self::pending_after(attempts, 0))
            }
            Self::Completed { .. } => Err(Unchanged::Ended),
            _ => Err(Unchanged::Duplicate),
        }
    }

    /// Checks a move to another agent. An attempt that may have arrived stays with its agent: the
    /// task could run twice, at once.
    fn after_move(&self) -> Result<Self, Unchanged> {
        match self {
            state if state.is_pending_unsent() => Ok(self.clone()),
            state if state.is_terminal() => Err(Unchanged::Ended),
            _ => Err(Unchanged::AlreadyClaimed),
        }
    }

    /// Returns the attempt whose delivery failed, but which the agent may have received, if it is
    /// the event's; and the number of attempts that count.
    fn possibly_delivered_attempt(&self, attempt: Option<Attempt>) -> Option<(Attempt, u32)> {
        let Self::Pending {
            attempts,
            spent,
            undelivered: true,
            ..
        } = self
        else {
            return None;
        };
        let sent = Attempt::after_attempts(*attempts);
        attempt
            .is_none_or(|attempt| attempt == sent)
            .then_some((sent, *spent))
    }

    /// The fence: accepts only the attempt that the agent holds.
    fn check_current_attempt(&self, attempt: Option<Attempt>) -> Result<Attempt, Unchanged> {
        let last = self.last_attempt().ok_or(Unchanged::NotHeld)?;
        match attempt.unwrap_or(last).cmp(&last) {
            Ordering::Greater => Err(Unchanged::NotHeld),
            Ordering::Equal if self.held_attempt().is_some() => Ok(last),
            Ordering::Equal if self.is_terminal() => Err(Unchanged::Duplicate),
            _ => Err(Unchanged::Late),
        }
    }
}

/// Returns the state after a failed attempt: pending again, or failed if that was the last attempt.
fn state_after_failed_attempt(
    attempt: Attempt,
    spent: u32,
    error: &str,
    terms: &TaskTerms<'_>,
    now: Timestamp,
) -> TaskState {
    let failure = Failure::new(FailureCode::AttemptsExhausted, error, true);
    if spent < terms.policy.max_attempts {
        return TaskState::Pending {
            attempts: attempt.number(),
            spent,
            undelivered: false,
            not_before: Some(now + terms.policy.backoff_after(spent)),
            last_error: Some(failure.message),
        };
    }
    TaskState::Failed {
        attempt: Some(attempt),
        started_at: None,
        finished_at: now,
        failure,
    }
}
