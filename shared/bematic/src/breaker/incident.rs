//! The last times that a breaker was not closed, for whoever is told of them: several, so that one
//! is told of though the next began before anybody looked.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breaker, BreakerConfig, LastFailure, Trip};

/// A time that a breaker was not closed: trying and failing again is part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Which it is of the agent's, from 1.
    pub number: u64,
    /// When it opened.
    pub at: Timestamp,
    /// Why.
    pub trip: Trip,
    /// The failure that opened it, unless a slow success did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<LastFailure>,
    /// When it was to be tried again for the first time.
    pub retry_at: Timestamp,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// How an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: ClosedBy,
}

/// By whom a breaker was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// By so many probes that succeeded.
    Probes(u32),
    /// By an operator.
    Operator,
}

impl Breaker {
    /// Incidents that are remembered.
    pub const INCIDENTS_KEPT: usize = 3;

    pub(super) fn begin_incident(&mut self, trip: Trip, config: &BreakerConfig, now: Timestamp) {
        self.incidents += 1;
        self.recent.push(Incident {
            number: self.incidents,
            at: now,
            trip,
            failure: None,
            retry_at: now + config.recovery_timeout(),
            closed: None,
        });
        let over = self.recent.len().saturating_sub(Self::INCIDENTS_KEPT);
        self.recent.drain(..over);
    }

    pub(super) fn end_incident(&mut self, by: ClosedBy, now: Timestamp) {
        if let Some(incident) = self.recent.last_mut() {
            incident.closed.get_or_insert(Closed { at: now, by });
        }
    }
}
