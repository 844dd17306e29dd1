//! Terminal messages that arrive too late to count, and are stored all the same.

use bematic_protocol::{ids::Attempt, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::TerminalMessage;

/// A terminal message of an attempt that was over. Only the first one of an attempt is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateReport {
    /// The attempt.
    pub attempt: Attempt,
    /// The time at which the message arrived, by the cloud's clock.
    pub at: Timestamp,
    /// The content of the message.
    pub outcome: TerminalMessage,
}
