//! The settings of one agent's circuit breaker on the command line: parsing and printing.

use std::num::ParseIntError;

use bematic::breaker::BreakerConfig;
use clap::Args;

/// The settings to change. The others keep their value, or at first get the template's default
/// (not the deployment's parameter).
#[derive(Debug, Default, PartialEq, Args)]
pub(crate) struct BreakerArgs {
    /// Percentage of failures at which the breaker opens.
    #[arg(long, value_name = "N")]
    failure_percent: Option<u32>,
    /// Outcomes in the window from which on the percentages apply.
    #[arg(long, value_name = "N")]
    minimum_outcomes: Option<u32>,
    /// Length of the window in seconds: how long an outcome counts.
    #[arg(long, value_name = "N", value_parser = parse_seconds_as_millis)]
    window_seconds: Option<u64>,
    /// Seconds that the breaker stays open before it permits probes.
    #[arg(long, value_name = "N", value_parser = parse_seconds_as_millis)]
    recovery_seconds: Option<u64>,
    /// Successful probes that close the breaker.
    #[arg(long, value_name = "N")]
    successes: Option<u32>,
    /// Seconds, at least, after which a probe without an outcome counts as failed.
    #[arg(long, value_name = "N", value_parser = parse_seconds_as_millis)]
    permit_seconds: Option<u64>,
    /// Failures in a row at which the breaker opens; 0 turns this rule off.
    #[arg(long, value_name = "N")]
    consecutive_failures: Option<u32>,
    /// Seconds from which on a success counts as slow; 0 turns this rule off.
    #[arg(long, value_name = "N", value_parser = parse_seconds_as_millis)]
    slow_seconds: Option<u64>,
    /// Percentage of slow successes at which the breaker opens.
    #[arg(long, value_name = "N")]
    slow_percent: Option<u32>,
}

/// Parses seconds as milliseconds.
fn parse_seconds_as_millis(seconds: &str) -> Result<u64, ParseIntError> {
    Ok(seconds.parse::<u64>()?.saturating_mul(1000))
}

impl BreakerArgs {
    /// Whether no setting is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns `config` with these changes.
    pub(crate) fn apply_to(&self, mut config: BreakerConfig) -> BreakerConfig {
        fn set<T: Copy>(setting: &mut T, value: Option<T>) {
            *setting = value.unwrap_or(*setting);
        }
        let it = &mut config;
        set(&mut it.failure_threshold_percentage, self.failure_percent);
        set(&mut it.minimum_request_count, self.minimum_outcomes);
        set(&mut it.window_size_ms, self.window_seconds);
        set(&mut it.recovery_timeout_ms, self.recovery_seconds);
        set(&mut it.success_threshold_count, self.successes);
        set(&mut it.half_open_permit_lease_ms, self.permit_seconds);
        set(
            &mut it.consecutive_failure_threshold,
            self.consecutive_failures,
        );
        set(&mut it.slow_call_duration_ms, self.slow_seconds);
        set(&mut it.slow_call_threshold_percentage, self.slow_percent);
        config
    }
}

/// Returns an agent's own settings as text, one in a line.
pub(crate) fn format_settings(config: Option<&BreakerConfig>) -> String {
    let Some(config) = config else {
        return "the deployment's settings".to_owned();
    };
    let rows: [(&str, u64); 9] = [
        (
            "failure percent",
            config.failure_threshold_percentage.into(),
        ),
        ("minimum outcomes", config.minimum_request_count.into()),
        ("window seconds", config.window_size_ms / 1000),
        ("recovery seconds", config.recovery_timeout_ms / 1000),
        ("successes", config.success_threshold_count.into()),
        ("permit seconds", config.half_open_permit_lease_ms / 1000),
        (
            "consecutive failures",
            config.consecutive_failure_threshold.into(),
        ),
        ("slow seconds", config.slow_call_duration_ms / 1000),
        ("slow percent", config.slow_call_threshold_percentage.into()),
    ];
    rows.map(|row| match row {
        (name @ ("consecutive failures" | "slow seconds"), 0) => format!("{name:<22}off"),
        (name, number) => format!("{name:<22}{number}"),
    })
    .join("\n")
}
