//! Identifiers. Each kind is a type, checked when it is parsed, so that every value is valid.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A text that is not a valid identifier: its kind, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}: {1}")]
pub struct InvalidId(pub &'static str, pub &'static str);

/// Defines an identifier that is a text, checked by `$check`.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $check;
                valid(&text).then_some(Self(text)).ok_or(InvalidId($kind, $rule))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Whether a text has 1 to `max` bytes, all of them characters for which `is` holds.
fn has_length_and_chars(text: &str, max: usize, is: impl Fn(char) -> bool) -> bool {
    (1..=max).contains(&text.len()) && text.chars().all(is)
}

text_id!(
    /// An agent's name, chosen by its owner: 1 to 64 letters, digits, `.`, `_` or `-`.
    AgentId,
    "agent id",
    "1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit",
    |text| has_length_and_chars(text, 64, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
);

text_id!(
    /// An API Gateway connection id (opaque, base64-like).
    ConnectionId,
    "connection id",
    "1 to 128 printable characters",
    |text| has_length_and_chars(text, 128, |c| c.is_ascii_graphic())
);

text_id!(
    /// A protocol message's id, chosen by its sender; the key for de-duplication.
    MessageId,
    "message id",
    "1 to 128 characters without control characters",
    |text| has_length_and_chars(text, 128, |c| !c.is_control())
);

text_id!(
    /// A Slack conversation id (`C…`, `D…` or `G…`).
    ChannelId,
    "Slack channel id",
    "1 to 32 letters or digits",
    |text| has_length_and_chars(text, 32, |c| c.is_ascii_alphanumeric())
);

text_id!(
    /// A Slack user id (`U…` or `W…`).
    UserId,
    "Slack user id",
    "1 to 32 letters or digits",
    |text| has_length_and_chars(text, 32, |c| c.is_ascii_alphanumeric())
);

text_id!(
    /// A Slack message timestamp, which is a message's id within its channel.
    MessageTs,
    "Slack message timestamp",
    "digits, a dot and digits",
    |text| text.len() <= 32
        && text.split_once('.').is_some_and(|(seconds, rest)| [seconds, rest]
            .iter()
            .all(|part| has_length_and_chars(part, 32, |c| c.is_ascii_digit())))
);

/// Defines an identifier that is a UUID. Bematic generates version 7, which sorts by creation time.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(with = "String", extend("format" = "uuid"))] Uuid);

        // The error of `Uuid` would quote a character of what it was given.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl $name {
            /// Wraps a UUID.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = |_| InvalidId($kind, "a UUID such as 0198c0de-…");
                Uuid::try_parse(text).map(Self).map_err(invalid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A task's id: a UUID. Bematic generates version 7, which sorts by creation time.
    TaskId,
    "task id"
);

uuid_id!(
    /// A bulk operation's id.
    BatchId,
    "batch id"
);

uuid_id!(
    /// The id of a notice about an agent: a hash of the agent, the event, and its count or its
    /// connection, so that the same notice always has the same id.
    NoticeId,
    "notice id"
);

impl NoticeId {
    /// Returns the id of the notice that the agent's breaker opened for the n-th time.
    pub fn opened(agent: &AgentId, n: u64) -> Self {
        Self::of("opened", agent, n)
    }

    /// Returns the id of the notice that the agent's breaker closed after it opened for the n-th
    /// time.
    pub fn closed(agent: &AgentId, n: u64) -> Self {
        Self::of("closed", agent, n)
    }

    /// Returns the id of the notice that a connection from another address has replaced the
    /// agent's.
    pub fn take_over(agent: &AgentId, connection: &ConnectionId) -> Self {
        Self::of("take-over", agent, connection)
    }

    fn of(what: &str, agent: &AgentId, n: impl fmt::Display) -> Self {
        let digest = Sha256::digest(format!("{what} {agent} {n}"));
        let bytes = std::array::from_fn(|n| digest[n]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// The subject of a Slack message that Bematic keeps up to date. Each subject has one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CardSubject {
    /// A task.
    Task(TaskId),
    /// A bulk operation.
    Batch(BatchId),
    /// A notice about an agent, such as that its breaker opened.
    Notice(NoticeId),
}

impl fmt::Display for CardSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => write!(f, "task {id}"),
            Self::Batch(id) => write!(f, "batch {id}"),
            Self::Notice(id) => write!(f, "notice {id}"),
        }
    }
}

/// The number of an attempt at a task, from 1: the fencing token of an agent's messages about the
/// task.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(u32);

impl TryFrom<u32> for Attempt {
    type Error = InvalidId;

    fn try_from(number: u32) -> Result<Self, InvalidId> {
        match number {
            0 => Err(InvalidId("attempt", "1 or more")),
            number => Ok(Self(number)),
        }
    }
}

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(1);

    /// Returns the attempt after this many earlier ones, whether or not they count.
    pub const fn after_attempts(attempts: u32) -> Self {
        Self(attempts.saturating_add(1))
    }

    /// Returns the attempt's number, from 1.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generates identifiers. It is passed in, so that tests can choose them.
pub trait IdGenerator: Send + Sync {
    /// Generates a task's id.
    fn task(&self) -> TaskId;
    /// Generates a bulk operation's id.
    fn batch(&self) -> BatchId;
    /// Generates a message's id.
    fn message(&self) -> MessageId;
}

/// Generates random identifiers (UUID version 7).
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl RandomIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that generates ids"
    )]
    fn uuid() -> Uuid {
        Uuid::now_v7()
    }
}

impl IdGenerator for RandomIds {
    fn task(&self) -> TaskId {
        TaskId(Self::uuid())
    }

    fn batch(&self) -> BatchId {
        BatchId(Self::uuid())
    }

    fn message(&self) -> MessageId {
        MessageId(Self::uuid().to_string())
    }
}

/// Returns a hash of a name that never changes, to spread names evenly over shards or times.
pub fn stable_hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_names_that_fit_in_keys_and_shells() {
        for good in ["a", "build-box.1", "A_b", &"x".repeat(64)] {
            assert!(good.parse::<AgentId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a#b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_checked_when_deserialized() {
        assert!(serde_json::from_str::<AgentId>("\"no spaces please\"").is_err());
        let error = serde_json::from_str::<TaskId>("\"s3cret\"").unwrap_err();
        // The error of `Uuid` quotes a character of the text.
        assert!(error.to_string().contains("a UUID such as"), "{error}");
        assert!(serde_json::from_str::<MessageTs>("\"170.1\"").is_ok());
        assert!(serde_json::from_str::<MessageTs>("\"170\"").is_err());
    }
}
