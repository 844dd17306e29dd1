//! How long API Gateway lets a connection live. How large its messages may be is in
//! [`bematic_protocol::messages::limits`].

use std::time::Duration;

/// How long a connection may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Without a message either way. Pings do not count: AWS does not say that they do.
    pub idle: Duration,
    /// In all.
    pub lifetime: Duration,
}

impl Default for Limits {
    /// API Gateway's own, which cannot be raised.
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            lifetime: Duration::from_hours(2),
        }
    }
}
