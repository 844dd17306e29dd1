//! Messages from the cloud.

use bematic_protocol::messages::Spelling;
use bematic_protocol::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::message::Run;

/// A text that is no message: not JSON, or without an envelope.
#[derive(Debug)]
pub struct Unreadable(serde_json::Error);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cloud sent what is no message")
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A message from the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudMessage {
    /// The message's id.
    pub id: String,
    /// The type in its canonical spelling.
    pub kind: String,
    /// The spelling of the type.
    pub spelling: Spelling,
    /// The payload.
    pub payload: Value,
    /// The time, by the cloud's clock.
    pub sent_at: Timestamp,
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
    timestamp: Timestamp,
}

impl CloudMessage {
    /// Reads a message, in either spelling.
    ///
    /// # Errors
    /// When the text is not JSON, or has no envelope.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        serde_json::from_str(text).map(Self::of).map_err(Unreadable)
    }

    /// Reads a message that is JSON already.
    ///
    /// # Errors
    /// When the message has no envelope.
    pub fn from_json(message: Value) -> Result<Self, Unreadable> {
        serde_json::from_value(message)
            .map(Self::of)
            .map_err(Unreadable)
    }

    fn of(envelope: Envelope) -> Self {
        let spelling = if envelope.kind.contains(':') {
            Spelling::Colons
        } else {
            Spelling::Canonical
        };
        Self {
            id: envelope.id,
            kind: envelope.kind.to_uppercase().replace(':', "_"),
            spelling,
            payload: envelope.payload,
            sent_at: envelope.timestamp,
        }
    }

    /// Reads a field of the payload.
    pub fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(&self.payload[name]).ok()
    }

    /// Reads the offer of a TASK_SUBMIT.
    pub fn offer(&self) -> Option<Offer> {
        if self.kind != "TASK_SUBMIT" {
            return None;
        }
        let (task_id, attempt) = (self.field("taskId")?, self.field("attempt")?);
        Some(Offer::new(self, Run { task_id, attempt }))
    }
}

/// An attempt of a task that the cloud offers with a TASK_SUBMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The task's id.
    pub id: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The payload.
    pub payload: Value,
    /// The id of the message.
    pub message_id: String,
    /// The time of the message, by the cloud's clock.
    pub sent_at: Timestamp,
    run: Run,
}

impl Offer {
    fn new(message: &CloudMessage, run: Run) -> Self {
        Self {
            id: run.task_id.to_string(),
            attempt: run.attempt.number(),
            payload: message.payload.clone(),
            message_id: message.id.clone(),
            sent_at: message.sent_at,
            run,
        }
    }

    /// Returns the attempt that is offered.
    pub const fn run(&self) -> Run {
        self.run
    }

    /// Returns a payload about the attempt, with these further fields.
    pub fn with(&self, fields: Value) -> Value {
        self.run.with(fields)
    }
}
