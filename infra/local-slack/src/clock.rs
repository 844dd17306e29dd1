//! The clock, which is passed in, so that tests can set the time.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The clock of a local Slack. Ids are generated from the time, too, so that they stay unique after
/// a restart.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// Returns a clock that reads Unix microseconds from a function.
    pub fn new(micros: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(micros))
    }

    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::new(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the clock"
            )]
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::try_from(since_epoch.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
        })
    }

    /// Returns the time in Unix microseconds.
    pub(crate) fn micros(&self) -> u64 {
        (self.0)()
    }

    /// Returns the time in Unix seconds.
    pub(crate) fn secs(&self) -> u64 {
        self.micros() / 1_000_000
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
