//! What a function gave up on. A message only names what may have changed, so a dead letter has
//! lost no work; it is kept for a person to look at, and to have given again once the cause is
//! mended.

use bematic_protocol::time::Timestamp;
use serde::Serialize;
use strum::{EnumIter, EnumString, IntoStaticStr};

use crate::error::BematicError;

/// A queue whose messages can fail.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum QueueName {
    /// The dispatcher's.
    Dispatch,
    /// The notifier's.
    Notifications,
    /// That of bulk work.
    Batch,
}

/// Why a message was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The error's stable code.
    pub code: String,
    /// What it said.
    pub text: String,
}

impl Reason {
    /// Characters of a reason that are kept.
    const CHARS: usize = 1000;

    /// Of an error, with its causes.
    pub fn of(error: &BematicError) -> Self {
        let text = crate::error::chain(error);
        Self {
            code: error.code().to_owned(),
            text: text.chars().take(Self::CHARS).collect(),
        }
    }
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// SQS's id of it.
    pub id: String,
    /// Why; `None` if the function ended before it could say, and SQS moved the message.
    pub reason: Option<Reason>,
    /// Since when it lies there.
    pub since: Timestamp,
    /// What it named.
    pub body: String,
}

/// The dead letters of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// Whose.
    pub queue: QueueName,
    /// How many there are, about.
    pub count: usize,
    /// Some of them.
    pub letters: Vec<DeadLetter>,
}
