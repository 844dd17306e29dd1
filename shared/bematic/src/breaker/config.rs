//! When a breaker opens and closes.

use std::time::Duration;

use garde::Validate;
use serde::{Deserialize, Serialize};

use super::Window;

/// A week: the longest of all times here.
const WEEK_MS: u64 = 7 * 24 * 3_600_000;

/// When a breaker opens and closes. The default is that of the document the rules come from: 50 %
/// of at least 10 outcomes within 10 min, asked again after a minute, closed after 3 successes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase", default)]
pub struct BreakerConfig {
    /// Percent of the outcomes that have to be failures for it to open.
    #[garde(range(min = 1, max = 100))]
    pub failure_threshold_percentage: u32,
    /// Outcomes that the window has to hold for a rate to say anything.
    #[garde(range(min = 1, max = Window::MOST_REQUIRED))]
    pub minimum_request_count: u32,
    /// Milliseconds that an outcome counts for.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub window_size_ms: u64,
    /// Milliseconds that it stays open before the next request for permission may be a probe; 0 for
    /// no wait at all.
    #[garde(range(max = WEEK_MS))]
    pub recovery_timeout_ms: u64,
    /// Successful probes that close it; also the permits that are out at a time.
    #[garde(range(min = 1, max = 20))]
    pub success_threshold_count: u32,
    /// Milliseconds that a probe may take before it counts as failed, unless it is known to run.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub half_open_permit_lease_ms: u64,
    /// Failures in a row that open it whenever they were; 0 for no such rule. For agents that are
    /// too slow for a rate: ten outcomes never fall into 10 min when a task takes ten.
    #[garde(skip)]
    pub consecutive_failure_threshold: u32,
    /// Milliseconds after which a success is a slow one; 0 for no such rule.
    #[garde(range(max = WEEK_MS))]
    pub slow_call_duration_ms: u64,
    /// Percent of the outcomes that have to be slow for it to open.
    #[garde(range(min = 1, max = 100))]
    pub slow_call_threshold_percentage: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failure_threshold_percentage: 50,
            minimum_request_count: 10,
            window_size_ms: 600_000,
            recovery_timeout_ms: 60_000,
            success_threshold_count: 3,
            half_open_permit_lease_ms: 1_800_000,
            consecutive_failure_threshold: 0,
            slow_call_duration_ms: 0,
            slow_call_threshold_percentage: 100,
        }
    }
}

impl BreakerConfig {
    /// As a deployment has it unless it says otherwise (`template.yaml`): the default, and five
    /// failures in a row, since agents' tasks are slow.
    pub fn deployed() -> Self {
        Self {
            consecutive_failure_threshold: 5,
            ..Self::default()
        }
    }

    /// How long an outcome counts.
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_size_ms)
    }

    /// How long it stays open before it is tried again.
    pub const fn recovery_timeout(&self) -> Duration {
        Duration::from_millis(self.recovery_timeout_ms)
    }

    /// How long a probe may take.
    pub const fn permit_lease(&self) -> Duration {
        Duration::from_millis(self.half_open_permit_lease_ms)
    }

    /// What a success takes at least to be a slow one; `None` if none is.
    pub const fn slow_after(&self) -> Option<Duration> {
        match self.slow_call_duration_ms {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Whether a success that took so long is a slow one.
    pub fn is_slow(&self, took: Duration) -> bool {
        self.slow_after().is_some_and(|slow| took >= slow)
    }

    /// Whether `part` of `total` outcomes is as much as `percentage`, and the total enough.
    pub(super) fn is_reached(&self, part: usize, total: usize, percentage: u32) -> bool {
        let (part, total) = (part as u128, total as u128);
        total >= u128::from(self.minimum_request_count)
            && part * 100 >= total * u128::from(percentage)
    }
}
