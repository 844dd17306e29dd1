//! The limits and delays of the task life cycle.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

/// The time for which changes are gathered into one update: the delay of the notifier's queue.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(3);

/// An interval of [`FLUSH_INTERVAL`]. A refresh that is enqueued in it is delivered after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushInterval(u128);

impl FlushInterval {
    /// Returns the interval that a time falls into.
    pub fn of(at: Timestamp) -> Self {
        Self(u128::from(at.as_millis()) / FLUSH_INTERVAL.as_millis())
    }
}

impl std::fmt::Display for FlushInterval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// The time after which a refresh is enqueued again for a change that Slack does not show.
pub const SHOWN_WITHIN: Duration = Duration::from_mins(1);

/// The time after the end of an attempt for which steps and output of it are stored: longer than
/// messages are on their way, and no longer, since an agent is not trusted to stop.
pub(crate) const REPORTS_TAKEN_AFTER_END: Duration = Duration::from_mins(5);

/// The time after which a waiting task that may be moved is checked for a better agent.
pub(crate) const MOVE_CHECK_AFTER: Duration = Duration::from_mins(1);

/// The longest interval between further checks for a better agent.
pub(crate) const MAX_MOVE_CHECK_INTERVAL: Duration = Duration::from_mins(5);

/// The limits and delays of the task life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPolicy {
    /// The number of attempts after which a task that no agent accepts fails.
    pub max_attempts: u32,
    /// The wait after the first failed attempt; it doubles after each further one.
    pub backoff: Duration,
    /// The longest wait between attempts (SQS delays a message by 15 min at the most).
    pub max_backoff: Duration,
    /// The time that an agent has to acknowledge a task.
    pub ack_deadline: Duration,
    /// The time for which an agent may be silent about a task, unless its project sets another.
    pub lease: Duration,
    /// The remaining lease of a task that its agent no longer names: its result may be under way.
    pub missing_grace: Duration,
    /// The time that an agent has to confirm a cancellation.
    pub cancel_deadline: Duration,
    /// The time for which a task waits for its agent.
    pub wait: Duration,
    /// The number of tasks that one dispatch of an agent's queue sends at most.
    pub dispatch_limit: usize,
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
            dispatch_limit: 10,
        }
    }
}

impl TaskPolicy {
    pub(crate) fn backoff_after(&self, spent: u32) -> Duration {
        let doublings = spent.saturating_sub(1).min(16);
        self.backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff)
    }
}

/// The settings that apply to one task, put together for each decision: the policy is the present
/// one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskTerms<'a> {
    /// The settings that apply to all tasks.
    pub policy: &'a TaskPolicy,
    /// The length of the project's lease, or of the policy's.
    pub lease: Duration,
    /// The time at which the waiting task expires.
    pub expires_at: Timestamp,
}
