//! The three states, and an operator's word above them.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::FailureKind;

/// What a breaker makes of the outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Work goes to the agent.
    #[default]
    Closed,
    /// None does.
    Open {
        /// When it may be tried again.
        retry_at: Timestamp,
        /// What opened it.
        trip: Trip,
    },
    /// A few tasks at a time, as probes.
    HalfOpen {
        /// Probes that have succeeded.
        successes: u32,
        /// Probes that are out.
        permits: Vec<Permit>,
        /// What had opened it.
        trip: Trip,
    },
}

impl State {
    /// `closed`, `open` or `half-open`.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// The right to be a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// The attempt that has it: `task#attempt`.
    pub id: String,
    /// When it counts as failed.
    pub until: Timestamp,
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "rule",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Trip {
    /// Too many of the outcomes in the window were failures.
    FailureRate {
        /// Failures.
        failures: u32,
        /// Outcomes.
        total: u32,
    },
    /// Too many failures in a row.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// Too many of the outcomes in the window were slow.
    SlowRate {
        /// Slow ones.
        slow: u32,
        /// Outcomes.
        total: u32,
    },
    /// A probe failed.
    Probe {
        /// How.
        kind: FailureKind,
    },
    /// A probe was slow.
    SlowProbe,
    /// A probe did not come back.
    ProbeLost,
}

/// Whether an operator has taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Mode {
    /// No.
    #[default]
    Automatic,
    /// No new work, whatever the outcomes say; what runs goes on.
    Drained(Override),
    /// Work, whatever the outcomes say.
    Disabled(Override),
}

impl Mode {
    /// Whether no operator has taken over.
    pub const fn is_automatic(&self) -> bool {
        matches!(self, Self::Automatic)
    }

    /// The same, its note cut to size.
    pub(super) fn cut(mut self) -> Self {
        if let Self::Drained(said) | Self::Disabled(said) = &mut self {
            said.note = said.note.chars().take(Override::NOTE_CHARS).collect();
        }
        self
    }

    /// What an operator said, if one did.
    pub const fn said(&self) -> Option<&Override> {
        match self {
            Self::Automatic => None,
            Self::Drained(said) | Self::Disabled(said) => Some(said),
        }
    }
}

/// An operator's word about a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// What they had to say about it, cut to [`Override::NOTE_CHARS`]; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Override {
    /// Characters of a note that are kept.
    pub const NOTE_CHARS: usize = 200;
}
