//! How long to wait before connecting again.

use std::time::Duration;

/// The longest wait.
const MAX: Duration = Duration::from_mins(1);

/// Exponential, with full jitter: anything up to a limit that doubles. Many agents that lost their
/// connection in the same moment so come back one by one.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait. `random` is from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let limit = self
            .first
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX);
        self.failures = self.failures.saturating_add(1);
        limit.mul_f64(random.clamp(0.0, 1.0)).max(self.first / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_to_a_minute_and_starts_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let limits: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(limits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(500));
        assert_eq!(backoff.next(0.0), Duration::from_millis(100));
    }
}
