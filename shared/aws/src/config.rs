//! The environment that `template.yaml` gives a function: missing means a clear failure at start.

use std::time::Duration;

use bematic::{breaker::BreakerConfig, error::ConfigError, task::TaskPolicy};
use bematic_protocol::ids::ChannelId;
use garde::Validate as _;

/// A variable that must be there.
///
/// # Errors
/// [`ConfigError`] if it is missing or empty.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(value),
        Ok(_) => Err(ConfigError {
            name,
            problem: "is empty".into(),
        }),
        Err(error) => Err(ConfigError {
            name,
            problem: error.to_string(),
        }),
    }
}

/// A number that has a default.
///
/// # Errors
/// [`ConfigError`] if it is there and not a whole number.
pub fn number_or(name: &'static str, default: u64) -> Result<u64, ConfigError> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => value.trim().parse().map_err(|_| ConfigError {
            name,
            problem: format!("is no whole number: {value}"),
        }),
        _ => Ok(default),
    }
}

/// The task life cycle's numbers, of which the deployment may set some: `TASK_ATTEMPTS`,
/// `DRAIN_BATCH` and, in seconds, `TASK_ACK_SECONDS`, `TASK_LEASE_SECONDS`, `TASK_CANCEL_SECONDS`
/// and `TASK_WAIT_SECONDS`.
///
/// # Errors
/// As [`number_or`].
pub fn task_policy() -> Result<TaskPolicy, ConfigError> {
    let seconds =
        |name, default: Duration| number_or(name, default.as_secs()).map(Duration::from_secs);
    let default = TaskPolicy::default();
    let attempts = number_or("TASK_ATTEMPTS", default.max_attempts.into())?;
    let batch = number_or("DRAIN_BATCH", 10)?;
    Ok(TaskPolicy {
        max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        drain_batch: usize::try_from(batch).unwrap_or(default.drain_batch).max(1),
        ack_deadline: seconds("TASK_ACK_SECONDS", default.ack_deadline)?,
        lease: seconds("TASK_LEASE_SECONDS", default.lease)?,
        cancel_deadline: seconds("TASK_CANCEL_SECONDS", default.cancel_deadline)?,
        wait: seconds("TASK_WAIT_SECONDS", default.wait)?,
        ..default
    })
}

/// The settings of breakers that have none of their own: `BREAKER_FAILURE_PERCENT`,
/// `BREAKER_MINIMUM_OUTCOMES`, `BREAKER_SUCCESSES`, `BREAKER_CONSECUTIVE_FAILURES`,
/// `BREAKER_SLOW_PERCENT` and, in seconds, `BREAKER_WINDOW_SECONDS`, `BREAKER_RECOVERY_SECONDS`,
/// `BREAKER_PERMIT_SECONDS` and `BREAKER_SLOW_SECONDS`.
///
/// # Errors
/// As [`number_or`], and if a number is out of its range.
pub fn breaker_config() -> Result<BreakerConfig, ConfigError> {
    let default = BreakerConfig::default();
    let count = |name, default: u32| {
        number_or(name, default.into()).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let millis = |name, default: u64| {
        number_or(name, default / 1000).map(|seconds| seconds.saturating_mul(1000))
    };
    let config = BreakerConfig {
        failure_threshold_percentage: count(
            "BREAKER_FAILURE_PERCENT",
            default.failure_threshold_percentage,
        )?,
        minimum_request_count: count("BREAKER_MINIMUM_OUTCOMES", default.minimum_request_count)?,
        window_size_ms: millis("BREAKER_WINDOW_SECONDS", default.window_size_ms)?,
        recovery_timeout_ms: millis("BREAKER_RECOVERY_SECONDS", default.recovery_timeout_ms)?,
        success_threshold_count: count("BREAKER_SUCCESSES", default.success_threshold_count)?,
        half_open_permit_lease_ms: millis(
            "BREAKER_PERMIT_SECONDS",
            default.half_open_permit_lease_ms,
        )?,
        consecutive_failure_threshold: count(
            "BREAKER_CONSECUTIVE_FAILURES",
            default.consecutive_failure_threshold,
        )?,
        slow_call_duration_ms: millis("BREAKER_SLOW_SECONDS", default.slow_call_duration_ms)?,
        slow_call_threshold_percentage: count(
            "BREAKER_SLOW_PERCENT",
            default.slow_call_threshold_percentage,
        )?,
    };
    in_range(config)
}

/// The settings, if each is within its range; the error names the variable of the first that is not.
fn in_range(config: BreakerConfig) -> Result<BreakerConfig, ConfigError> {
    let Err(report) = config.validate() else {
        return Ok(config);
    };
    let first = report.iter().next();
    let (field, why) = first.map_or_else(<_>::default, |(path, error)| {
        (path.to_string(), error.to_string())
    });
    let (name, unit) = match field.as_str() {
        "failure_threshold_percentage" => ("BREAKER_FAILURE_PERCENT", ""),
        "minimum_request_count" => ("BREAKER_MINIMUM_OUTCOMES", ""),
        "window_size_ms" => ("BREAKER_WINDOW_SECONDS", " ms"),
        "recovery_timeout_ms" => ("BREAKER_RECOVERY_SECONDS", " ms"),
        "success_threshold_count" => ("BREAKER_SUCCESSES", ""),
        "half_open_permit_lease_ms" => ("BREAKER_PERMIT_SECONDS", " ms"),
        "slow_call_duration_ms" => ("BREAKER_SLOW_SECONDS", " ms"),
        "slow_call_threshold_percentage" => ("BREAKER_SLOW_PERCENT", ""),
        _ => ("BREAKER_…", ""),
    };
    Err(ConfigError {
        name,
        problem: format!("is out of range: {why}{unit}"),
    })
}

/// The channel that is told when a breaker opens or closes, from `OPERATIONS_CHANNEL`; none if that
/// is empty.
///
/// # Errors
/// [`ConfigError`] if it is no channel's id.
pub fn operations_channel() -> Result<Option<ChannelId>, ConfigError> {
    const NAME: &str = "OPERATIONS_CHANNEL";
    match std::env::var(NAME) {
        Ok(value) if !value.trim().is_empty() => match value.trim().parse() {
            Ok(channel) => Ok(Some(channel)),
            Err(problem) => Err(ConfigError {
                name: NAME,
                problem: format!("{problem}"),
            }),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut BreakerConfig);

    #[test]
    fn settings_of_a_breaker_that_make_no_sense_are_refused_by_the_variable_that_sets_them() {
        const ERA: u64 = u64::MAX;
        let set: [(&str, Spoil); 8] = [
            ("FAILURE_PERCENT", |it| {
                it.failure_threshold_percentage = 101;
            }),
            ("MINIMUM_OUTCOMES", |it| it.minimum_request_count = 0),
            ("WINDOW_SECONDS", |it| it.window_size_ms = 0),
            ("RECOVERY_SECONDS", |it| it.recovery_timeout_ms = ERA),
            ("SUCCESSES", |it| it.success_threshold_count = 0),
            ("PERMIT_SECONDS", |it| it.half_open_permit_lease_ms = ERA),
            ("SLOW_SECONDS", |it| it.slow_call_duration_ms = ERA),
            ("SLOW_PERCENT", |it| it.slow_call_threshold_percentage = 0),
        ];
        for (variable, spoil) in set {
            let mut config = BreakerConfig::default();
            assert_eq!(in_range(config), Ok(config));
            spoil(&mut config);
            let error = in_range(config).unwrap_err();
            assert_eq!(error.name, format!("BREAKER_{variable}"), "{error}");
            assert!(error.problem.contains("than"), "{error}");
        }
    }
}
