//! Time and ids.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bematic_protocol::{
    ids::{BatchId, IdGenerator, MessageId, TaskId},
    time::{Clock, Timestamp},
};
use uuid::Uuid;

/// A clock that a test sets, and ids that count.
#[derive(Debug)]
pub(crate) struct Fixed {
    now: AtomicU64,
    next: AtomicU64,
    /// The count in the newest task id.
    last_task: AtomicU64,
}

impl Fixed {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(1_700_000_000_000),
            next: AtomicU64::new(1),
            last_task: AtomicU64::new(0),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now
            .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Returns the newest task id.
    pub(crate) fn last_task(&self) -> TaskId {
        task_id(self.last_task.load(Ordering::SeqCst))
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

impl IdGenerator for Fixed {
    fn task(&self) -> TaskId {
        let count = self.count();
        self.last_task.store(count, Ordering::SeqCst);
        task_id(count)
    }

    fn batch(&self) -> BatchId {
        BatchId::new(Uuid::from_u128(self.count().into()))
    }

    fn message(&self) -> MessageId {
        format!("id-{}", self.count()).parse().unwrap()
    }
}

fn task_id(count: u64) -> TaskId {
    TaskId::new(Uuid::from_u128(count.into()))
}
