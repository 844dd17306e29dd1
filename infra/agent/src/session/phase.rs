//! Who wants the agent to stop, and how far stopping is.

use tokio::time::Instant;

use crate::event::Ending;

/// Who wants the agent to stop. Signals count: the first stops it gently, the second ends what
/// still runs, the third does not wait for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// A signal, by its name.
    Signal(&'static str),
    /// SYSTEM_SHUTDOWN, with its reason.
    CloudShutdown(String),
    /// SYSTEM_RESTART, with its reason.
    CloudRestart(String),
}

/// How far stopping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Working,
    /// Running tasks may finish until then.
    Draining {
        ending: Ending,
        until: Instant,
    },
    /// Running tasks are being ended.
    Forced {
        ending: Ending,
    },
    /// Nothing runs; the cloud may confirm until then.
    Settling {
        ending: Ending,
        until: Instant,
    },
    /// The last word is on its way.
    Leaving {
        ending: Ending,
        until: Instant,
    },
    Gone,
}

impl Phase {
    pub(super) fn takes_tasks(self) -> bool {
        self == Self::Working
    }

    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Draining { until, .. }
            | Self::Settling { until, .. }
            | Self::Leaving { until, .. } => Some(until),
            Self::Working | Self::Forced { .. } | Self::Gone => None,
        }
    }
}
