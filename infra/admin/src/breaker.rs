//! The settings of one agent's circuit breaker on the command line: parsing and printing.

use bematic::breaker::BreakerConfig;
use clap::Args;

/// The settings to change. The others keep their value, or at first get the template's default
/// (not the deployment's parameter).
#[derive(Debug, Default, PartialEq, Args)]
pub(crate) struct Settings {
    /// Percentage of failures at which the breaker opens.
    #[arg(long, value_name = "N")]
    failure_percent: Option<u32>,
    /// Outcomes in the window from which on the percentages apply.
    #[arg(long, value_name = "N")]
    minimum_outcomes: Option<u32>,
    /// Length of the window in seconds: how long an outcome counts.
    #[arg(long, value_name = "N")]
    window_seconds: Option<u64>,
    /// Seconds that the breaker stays open before it permits probes.
    #[arg(long, value_name = "N")]
    recovery_seconds: Option<u64>,
    /// Successful probes that close the breaker.
    #[arg(long, value_name = "N")]
    successes: Option<u32>,
    /// Seconds, at least, after which a probe without an outcome counts as failed.
    #[arg(long, value_name = "N")]
    permit_seconds: Option<u64>,
    /// Failures in a row at which the breaker opens; 0 turns this rule off.
    #[arg(long, value_name = "N")]
    consecutive_failures: Option<u32>,
    /// Seconds from which on a success counts as slow; 0 turns this rule off.
    #[arg(long, value_name = "N")]
    slow_seconds: Option<u64>,
    /// Percentage of slow successes at which the breaker opens.
    #[arg(long, value_name = "N")]
    slow_percent: Option<u32>,
}

impl Settings {
    /// Returns `config` with these changes.
    pub(crate) fn change(&self, config: BreakerConfig) -> BreakerConfig {
        let millis =
            |seconds: Option<u64>, now| seconds.map_or(now, |seconds| seconds.saturating_mul(1000));
        BreakerConfig {
            failure_threshold_percentage: self
                .failure_percent
                .unwrap_or(config.failure_threshold_percentage),
            minimum_request_count: self
                .minimum_outcomes
                .unwrap_or(config.minimum_request_count),
            window_size_ms: millis(self.window_seconds, config.window_size_ms),
            recovery_timeout_ms: millis(self.recovery_seconds, config.recovery_timeout_ms),
            success_threshold_count: self.successes.unwrap_or(config.success_threshold_count),
            half_open_permit_lease_ms: millis(
                self.permit_seconds,
                config.half_open_permit_lease_ms,
            ),
            consecutive_failure_threshold: self
                .consecutive_failures
                .unwrap_or(config.consecutive_failure_threshold),
            slow_call_duration_ms: millis(self.slow_seconds, config.slow_call_duration_ms),
            slow_call_threshold_percentage: self
                .slow_percent
                .unwrap_or(config.slow_call_threshold_percentage),
        }
    }
}

/// Returns an agent's own settings as text, one in a line.
pub(crate) fn rows(config: Option<&BreakerConfig>) -> String {
    let Some(config) = config else {
        return "the deployment's settings".to_owned();
    };
    let or_off = |number: u64| match number {
        0 => "off".to_owned(),
        number => number.to_string(),
    };
    [
        (
            "failure percent",
            config.failure_threshold_percentage.to_string(),
        ),
        ("minimum outcomes", config.minimum_request_count.to_string()),
        ("window seconds", (config.window_size_ms / 1000).to_string()),
        (
            "recovery seconds",
            (config.recovery_timeout_ms / 1000).to_string(),
        ),
        ("successes", config.success_threshold_count.to_string()),
        (
            "permit seconds",
            (config.half_open_permit_lease_ms / 1000).to_string(),
        ),
        (
            "consecutive failures",
            or_off(config.consecutive_failure_threshold.into()),
        ),
        ("slow seconds", or_off(config.slow_call_duration_ms / 1000)),
        (
            "slow percent",
            config.slow_call_threshold_percentage.to_string(),
        ),
    ]
    .map(|(name, value)| format!("{name:<22}{value}"))
    .join("\n")
}
