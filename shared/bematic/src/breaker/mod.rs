//! The circuit breaker: withholds tasks from an agent that keeps failing.
//!
//! ```text
//!            too many failures                  asked, once the recovery timeout is over
//!   closed ────────────────────▶ open ───────────────────────────────▶ half-open
//!     ▲                            ▲            a probe fails               │
//!     │                            └────────────────────────────────────────┤
//!     └───────────────────────────────────────────── enough probes succeed ─┘
//! ```
//! [`Breaker::after`] defines what an event does to a breaker. Its result is written in the
//! transaction that ends the attempt: so an outcome counts once, and needs no id.
//!
//! Times are compared exactly: an outcome as old as the window counts; a recovery timeout or a
//! permit's lease that ends now has ended.

mod config;
mod gate;
mod incident;
mod outcome;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod transition;
mod window;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

pub(crate) use self::window::Counts;
pub use self::{
    config::BreakerConfig,
    gate::{Gate, PermittedAttempts},
    incident::{ClosedBy, Incident, IncidentEnd},
    outcome::{FailureKind, IgnoredBecause, IgnoredReport, LastFailure, Outcome, OutcomeKind},
    report::event_from_task,
    state::{Mode, Override, Permit, State, Trip},
    transition::{BreakerEvent, Transition, Verdict},
    window::Window,
};
use bematic_protocol::time::Timestamp;

/// An agent's breaker, as it is stored: one item of some 15 KB at the most
/// ([`Window::MAX_OUTCOMES_KEPT`]).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// The number of times the breaker was written: the condition of the next write.
    pub version: u64,
    /// The number of times the breaker has closed or its gate has changed.
    pub generation: u64,
    /// The number of times the breaker has opened from closed.
    pub incidents: u64,
    /// The last incidents, the newest last: at most [`Breaker::INCIDENTS_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Incident>,
    /// The state that follows from the outcomes.
    pub state: State,
    /// The time at which the state began.
    pub since: Option<Timestamp>,
    /// Whether an operator's order overrides the state.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// The agent's own settings; `None` for the deployment's.
    pub config: Option<BreakerConfig>,
    /// The recent outcomes.
    pub window: Window,
    /// The number of failures since the last success, while closed.
    #[serde(skip_serializing_if = "is_default")]
    pub consecutive: u32,
    /// Reports that were not counted, the newest last: at most [`Breaker::IGNORED_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<IgnoredReport>,
    /// Probes of recoveries that are over, whose outcomes do not count:
    /// [`Breaker::OVERTAKEN_PERMITS_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overtaken: Vec<String>,
    /// The last failure that counted.
    pub last_failure: Option<LastFailure>,
}

impl Breaker {
    /// The number of uncounted reports that are stored to be shown.
    pub(crate) const IGNORED_KEPT: usize = 8;
    /// The number of permits that are stored once their half-open state is over.
    pub(crate) const OVERTAKEN_PERMITS_KEPT: usize = 20;

    /// Returns the settings that apply to the breaker.
    pub fn config<'a>(&'a self, deployment: &'a BreakerConfig) -> &'a BreakerConfig {
        self.config.as_ref().unwrap_or(deployment)
    }
}

/// Whether a field can be left out of a record.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
