//! The circuit breaker: keeps work away from an agent that keeps failing.
//!
//! ```text
//!            too many failures                  asked, once the recovery timeout is over
//!   closed ────────────────────▶ open ───────────────────────────────▶ half-open
//!     ▲                            ▲            a probe fails               │
//!     │                            └────────────────────────────────────────┤
//!     └───────────────────────────────────────────── enough probes succeed ─┘
//! ```
//! [`Breaker::after`] is the one function that says what an event does to it. It reads no clock and
//! does no I/O; the store writes what it decides on condition of the version, in the transaction
//! that changes the task. An attempt ends once: so an outcome counts once, however often its message
//! comes, and needs no id.
//!
//! What leads to a decision at a time, exactly: an outcome as old as the window counts; the failure
//! rate is looked at when a failure comes; a recovery timeout that has just ended has ended, and so
//! has a permit's lease.

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

pub use self::{
    config::BreakerConfig,
    gate::{Gate, Passage},
    incident::{Closed, ClosedBy, Incident},
    outcome::{Counted, FailureKind, Ignored, IgnoredBecause, LastFailure, Outcome},
    report::report,
    state::{Mode, Override, Permit, State, Trip},
    transition::{BreakerEvent, Step, Verdict},
    window::Window,
};
use bematic_protocol::time::Timestamp;

/// An agent's breaker as it is stored: one item, a few hundred bytes for an agent with some fifty
/// outcomes in its window, and some 15 KB at the most ([`Window::KEPT`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// How often it was written: the condition of the next write; 0 before the first.
    pub version: u64,
    /// How often it has closed, or what it lets through has changed.
    pub generation: u64,
    /// How often it has opened, from closed.
    pub incidents: u64,
    /// The last of those times, the newest last: at most [`Breaker::INCIDENTS_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Incident>,
    /// What it makes of the outcomes.
    pub state: State,
    /// Since when it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether an operator has taken over.
    #[serde(skip_serializing_if = "Mode::is_automatic")]
    pub mode: Mode,
    /// Settings of the agent's own; the deployment's if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<BreakerConfig>,
    /// The outcomes of the last while.
    pub window: Window,
    /// Failures since the last success, while closed.
    #[serde(skip_serializing_if = "is_zero")]
    pub consecutive: u32,
    /// What was not counted, the newest last: at most [`Breaker::IGNORED_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Ignored>,
    /// Permits of a half-open state that is over: what they come to says nothing of the one after
    /// it. The newest last, at most [`Breaker::PERMITS_KEPT`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overtaken: Vec<String>,
    /// The last failure that counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

impl Breaker {
    /// Reports that were not counted and are kept to be shown.
    pub const IGNORED_KEPT: usize = 8;
    /// Permits that are remembered once their half-open state is over.
    pub const PERMITS_KEPT: usize = 20;

    /// The settings that apply to it.
    pub fn config<'a>(&'a self, deployment: &'a BreakerConfig) -> &'a BreakerConfig {
        self.config.as_ref().unwrap_or(deployment)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
