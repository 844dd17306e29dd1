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
pub struct CloudMessage {
    /// The message's id.
    pub id: String,
    /// The type in its canonical spelling.
    #[serde(rename = "type")]
    pub kind: String,
    /// The spelling of the type.
    #[serde(skip)]
    pub spelling: Spelling,
    /// The payload.
    pub payload: Value,
    /// The time, by the cloud's clock.
    #[serde(rename = "timestamp")]
    pub sent_at: Timestamp,
}

impl CloudMessage {
    /// Reads a message, in either spelling.
    ///
    /// # Errors
    /// When the text is not JSON, or has no envelope.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        let mut message: Self = serde_json::from_str(text)?;
        if message.kind.contains(':') {
            message.spelling = Spelling::Colons;
            message.kind = message.kind.to_uppercase().replace(':', "_");
        }
        Ok(message)
    }

    /// Reads a field of the payload.
    pub(crate) fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(&self.payload[name]).ok()
    }

    /// Reads the offer of a TASK_SUBMIT.
    pub fn offer(&self) -> Option<Offer> {
        let (task_id, attempt): (_, Attempt) = (self.field("taskId")?, self.field("attempt")?);
        let run = Run { task_id, attempt };
        (self.kind == "TASK_SUBMIT").then(|| Offer {
            id: task_id.to_string(),
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
    pub fn payload_with(&self, fields: Value) -> Value {
        self.run.payload_with(fields)
    }
}
