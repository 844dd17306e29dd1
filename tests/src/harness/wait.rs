//! Waiting for what must come to be, never for a time.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

/// How long anything may take: far longer than it does, for a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);
/// How often is looked.
const POLL: Duration = Duration::from_millis(150);

/// Looks until `probe` has it; its error says what there is instead.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(LIMIT, what, probe).await
}

/// The same, of what takes its time.
pub(crate) async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let mut instead = String::new();
    let looking = async {
        loop {
            match probe().await {
                Ok(found) => return found,
                Err(seen) => instead = seen,
            }
            sleep(POLL).await;
        }
    };
    match timeout(limit, looking).await {
        Ok(found) => found,
        Err(Elapsed { .. }) => panic!(
            "not within {} s: {what}; there is\n{instead}",
            limit.as_secs()
        ),
    }
}
