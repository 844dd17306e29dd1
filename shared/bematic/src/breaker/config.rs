//! The settings of a breaker.

use std::time::Duration;

use garde::Validate;
use serde::{Deserialize, Serialize};

use super::Window;

/// A week in milliseconds: the longest time that a setting may have.
const WEEK_MS: u64 = 7 * 24 * 3_600_000;

/// The settings of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase", default)]
#[garde(allow_unvalidated)]
pub struct BreakerConfig {
    /// The percentage of failures at which the breaker opens.
    #[garde(range(min = 1, max = 100))]
    pub failure_threshold_percentage: u32,
    /// The number of outcomes in the window below which rates are not evaluated.
    #[garde(range(min = 1, max = Window::MAX_REQUIRED_OUTCOMES))]
    pub minimum_request_count: u32,
    /// The time in milliseconds for which an outcome counts.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub window_size_ms: u64,
    /// The time in milliseconds for which the breaker stays open before it permits probes.
    #[garde(range(max = WEEK_MS))]
    pub recovery_timeout_ms: u64,
    /// The number of successful probes that close the breaker, and of permits that are out at once.
    #[garde(range(min = 1, max = 20))]
    pub success_threshold_count: u32,
    /// The shortest time in milliseconds after which a probe counts as failed, unless it is known
    /// to run.
    #[garde(range(min = 1, max = WEEK_MS))]
    pub half_open_permit_lease_ms: u64,
    /// The number of failures in a row, over any time, that open the breaker; 0 for no such rule.
    /// It is for agents that are too slow for a rate.
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
    /// Returns the settings of a deployment that sets none (`template.yaml`).
    pub fn template_defaults() -> Self {
        Self {
            consecutive_failure_threshold: 5,
            ..Self::default()
        }
    }

    /// Returns the time for which an outcome counts.
    pub const fn window_length(&self) -> Duration {
        Duration::from_millis(self.window_size_ms)
    }

    pub(super) const fn recovery_timeout(&self) -> Duration {
        Duration::from_millis(self.recovery_timeout_ms)
    }

    /// Returns the shortest time for which a probe has its permit; longer if its task's lease is.
    pub(super) const fn min_permit_lease(&self) -> Duration {
        Duration::from_millis(self.half_open_permit_lease_ms)
    }

    /// Whether a success that took this long counts as slow.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let slow = Duration::from_millis(self.slow_call_duration_ms);
        !slow.is_zero() && took >= slow
    }

    /// Whether `part` of a large enough `total` reaches the percentage.
    pub(super) fn is_percentage_reached(&self, part: u32, total: u32, percentage: u32) -> bool {
        total >= self.minimum_request_count
            && u64::from(part) * 100 >= u64::from(total) * u64::from(percentage)
    }
}
