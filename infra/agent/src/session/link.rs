//! Whether there is a connection, and when it needs something.

use std::time::Duration;

use tokio::time::Instant;

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Down,
    Up {
        /// When something came last.
        heard: Instant,
        /// When the next heartbeat is due.
        beat: Instant,
        renewal: Renewal,
    },
}

/// How far the replacement of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It begins then.
    Due(Instant),
    /// Sending pauses: until then, or the proof that what was sent has arrived. The cloud closes
    /// the older connection as soon as it has the newer one, with whatever is on its way.
    Proving(Instant),
    /// The new connection is being opened, and the old one still read.
    Opening,
}

impl Renewal {
    const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Due(at) | Self::Proving(at) => Some(at),
            Self::Opening => None,
        }
    }
}

impl Link {
    pub(super) const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// When the next heartbeat is due, or the connection counts as dead or is to be replaced.
    pub(super) fn deadline(&self, silence: Duration) -> Option<Instant> {
        match self {
            Self::Down => None,
            Self::Up {
                heard,
                beat,
                renewal,
            } => [Some(*heard + silence), Some(*beat), renewal.deadline()]
                .into_iter()
                .flatten()
                .min(),
        }
    }
}
