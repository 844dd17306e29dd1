//! Waits: those that double, and one for a deadline.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// A wait that begins with `first` and doubles `times`, up to `max`.
pub(crate) fn exponential_delay(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(max)
}

/// The wait before a connection is tried again: full jitter, which is anything up to a limit that
/// doubles with each failure, up to a minute. Many agents that lost their connection in the same
/// moment so come back one by one. `random` is from 0 to 1.
pub(crate) fn jittered_delay(first: Duration, failures: u32, random: f64) -> Duration {
    let limit = exponential_delay(first, failures, Duration::from_mins(1));
    limit.mul_f64(random.clamp(0.0, 1.0)).max(first / 10)
}

/// Waits until this time; for ever without one.
pub(crate) async fn sleep_until_deadline(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_to_a_minute() {
        let first = Duration::from_secs(1);
        let limits: Vec<u64> = (0..8)
            .map(|n| jittered_delay(first, n, 1.0).as_secs())
            .collect();
        assert_eq!(limits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(jittered_delay(first, 0, 0.5), Duration::from_millis(500));
        assert_eq!(jittered_delay(first, 0, 0.0), Duration::from_millis(100));
    }
}
