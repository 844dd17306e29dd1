//! What comes too late to count, and is kept all the same.

use bematic_protocol::{ids::Attempt, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::Ending;

/// What an agent reported of an attempt that was over. The first of an attempt is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateReport {
    /// Which try.
    pub attempt: Attempt,
    /// When it came, by our clock.
    pub at: Timestamp,
    /// What it said.
    pub outcome: Ending,
}
