//! Time and ids.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bematic_protocol::{
    ids::{BatchId, Ids, MessageId, TaskId},
    time::{Clock, Timestamp},
};
use uuid::Uuid;

/// A clock that a test sets, and ids that count.
#[derive(Debug)]
pub(crate) struct Fixed {
    now: AtomicU64,
    next: AtomicU64,
}

impl Fixed {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(1_700_000_000_000),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now
            .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }
}

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }
}

impl Ids for Fixed {
    fn task(&self) -> TaskId {
        TaskId::new(Uuid::from_u128(self.count().into()))
    }

    fn batch(&self) -> BatchId {
        BatchId::new(Uuid::from_u128(self.count().into()))
    }

    fn message(&self) -> MessageId {
        format!("id-{}", self.count()).parse().unwrap()
    }
}
