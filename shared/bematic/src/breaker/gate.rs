//! What a breaker lets through, as the agent's record says it: a dispatcher that reads the agent
//! knows whether it has to read the breaker too, and a claim is on condition that it still holds.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breaker, Mode, State};

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gate {
    /// The breaker's generation that this is of.
    pub generation: u64,
    /// How often it had opened by then.
    pub incidents: u64,
    /// What may pass.
    pub passage: Passage,
}

/// What may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    tag = "lets",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Passage {
    /// All work.
    #[default]
    All,
    /// What the breaker itself permits: it is to be asked.
    Probes,
    /// Nothing before `until`; then the breaker is to be asked.
    Nothing {
        /// When.
        until: Timestamp,
        /// Whether an operator said so.
        drained: bool,
    },
    /// All work, until an operator's word about it ends.
    AllUntil {
        /// When the breaker is to be asked again.
        until: Timestamp,
    },
}

impl Gate {
    /// Whether the breaker has never moved it.
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all work may pass at `now`, without asking.
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self.passage {
            Passage::All => true,
            Passage::AllUntil { until } => now < until,
            Passage::Probes | Passage::Nothing { .. } => false,
        }
    }

    /// Whether the breaker keeps work away by itself. An operator who drains an agent knows that it
    /// gets none.
    pub const fn is_tripped(&self) -> bool {
        matches!(
            self.passage,
            Passage::Probes | Passage::Nothing { drained: false, .. }
        )
    }

    /// Whether an operator's word has ended by itself: the breaker is to be told.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        match self.passage {
            Passage::Nothing {
                until,
                drained: true,
            }
            | Passage::AllUntil { until } => until <= now,
            _ => false,
        }
    }

    /// Until when nothing may pass, if that is so at `now`.
    pub fn is_shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.passage {
            Passage::Nothing { until, .. } if now < until => Some(until),
            _ => None,
        }
    }
}

impl Breaker {
    /// What it lets through.
    pub fn gate(&self) -> Gate {
        let passage = match (&self.mode, &self.state) {
            (Mode::Drained(said), _) => Passage::Nothing {
                until: said.until,
                drained: true,
            },
            (Mode::Disabled(said), _) => Passage::AllUntil { until: said.until },
            (Mode::Automatic, State::Closed) => Passage::All,
            (Mode::Automatic, State::Open { retry_at, .. }) => Passage::Nothing {
                until: *retry_at,
                drained: false,
            },
            (Mode::Automatic, State::HalfOpen { .. }) => Passage::Probes,
        };
        Gate {
            generation: self.generation,
            incidents: self.incidents,
            passage,
        }
    }
}
