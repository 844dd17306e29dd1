//! How a person belongs to the workspace, by what Slack said, and for how long that is believed.

use std::time::Duration;

use bematic_protocol::{ids::UserId, time::Timestamp};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

/// How a person belongs to the workspace, as Slack says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// As a full member.
    Full,
    /// In another way, or not at all.
    Outsider(Outsider),
}

/// Who is no full member of the workspace. The variants' texts are the stable codes of their
/// refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
pub enum Outsider {
    /// A guest, of one channel or of several.
    #[strum(serialize = "GUEST_USER")]
    Guest,
    /// A bot.
    #[strum(serialize = "BOT_USER")]
    Bot,
    /// A person whose account is deactivated.
    #[strum(serialize = "DEACTIVATED_USER")]
    Deactivated,
    /// Somebody of another workspace, or whom the workspace does not know.
    #[strum(serialize = "EXTERNAL_USER")]
    External,
}

impl Outsider {
    /// Whether a code is that of an outsider's refusal.
    pub fn is_refusal_code(code: &str) -> bool {
        code.parse::<Self>().is_ok()
    }
}

/// What Slack said of a person's membership, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedMembership {
    /// The person.
    pub user_id: UserId,
    /// What Slack said.
    pub membership: Membership,
    /// The time at which Slack was asked.
    pub checked_at: Timestamp,
}

impl CheckedMembership {
    /// The time for which a check is believed: Slack is asked about a person once a day.
    pub const BELIEVED_FOR: Duration = Duration::from_hours(24);
    /// The time for which a check is used while Slack does not answer: longer than an outage of Slack,
    /// and not so long that whoever has become a guest stays a member because of one.
    pub const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

    /// Whether Slack need not be asked again.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.checked_at) < Self::BELIEVED_FOR
    }

    /// Whether the check may be used if Slack does not answer. DynamoDB deletes expired records hours
    /// late, so that one may be read that is older.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        now.since(self.checked_at) < Self::KEPT_FOR
    }
}
