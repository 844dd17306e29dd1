//! The names of functions, and what else several modules need.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

pub(crate) const FLOOR_FUNCTION: &str = "floor";
pub(crate) const MESSAGE_FUNCTION: &str = "ws-message";
pub(crate) const HEARTBEAT_FUNCTION: &str = "ws-heartbeat";
pub(crate) const WEBHOOK_FUNCTION: &str = "slack-webhook";

/// Locks a state. What is locked is whole between calls, even after one that panicked.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The value that `percent` of the values do not exceed (nearest rank); none of no values.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

pub(crate) fn write_json(path: Option<&Path>, report: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let json = serde_json::to_string_pretty(report)?;
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(100.0));
        assert_eq!(percentile(&values, 99), Some(198.0));
        assert_eq!(percentile(&values, 100), Some(200.0));
        assert_eq!(percentile(&values, 0), Some(1.0));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_slow_one_in_a_hundred_does_not_count_for_the_99th_but_two_do() {
        let mut values = vec![1.0; 99];
        values.push(50.0);
        assert_eq!(percentile(&values, 99), Some(1.0));
        values[0] = 50.0;
        assert_eq!(percentile(&values, 99), Some(50.0));
    }
}
