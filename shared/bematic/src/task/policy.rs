//! The numbers of the task life cycle.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

/// How long reports are gathered into one update of a Slack message: the delay of the notifier's
/// queue in `template.yaml` is as long, so that the update shows all that fell into it.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(3);

/// One of the intervals of [`FLUSH_INTERVAL`] that time is divided into. A refresh that is enqueued in
/// one is delivered after its end, since the queue delays it by as much: it shows all that was written
/// in it, and one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushInterval(u128);

impl FlushInterval {
    /// The interval that a time falls into.
    pub fn of(at: Timestamp) -> Self {
        Self(u128::from(at.as_millis()) / FLUSH_INTERVAL.as_millis())
    }
}

impl std::fmt::Display for FlushInterval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// A change that Slack does not show after this long is told to the notifier once more: its
/// message may never have been sent.
pub const SHOWN_WITHIN: Duration = Duration::from_mins(1);

/// A task that waits this long while another agent could have it is looked at for a better one.
pub const REROUTE_AFTER: Duration = Duration::from_mins(1);

/// And at least so often from then on.
pub const REROUTE_EVERY: Duration = Duration::from_mins(5);

/// How often a task is offered, and how long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Attempts before a task that no agent accepts fails.
    pub max_attempts: u32,
    /// The wait after the first attempt that came to nothing; doubled after each further one.
    pub backoff: Duration,
    /// The longest wait (SQS delays a message by 15 min at the most).
    pub max_backoff: Duration,
    /// How long an agent may take to acknowledge a task.
    pub ack_deadline: Duration,
    /// How long an agent that runs a task may be silent about it, unless its project says
    /// otherwise.
    pub lease: Duration,
    /// What is left of the lease of a task that its agent no longer names: time for its result to
    /// arrive, should that be under way.
    pub missing_grace: Duration,
    /// How long an agent may take to stop a task that is to be cancelled.
    pub cancel_deadline: Duration,
    /// How long a task waits for its agent.
    pub wait: Duration,
    /// Tasks that one pass over an agent's queue sends; what is left is left to the next message.
    pub drain_batch: usize,
}

impl Default for TaskPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Duration::from_secs(5),
            max_backoff: Duration::from_mins(5),
            ack_deadline: Duration::from_secs(30),
            lease: Duration::from_mins(30),
            missing_grace: Duration::from_secs(30),
            cancel_deadline: Duration::from_secs(30),
            wait: Duration::from_hours(24),
            drain_batch: 10,
        }
    }
}

impl TaskPolicy {
    /// How long to wait after `spent` attempts came to nothing.
    pub fn backoff_after(&self, spent: u32) -> Duration {
        let doublings = spent.saturating_sub(1).min(16);
        self.backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff)
    }
}

/// What applies to one task.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What applies to all.
    pub policy: &'a TaskPolicy,
    /// The project's lease, or the policy's.
    pub lease: Duration,
    /// When it has waited long enough.
    pub expires_at: Timestamp,
}
