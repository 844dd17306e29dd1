//! What the edge has done to messages so far.

use std::sync::atomic::{AtomicU64, Ordering};

use super::dice::{Fate, When};

/// What was done to messages, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageCounts {
    /// Messages that came.
    pub came: u64,
    /// Of those, handed on twice.
    pub doubled: u64,
    /// Copies held back behind later messages.
    pub reordered: u64,
    /// Copies handed on late.
    pub delayed: u64,
    /// Messages not handed on.
    pub dropped: u64,
    /// Connections that were cut.
    pub cut: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    came: AtomicU64,
    doubled: AtomicU64,
    reordered: AtomicU64,
    delayed: AtomicU64,
    dropped: AtomicU64,
    cut: AtomicU64,
}

impl Tally {
    pub(super) fn add(&self, fate: Fate) {
        count(&self.came);
        match fate {
            Fate::Cut => count(&self.cut),
            Fate::Dropped => count(&self.dropped),
            Fate::Delivered(when) => self.copy(when),
            Fate::Doubled(first, second) => {
                count(&self.doubled);
                self.copy(first);
                self.copy(second);
            }
        }
    }

    fn copy(&self, when: When) {
        match when {
            When::Now => {}
            When::Behind(_) => count(&self.reordered),
            When::After(_) => count(&self.delayed),
        }
    }

    pub(super) fn counts(&self) -> MessageCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MessageCounts {
            came: read(&self.came),
            doubled: read(&self.doubled),
            reordered: read(&self.reordered),
            delayed: read(&self.delayed),
            dropped: read(&self.dropped),
            cut: read(&self.cut),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
