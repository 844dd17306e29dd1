//! The messages of the agent protocol: one JSON object each, in either direction over one WebSocket.
//!
//! [`decode`] parses every message: it accepts both spellings of a type and ignores unknown fields.
//! [`Envelope::encode`] writes every message. `CONTRIBUTING.md` shows how to add one.

mod error;
mod from_agent;
pub mod limits;
mod schema;
mod spelling;
mod to_agent;

use garde::Validate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use strum::VariantNames;

pub use self::{
    error::ProtocolError,
    from_agent::{
        AgentMessage, AgentStatus, AuthRequest, Availability, Fault, HeartbeatReport,
        HeartbeatSignal, ResourceStatus, StepKind, TaskAck, TaskCancelled, TaskComplete,
        TaskFailure, TaskProgress, TaskStream,
    },
    schema::schema,
    spelling::Spelling,
    to_agent::{
        AuthResponse, CloudMessage, Heartbeat, MessageAck, SlackContext, SystemError, SystemNotice,
        TaskCancel, TaskSubmit,
    },
};
use crate::{ids::MessageId, time::Timestamp};

/// A message with the fields that every message has.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<M> {
    /// The message's id, chosen by the sender and unique.
    pub id: MessageId,
    /// The time at which the message was sent, by the sender's clock.
    pub timestamp: Timestamp,
    /// The type and its payload.
    pub message: M,
}

/// The messages of one direction.
pub trait Message:
    Serialize + DeserializeOwned + Validate<Context = ()> + VariantNames + Into<&'static str>
where
    for<'a> &'a Self: Into<&'static str>,
{
}

impl Message for AgentMessage {}
impl Message for CloudMessage {}

/// A message whose payload is not parsed yet.
#[derive(Deserialize)]
struct Raw {
    id: MessageId,
    timestamp: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    payload: Map<String, Value>,
}

/// Parses and validates a message, in either spelling.
pub fn decode<M: Message>(text: &str) -> Result<(Envelope<M>, Spelling), ProtocolError>
where
    for<'a> &'a M: Into<&'static str>,
{
    let value: Value =
        serde_json::from_str(text).map_err(|error| ProtocolError::NotJson(error.to_string()))?;
    let id = value["id"].as_str().and_then(|id| id.parse().ok());
    if !value.is_object() {
        return Err(ProtocolError::Envelope(id, "it is not an object".into()));
    }
    let raw: Raw = serde_json::from_value(value)
        .map_err(|error| ProtocolError::Envelope(id, error.to_string()))?;
    let Some((canonical, spelling)) = Spelling::read(&raw.kind, M::VARIANTS) else {
        return Err(ProtocolError::UnknownType(raw.id, shorten(&raw.kind)));
    };
    let invalid = |reason: String| ProtocolError::Payload {
        id: raw.id.clone(),
        canonical,
        spelling,
        reason,
    };
    let tagged = serde_json::json!({ "type": canonical, "payload": raw.payload });
    let message: M = serde_json::from_value(tagged).map_err(|error| invalid(error.to_string()))?;
    message
        .validate()
        .map_err(|report| invalid(report.to_string().trim().replace('\n', "; ")))?;
    let envelope = Envelope {
        id: raw.id,
        timestamp: raw.timestamp,
        message,
    };
    Ok((envelope, spelling))
}

impl<M: Message> Envelope<M>
where
    for<'a> &'a M: Into<&'static str>,
{
    /// Validates the message, and writes it in `spelling`.
    pub fn encode(&self, spelling: Spelling) -> Result<String, ProtocolError> {
        let canonical: &'static str = (&self.message).into();
        let unsendable = |reason: String| ProtocolError::Unsendable(canonical, reason);
        self.message
            .validate()
            .map_err(|report| unsendable(report.to_string()))?;
        let mut wire =
            serde_json::to_value(&self.message).map_err(|error| unsendable(error.to_string()))?;
        wire["type"] = spelling.write(canonical).into();
        wire["id"] = self.id.as_str().into();
        wire["timestamp"] = self.timestamp.as_millis().into();
        let text = wire.to_string();
        match text.len() {
            ..=limits::MESSAGE_BYTES => Ok(text),
            bytes => Err(ProtocolError::TooLarge { canonical, bytes }),
        }
    }
}

/// Returns the first 64 characters of unvalidated text, for an error message.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests;
