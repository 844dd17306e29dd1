//! The settings of a breaker.

use std::time::Duration;

use garde::Validate;
use serde::{Deserialize, Serialize};

use super::Window;

/// A week in milliseconds: the longest time that a setting may have.
const WEEK_MS: u64 = 7 * 24 * 3_600_000;

/// The settings of a breaker. The defaults are those of the requirements: it opens at 50 % failures
/// of at least 10 outcomes within 10 min, permits probes after a minute, and closes after 3
/// successful probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase", default)]
pub struct BreakerConfig {
    /// The percentage of failures at which the breaker opens.
    #[garde(range(min = 1, max = 100))]
    pub failure_threshold_percentage: u32,
    /// The number of outcomes in the window below which rates are not evaluated.
    #[garde(range(min = 1, max = Window::MOST_REQUIRED))]
    pub minimum_request_count: u32,
    /// The time in milliseconds for which an outcome counts.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub window_size_ms: u64,
    /// The time in milliseconds for which the breaker stays open before the next attempt may be a
    /// probe; 0 for no wait.
    #[garde(range(max = WEEK_MS))]
    pub recovery_timeout_ms: u64,
    /// The number of successful probes that close the breaker; also the number of permits that are
    /// out at a time.
    #[garde(range(min = 1, max = 20))]
    pub success_threshold_count: u32,
    /// The time in milliseconds after which a probe counts as failed, unless it is known to run.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub half_open_permit_lease_ms: u64,
    /// The number of failures in a row, over any time, that open the breaker; 0 for no such rule.
    /// It is for agents that are too slow for a rate: ten outcomes never fall into 10 min when a
    /// task takes ten.
    #[garde(skip)]
    pub consecutive_failure_threshold: u32,
    /// The time in milliseconds after which a success counts as slow; 0 for no such rule.
    #[garde(range(max = WEEK_MS))]
    pub slow_call_duration_ms: u64,
    /// The percentage of slow outcomes at which the breaker opens.
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
    /// Returns the settings of a deployment that sets none (`template.yaml`): the defaults, and
    /// five failures in a row, since agents' tasks are slow.
    pub fn deployed() -> Self {
        Self {
            consecutive_failure_threshold: 5,
            ..Self::default()
        }
    }

    /// Returns the time for which an outcome counts.
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_size_ms)
    }

    /// Returns the time for which the breaker stays open before it permits probes.
    pub const fn recovery_timeout(&self) -> Duration {
        Duration::from_millis(self.recovery_timeout_ms)
    }

    /// Returns the time that a probe may take.
    pub const fn permit_lease(&self) -> Duration {
        Duration::from_millis(self.half_open_permit_lease_ms)
    }

    /// Whether a success that took this long counts as slow.
    pub fn is_slow(&self, took: Duration) -> bool {
        let slow = Duration::from_millis(self.slow_call_duration_ms);
        !slow.is_zero() && took >= slow
    }

    /// Whether `part` of `total` outcomes reaches `percentage`, and the total is large enough.
    pub(super) fn is_reached(&self, part: usize, total: usize, percentage: u32) -> bool {
        let (part, total) = (part as u128, total as u128);
        total >= u128::from(self.minimum_request_count)
            && part * 100 >= total * u128::from(percentage)
    }
}
