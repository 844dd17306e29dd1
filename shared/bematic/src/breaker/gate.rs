//! The gate of a breaker, a copy in the agent's record: a dispatcher that reads the agent knows
//! whether it has to read the breaker too, and a claim is on condition that the gate is unchanged.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breaker, Mode, State};

/// The gate of a breaker: what it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gate {
    /// The breaker's generation that the gate belongs to.
    pub generation: u64,
    /// The number of incidents of the breaker up to that generation.
    pub incidents: u64,
    /// The attempts that are permitted.
    #[serde(rename = "passage")]
    pub permitted: PermittedAttempts,
}

/// The attempts that a gate permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    tag = "lets",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum PermittedAttempts {
    /// All attempts.
    #[default]
    All,
    /// The attempts that the breaker permits as probes: it has to be asked.
    Probes,
    /// No attempts for now.
    Nothing {
        /// The time from which the breaker has to be asked.
        until: Timestamp,
        /// Whether an operator has drained the agent.
        drained: bool,
    },
    /// All attempts, while an operator has disabled the breaker.
    AllUntil {
        /// The time from which the breaker has to be asked again.
        until: Timestamp,
    },
}

impl Gate {
    /// Whether all attempts are permitted at `now`, without asking the breaker.
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self.permitted {
            PermittedAttempts::All => true,
            PermittedAttempts::AllUntil { until } => now < until,
            PermittedAttempts::Probes | PermittedAttempts::Nothing { .. } => false,
        }
    }

    /// Whether the breaker itself, rather than an operator, withholds tasks from the agent.
    pub(crate) const fn is_tripped(&self) -> bool {
        matches!(
            self.permitted,
            PermittedAttempts::Probes | PermittedAttempts::Nothing { drained: false, .. }
        )
    }

    /// Whether an operator's order has expired, so that the breaker has to be updated.
    pub(crate) fn override_has_expired(&self, now: Timestamp) -> bool {
        match self.permitted {
            PermittedAttempts::Nothing {
                until,
                drained: true,
            }
            | PermittedAttempts::AllUntil { until } => until <= now,
            _ => false,
        }
    }

    /// Returns the time until which no attempts are permitted, if none are at `now`.
    pub(crate) fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.permitted {
            PermittedAttempts::Nothing { until, .. } if now < until => Some(until),
            _ => None,
        }
    }
}

impl Breaker {
    /// Returns the breaker's gate.
    pub fn gate(&self) -> Gate {
        let permitted = match (&self.mode, &self.state) {
            (Mode::Drained(order), _) => PermittedAttempts::Nothing {
                until: order.until,
                drained: true,
            },
            (Mode::Disabled(order), _) => PermittedAttempts::AllUntil { until: order.until },
            (Mode::Automatic, State::Closed) => PermittedAttempts::All,
            (Mode::Automatic, State::Open { retry_at, .. }) => PermittedAttempts::Nothing {
                until: *retry_at,
                drained: false,
            },
            (Mode::Automatic, State::HalfOpen { .. }) => PermittedAttempts::Probes,
        };
        Gate {
            generation: self.generation,
            incidents: self.incidents,
            permitted,
        }
    }
}
