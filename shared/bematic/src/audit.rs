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

/// Who acted, and from where. Its fields are stored among those of the record, without a tag: records
/// of people have had them there since before there were others.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum AuditActor {
    /// A person in Slack.
    Person {
        /// The person who gave the command.
        user_id: UserId,
        /// The channel in which it was given.
        channel_id: ChannelId,
    },
    /// Somebody with the administration command.
    Administrator {
        /// The names that the user and the machine have for themselves, which nobody has verified:
        /// `ada@laptop`.
        machine: String,
        /// The ARN of the AWS identity; `None` if AWS did not name it.
        aws_identity: Option<String>,
    },
}

/// A record of the audit log.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// The time at which the command was given.
    pub at: Timestamp,
    /// The id of the request: by Slack, or made by the administration command.
    pub request: String,
    /// Who gave the command, and where.
    #[serde(flatten)]
    pub actor: AuditActor,
    /// The command and its arguments, without texts of people and values of settings: `health reset box`, `run`.
    pub action: String,
    /// The task that it created, or is about.
    pub task: Option<String>,
    /// The outcome.
    pub outcome: AuditOutcome,
    /// The stable code of a refusal or a failure.
    pub code: Option<String>,
    /// Whether the record is kept as long as security events are: a refusal for lack of a right, or a
    /// change of who may do what, of keys, or of external access.
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
    /// How long security events are kept.
    pub security_events: Duration,
}

impl AuditRetention {
    const DAY: Duration = Duration::from_hours(24);

    /// Returns the retention of a deployment, from its numbers of days; without one, the default.
    pub fn from_days(commands: Option<u32>, security_events: Option<u32>) -> Self {
        let default = Self::default();
        Self {
            commands: commands.map_or(default.commands, |days| Self::DAY * days),
            security_events: security_events
                .map_or(default.security_events, |days| Self::DAY * days),
        }
    }

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(actor: AuditActor) -> AuditRecord {
        AuditRecord {
            at: Timestamp::from_millis(1_700_000_000_000),
            request: "command-1".to_owned(),
            actor,
            action: "redrive".to_owned(),
            task: None,
            outcome: AuditOutcome::Done,
            code: None,
            security: false,
        }
    }

    #[test]
    fn a_record_of_a_person_has_the_fields_that_it_always_had() {
        let actor = AuditActor::Person {
            user_id: "U1".parse().unwrap(),
            channel_id: "C1".parse().unwrap(),
        };
        let record = record(actor);
        let stored = json!({
            "at": record.at, "request": "command-1", "userId": "U1", "channelId": "C1",
            "action": "redrive", "outcome": "done", "security": false,
        });
        assert_eq!(serde_json::to_value(&record).unwrap(), stored);
        let read: AuditRecord = serde_json::from_value(stored).unwrap();
        assert_eq!(read, record);
    }

    #[test]
    fn an_administrators_record_is_read_as_it_is_stored_with_and_without_an_identity() {
        for aws_identity in [None, Some("arn:aws:iam::1:user/ada".to_owned())] {
            let record = record(AuditActor::Administrator {
                machine: "ada@laptop".to_owned(),
                aws_identity: aws_identity.clone(),
            });
            let stored = serde_json::to_value(&record).unwrap();
            assert_eq!(stored.get("awsIdentity").is_some(), aws_identity.is_some());
            assert!(stored.get("userId").is_none(), "{stored}");
            let read: AuditRecord = serde_json::from_value(stored).unwrap();
            assert_eq!(read, record);
        }
    }

    #[test]
    fn without_numbers_of_days_the_retention_is_the_default() {
        let days = |commands, security| {
            let retention = AuditRetention::from_days(commands, security);
            [retention.commands, retention.security_events].map(|it| it.as_secs() / 86_400)
        };
        assert_eq!(days(None, None), [90, 365]);
        assert_eq!(days(Some(7), Some(3653)), [7, 3653]);
    }
}
