//! Settings of one agent's circuit breaker, as they are given on the command line and shown.

use bematic::breaker::BreakerConfig;
use clap::Args;

/// Settings to change. What is left out stays as it is; at first it is as the template has it,
/// whatever the deployment was given.
#[derive(Debug, Default, PartialEq, Args)]
pub(crate) struct Settings {
    /// Percent of the outcomes that have to be failures for the breaker to open.
    #[arg(long, value_name = "N")]
    failure_percent: Option<u32>,
    /// Outcomes that the window has to hold for a rate to say anything.
    #[arg(long, value_name = "N")]
    minimum_outcomes: Option<u32>,
    /// Seconds that an outcome counts for.
    #[arg(long, value_name = "N")]
    window_seconds: Option<u64>,
    /// Seconds that the breaker stays open before it lets probes through.
    #[arg(long, value_name = "N")]
    recovery_seconds: Option<u64>,
    /// Successful probes that close the breaker.
    #[arg(long, value_name = "N")]
    successes: Option<u32>,
    /// Seconds that a probe may take at least.
    #[arg(long, value_name = "N")]
    permit_seconds: Option<u64>,
    /// Failures in a row that open the breaker; 0 for no such rule.
    #[arg(long, value_name = "N")]
    consecutive_failures: Option<u32>,
    /// Seconds after which a success is slow; 0 for no such rule.
    #[arg(long, value_name = "N")]
    slow_seconds: Option<u64>,
    /// Percent of the outcomes that have to be slow for the breaker to open.
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

/// Returns an agent's own settings as a person reads them.
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
