//! Timestamps, and the clock, which is passed in.

use std::{
    fmt,
    ops::{Add, Sub},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A point in time, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// The largest timestamp: 13 digits, the width of a timestamp in a sort key (the year 2286).
const MAX_MILLIS: u64 = 9_999_999_999_999;

impl Timestamp {
    /// Creates a timestamp from Unix milliseconds, at most 13 digits.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > MAX_MILLIS {
            MAX_MILLIS
        } else {
            millis
        })
    }

    /// Returns Unix milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns Unix seconds, the unit of DynamoDB's time-to-live and of Slack's dates.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the time from `earlier` to this timestamp; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

// A timestamp is a JSON number; agents in JavaScript may send a fraction.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::number::deserialize_truncated(deserializer).map(Self::from_millis)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    /// Writes 13 digits, so that timestamps sort as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}", self.0)
    }
}

/// A clock. It is passed in, so that tests can set the time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(0) + since.unwrap_or_default()
    }
}
