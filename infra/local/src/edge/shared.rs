//! What the edge's connections and relayed requests share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::Calls;
use super::limits::Limits;
use super::relay::Relay;
use super::tally::Tally;

/// What every request is handled with.
pub(super) struct Shared {
    pub(super) emulator: SocketAddr,
    pub(super) limits: Limits,
    pub(super) tally: Tally,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) relay: Relay,
    pub(super) calls: Calls,
    /// Connections so far, by agent and seed.
    connections: Mutex<HashMap<(Vec<u8>, u64), u64>>,
}

impl Shared {
    pub(super) fn new(emulator: SocketAddr, limits: Limits) -> Self {
        Self {
            emulator,
            limits,
            tally: Tally::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            relay: Relay::new(emulator),
            calls: Calls::default(),
            connections: Mutex::default(),
        }
    }

    /// How many connections of the agent asked for the same seed before, counting this one in.
    pub(super) fn ordinal(&self, agent_id: &[u8], seed: u64) -> u64 {
        let connections = self.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry((agent_id.to_owned(), seed)).or_default();
        *count += 1;
        *count - 1
    }
}
