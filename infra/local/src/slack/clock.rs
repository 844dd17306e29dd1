//! Time comes in, so that a test can say what it is.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Where the server reads the time. Ids are made from it too, so that they stay unique over a
/// restart.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that answers with Unix microseconds.
    pub fn new(micros: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(micros))
    }

    /// The machine's clock.
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

    /// Unix microseconds.
    pub(super) fn micros(&self) -> u64 {
        (self.0)()
    }

    /// Unix seconds.
    pub(super) fn secs(&self) -> u64 {
        self.micros() / 1_000_000
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
