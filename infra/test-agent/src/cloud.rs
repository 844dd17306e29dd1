//! Messages from the cloud.

use bematic_protocol::ids::Attempt;
use bematic_protocol::messages::Spelling;
use bematic_protocol::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::message::Run;

/// A message from the cloud.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Envelope")]
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

/// A message as it goes over the wire.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
    timestamp: Timestamp,
}

impl From<Envelope> for CloudMessage {
    fn from(envelope: Envelope) -> Self {
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
}

impl CloudMessage {
    /// Reads a message, in either spelling.
    ///
    /// # Errors
    /// When the text is not JSON, or has no envelope.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
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
        let (task_id, attempt): (_, Attempt) = (self.field("taskId")?, self.field("attempt")?);
        let run = Run { task_id, attempt };
        Some(Offer {
            id: run.task_id.to_string(),
            attempt: attempt.number(),
            payload: self.payload.clone(),
            run,
        })
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
    run: Run,
}

impl Offer {
    /// Returns the attempt that is offered.
    pub const fn run(&self) -> Run {
        self.run
    }

    /// Returns a payload about the attempt, with these further fields.
    pub fn with(&self, fields: Value) -> Value {
        self.run.with(fields)
    }
}
