//! The audit log: who did what to what, when, from where, and with which outcome. Records are only
//! added, and are removed by their time-to-live.

use std::time::Duration;

use bematic_protocol::{
    ids::{ChannelId, UserId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::IntoStaticStr;

/// A record of the audit log.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// The time at which the command was given.
    pub at: Timestamp,
    /// The id of the request, by Slack.
    pub request: String,
    /// The person who gave the command.
    pub user_id: UserId,
    /// The channel in which it was given.
    pub channel_id: ChannelId,
    /// The command and its arguments, without texts of people: `health reset box`, `run`.
    pub action: String,
    /// The task that it created, or is about.
    pub task: Option<String>,
    /// The outcome.
    pub outcome: AuditOutcome,
    /// The stable code of a refusal or a failure.
    pub code: Option<String>,
    /// Whether the record is kept as long as security events are: a refusal for lack of a right, or a
    /// change of who may do what.
    pub security: bool,
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditOutcome {
    /// The command was executed.
    Done,
    /// The command was refused: whoever gave it may not, or it cannot be done.
    Refused,
    /// An internal error: whether the command took effect is unknown.
    Failed,
}

/// How long records of the audit log are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditRetention {
    /// How long commands are kept.
    pub commands: Duration,
    /// How long refusals for lack of a right, and changes of roles, are kept.
    pub security_events: Duration,
}

impl AuditRetention {
    const DAY: Duration = Duration::from_hours(24);

    /// Returns how long this record is kept.
    pub fn of(&self, record: &AuditRecord) -> Duration {
        if record.security {
            self.security_events
        } else {
            self.commands
        }
    }
}

impl Default for AuditRetention {
    fn default() -> Self {
        Self {
            commands: 90 * Self::DAY,
            security_events: 365 * Self::DAY,
        }
    }
}

/// The selection of records that `/bm audit` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only the records of this person.
    pub user_id: Option<UserId>,
    /// The time of the oldest record.
    pub since: Timestamp,
    /// The time of the newest record.
    pub until: Timestamp,
}
