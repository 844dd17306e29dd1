//! The last incidents of a breaker, for notices: the next may begin before the notifier runs.

use bematic_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{LastFailure, Trip};

/// An incident: the time from the opening of a breaker to its closing, failed probes included.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// The number of the incident among those of the agent, from 1.
    pub number: u64,
    /// The time at which the breaker opened.
    pub at: Timestamp,
    /// The rule that opened the breaker.
    pub trip: Trip,
    /// The failure that opened the breaker, unless a slow success did.
    pub failure: Option<LastFailure>,
    /// The time from which the first probe was permitted.
    pub retry_at: Timestamp,
    /// The end of the incident, if it has ended.
    pub closed: Option<IncidentEnd>,
}

/// The end of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentEnd {
    /// The time at which the breaker closed.
    pub at: Timestamp,
    /// The cause of the closing.
    pub by: ClosedBy,
}

/// The cause of a breaker's closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// This number of successful probes.
    Probes(u32),
    /// An operator's reset.
    Operator,
}
