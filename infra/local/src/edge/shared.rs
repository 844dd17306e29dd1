//! The state that all connections and relayed requests of an edge share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::disturbance::Limits;
use super::relay::Relay;

/// The shared state of an edge.
pub(super) struct Shared {
    pub(super) emulator: SocketAddr,
    pub(super) limits: Limits,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the edge ends.
    pub(super) stop: CancellationToken,
    pub(super) relay: Relay,
    /// Connections so far, by agent and seed.
    pub(super) connections: Mutex<HashMap<(Vec<u8>, u64), u64>>,
}

impl Shared {
    /// Counts a connection, and returns how many of the agent asked for the same seed before.
    pub(super) fn ordinal(&self, agent_id: &[u8], seed: u64) -> u64 {
        let connections = self.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry((agent_id.to_owned(), seed)).or_default();
        *count += 1;
        *count - 1
    }
}
