//! The numbers of the task life cycle.

use std::time::Duration;

/// How long reports are gathered into one update of a Slack message: the delay of the notifier's
/// queue in `template.yaml` is as long, so that the update shows all that fell into it.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(3);

/// How often, and after how long, a task is offered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Attempts before a task that no agent accepts fails.
    pub max_attempts: u32,
    /// The wait after the first refusal; doubled after each further one.
    pub backoff: Duration,
    /// The longest wait (SQS delays a message by 15 min at the most).
    pub max_backoff: Duration,
}

impl Default for TaskPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Duration::from_secs(5),
            max_backoff: Duration::from_mins(5),
        }
    }
}

impl TaskPolicy {
    /// How long to wait after `spent` attempts were refused.
    pub fn backoff_after(&self, spent: u32) -> Duration {
        let doublings = spent.saturating_sub(1).min(16);
        self.backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff)
    }
}
