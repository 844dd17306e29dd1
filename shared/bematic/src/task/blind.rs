//! Blind writes: what agents say most is written without reading the task first, on condition that
//! the task is as it mostly is then. So a message costs one call, whichever environment gets it.
//!
//! [`bematic_aws::store`] writes the same as conditions and updates of DynamoDB's, and is tested against
//! what is said here. Whatever is not as usual is left to [`Task::after_report`], which knows all.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    time::Timestamp,
};

use super::{Ending, SHOWN_WITHIN, Slot, Task, TaskEvent, TaskPolicy, TaskState};

/// An agent has begun an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// Of which task.
    pub task_id: TaskId,
    /// Who says so.
    pub agent: &'a AgentId,
    /// Which attempt, if that is said.
    pub attempt: Option<Attempt>,
    /// When that was said, by the agent's clock.
    pub said_at: Timestamp,
    /// The lease of tasks that have none of their own.
    pub lease: Duration,
    /// Now.
    pub now: Timestamp,
}

/// An agent is done with an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// Of which task.
    pub task_id: TaskId,
    /// Who says so.
    pub agent: &'a AgentId,
    /// Which attempt.
    pub attempt: Attempt,
    /// How it ended.
    pub ending: &'a Ending,
    /// A success that took so long was slow, which its agent's breaker has to be told; `None` if
    /// nothing is.
    pub slow_after: Option<Duration>,
    /// Now.
    pub now: Timestamp,
}

impl Finish<'_> {
    /// The place that the attempt took at its agent.
    pub const fn slot(&self) -> Slot {
        Slot {
            task_id: self.task_id,
            attempt: self.attempt,
        }
    }

    /// What began before was slow; 0 if nothing is.
    pub fn not_slow_since(&self) -> Timestamp {
        let since = |slow: Duration| {
            let slow = u64::try_from(slow.as_millis()).unwrap_or(u64::MAX);
            self.now.as_millis().saturating_sub(slow) + 1
        };
        Timestamp::from_millis(self.slow_after.map_or(0, since))
    }
}

impl Task {
    /// Whether the agent is known to run the attempt, and nobody wants it to stop.
    pub fn runs(&self, attempt: Attempt, agent: &AgentId) -> bool {
        let runs = matches!(
            self.state,
            TaskState::Processing { attempt: held, cancel: None, .. } if held == attempt
        );
        runs && self.agent_id == *agent
    }

    /// The task once the attempt has begun: if it was sent, nobody wants it to stop, and its lease is
    /// not so short that it would end before Slack should show that.
    pub fn begun(&self, begin: &Begin<'_>) -> Option<Self> {
        let usual = matches!(
            self.state,
            TaskState::Dispatched { attempt, cancel: None, .. }
                if begin.attempt.is_none_or(|named| named == attempt)
        );
        let policy = TaskPolicy {
            lease: begin.lease,
            ..TaskPolicy::default()
        };
        let usual = usual && self.agent_id == *begin.agent && self.lease(&policy) >= SHOWN_WITHIN;
        let event = TaskEvent::Started {
            attempt: begin.attempt,
            said_at: begin.said_at,
        };
        let next = || self.after(event, &policy, begin.now).ok();
        let next = usual.then(next).flatten()?;
        // Not known without reading: whether it is to be told anew shows what is written.
        Some(Self {
            told_at: self.told_at,
            ..next
        })
    }

    /// The task once the attempt is done: if it ran, and was stopped where somebody wanted it to stop
    /// and not otherwise, or worked and was not slow.
    pub fn finished(&self, finish: &Finish<'_>) -> Option<Self> {
        let TaskState::Processing {
            attempt,
            started_at,
            cancel,
            ..
        } = &self.state
        else {
            return None;
        };
        let usual = match finish.ending {
            Ending::Completed(_) => cancel.is_none() && *started_at >= finish.not_slow_since(),
            Ending::Failed(_) => cancel.is_none(),
            Ending::Cancelled(_) => cancel.is_some(),
        };
        let usual = usual && *attempt == finish.attempt && self.agent_id == *finish.agent;
        let event = finish.ending.event(Some(finish.attempt));
        let next = || self.after(event, &TaskPolicy::default(), finish.now).ok();
        usual.then(next).flatten()
    }
}
