//! How the agents of a run behave, in numbers.

use std::ops::Range;

/// The odds of what an agent does.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Temper {
    /// How long a task takes, in milliseconds.
    pub(in crate::chaos) work: Range<u64>,
    /// How long a long one takes: longer than the cloud waits to hear that it was accepted.
    pub(in crate::chaos) long_work: Range<u64>,
    /// A task is a long one.
    pub(in crate::chaos) long: f64,
    /// An acknowledgement is lost before it is on its way.
    pub(in crate::chaos) mute: f64,
    /// A task is told of while it runs.
    pub(in crate::chaos) talk: f64,
    /// A task ends in an error.
    pub(in crate::chaos) fail: f64,
    /// A task is refused, though there is room.
    pub(in crate::chaos) refuse: f64,
    /// The word to stop is not listened to.
    pub(in crate::chaos) work_on: f64,
}

impl Default for Temper {
    fn default() -> Self {
        Self {
            work: 300..4000,
            long_work: 8000..22_000,
            long: 0.12,
            mute: 0.06,
            talk: 0.2,
            fail: 0.05,
            refuse: 0.02,
            work_on: 0.2,
        }
    }
}
