//! The states of a breaker, and the operator's orders that override them.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

use super::FailureKind;

/// The state of a breaker, as it follows from the outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Tasks are sent to the agent.
    #[default]
    Closed,
    /// No tasks are sent to the agent.
    Open {
        /// The time from which a probe is permitted.
        retry_at: Timestamp,
        /// The rule that opened the breaker.
        trip: Trip,
    },
    /// A few tasks at a time are sent to the agent, as probes.
    HalfOpen {
        /// The number of probes that have succeeded.
        successes: u32,
        /// The permits that are out.
        permits: Vec<Permit>,
        /// The rule that had opened the breaker.
        trip: Trip,
    },
}

impl State {
    /// Returns `closed`, `open` or `half-open`.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// The permit of an attempt to be a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// The attempt that holds the permit: `task#attempt`.
    pub id: String,
    /// The time at which the probe counts as failed.
    pub until: Timestamp,
}

/// The rule by which a breaker opened. As text, it is a sentence without its full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(
    tag = "rule",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Trip {
    /// Too many of the outcomes in the window were failures.
    #[strum(to_string = "It opened because {failures} of {total} tasks failed")]
    FailureRate {
        /// The number of failures.
        failures: u32,
        /// The number of outcomes.
        total: u32,
    },
    /// Too many failures in a row.
    #[strum(to_string = "It opened because {failures} tasks in a row failed")]
    Consecutive {
        /// The number of failures.
        failures: u32,
    },
    /// Too many of the outcomes in the window were slow.
    #[strum(to_string = "It opened because {slow} of {total} tasks were slow")]
    SlowRate {
        /// The number of slow outcomes.
        slow: u32,
        /// The number of outcomes.
        total: u32,
    },
    /// A probe failed.
    #[strum(to_string = "It opened again because a probe failed: {kind}")]
    Probe {
        /// The kind of failure.
        kind: FailureKind,
    },
    /// A probe was slow.
    #[strum(to_string = "It opened again because a probe was slow")]
    SlowProbe,
    /// A probe was lost: its permit's lease ended without an outcome.
    #[strum(to_string = "It opened again because a probe had no outcome in time")]
    ProbeLost,
}

/// Whether an operator's order overrides the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Mode {
    /// No operator's order is in force.
    #[default]
    Automatic,
    /// The agent is drained: no new tasks, whatever the outcomes; running tasks go on.
    Drained(Override),
    /// The breaker is disabled: the agent is sent tasks, whatever the outcomes.
    Disabled(Override),
}

impl Mode {
    pub(super) fn with_cut_note(mut self) -> Self {
        if let Self::Drained(order) | Self::Disabled(order) = &mut self {
            order.note = order.note.chars().take(Override::NOTE_CHARS).collect();
        }
        self
    }

    /// Returns the operator's order that is in force, if there is one.
    pub const fn operator_override(&self) -> Option<&Override> {
        match self {
            Self::Automatic => None,
            Self::Drained(order) | Self::Disabled(order) => Some(order),
        }
    }
}

/// An operator's order that overrides a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The operator.
    pub by: String,
    /// The time of the order.
    pub at: Timestamp,
    /// The time at which the order expires.
    pub until: Timestamp,
    /// The operator's note, cut to [`Override::NOTE_CHARS`]; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Override {
    /// The number of characters of a note that are kept.
    pub const NOTE_CHARS: usize = 200;
}
