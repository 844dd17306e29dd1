//! The caller's clock.

use std::sync::Arc;

/// Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock, as dynoxide wants it.
pub(crate) struct Time(pub(crate) Clock);

impl dynoxide::storage_backend::Clock for Time {
    fn now_unix_secs(&self) -> u64 {
        (self.0)() / 1000
    }

    #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
    fn now_unix_secs_f64(&self) -> f64 {
        (self.0)() as f64 / 1000.0
    }
}
