//! Virtual time: it stands still while anything is computed, and jumps to the next timer when
//! nothing is left to do. Tokio's paused clock keeps it.

use std::sync::Mutex;

use bematic_protocol::ids::{BatchId, Ids, MessageId, RandomIds, TaskId};
use bematic_protocol::time::{Clock, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::common::lock;

/// When every simulation begins: 2026-11-25T07:00:00Z.
const BEGIN: Timestamp = Timestamp::from_millis(1_795_590_000_000);

/// The time of the simulation.
#[derive(Debug, Clone, Copy)]
pub(super) struct VirtualClock {
    begun: Instant,
}

impl VirtualClock {
    /// It is [`BEGIN`] now.
    pub(super) fn start() -> Self {
        Self {
            begun: Instant::now(),
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        BEGIN + self.begun.elapsed()
    }
}

/// Ids as they always are, but the same in each run.
#[derive(Debug)]
pub(super) struct SeededIds {
    clock: VirtualClock,
    random: Mutex<StdRng>,
}

impl SeededIds {
    pub(super) fn new(clock: VirtualClock, seed: u64) -> Self {
        Self {
            clock,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        lock(&self.random).fill_bytes(&mut random);
        Builder::from_unix_timestamp_millis(self.clock.now().as_millis(), &random).into_uuid()
    }
}

impl Ids for SeededIds {
    fn task(&self) -> TaskId {
        TaskId::new(self.uuid())
    }

    fn batch(&self) -> BatchId {
        BatchId::new(self.uuid())
    }

    fn message(&self) -> MessageId {
        // No key or shard is made of these.
        RandomIds.message()
    }
}
