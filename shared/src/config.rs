//! The environment that `template.yaml` gives a function: missing means a clear failure at start.

use std::time::Duration;

use crate::{error::ConfigError, task::TaskPolicy};

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
