//! Messages that a function could not handle. A dead letter has lost no work, since it only names
//! what may have changed; it can be redriven once the cause is fixed.

use bematic_protocol::time::Timestamp;
use serde::Serialize;
use strum::{EnumIter, EnumString, IntoStaticStr};

use crate::error::BematicError;

/// A queue whose messages can become dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[derive(EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum QueueName {
    /// The dispatcher's queue.
    Dispatch,
    /// The notifier's queue.
    Notifications,
    /// The queue of bulk operations.
    Batch,
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The error's stable code.
    pub code: String,
    /// The error's text.
    pub text: String,
}

impl Reason {
    /// Returns the reason for an error, with its causes, cut to 1000 characters.
    pub fn of(error: &BematicError) -> Self {
        let text = crate::error::chain(error);
        Self {
            code: error.code().to_owned(),
            text: text.chars().take(1000).collect(),
        }
    }
}

/// A message in a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The message id that SQS gave it.
    pub id: String,
    /// The reason; `None` if the function ended before it recorded one, and SQS moved the message.
    pub reason: Option<Reason>,
    /// The time at which the message was moved to the dead-letter queue.
    pub since: Timestamp,
    /// The message's body.
    pub body: String,
}

/// The dead letters of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterQueueSummary {
    /// The queue that the messages come from.
    pub queue: QueueName,
    /// The approximate number of dead letters.
    pub count: usize,
    /// Some of the dead letters.
    pub letters: Vec<DeadLetter>,
}
