//! How often heartbeats are sent and recorded.

use std::time::Duration;

/// The interval at which agents send heartbeats.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// The interval at which a heartbeat is recorded.
pub const SEEN_EVERY: Duration = Duration::from_mins(1);
/// The time within which a healthy agent's next heartbeat is normally recorded.
pub const SEEN_WITHIN: Duration = SEEN_EVERY.saturating_add(HEARTBEAT_EVERY);
