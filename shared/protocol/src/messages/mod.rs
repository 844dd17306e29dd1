//! The messages of the agent protocol. A message is one JSON object, in either direction over one
//! WebSocket.
//!
//! [`AgentMessage`] is a message from an agent, [`CloudMessage`] one to an agent. [`decode`] parses
//! every message: it accepts both spellings of a type, ignores unknown fields, and refuses a message
//! that does not validate. [`Envelope::encode`] writes every message: it refuses a message that a
//! strict agent would refuse, or that API Gateway could not carry.
//!
//! To add a message: a payload struct and a variant in `from_agent` or `to_agent`, an example in
//! `tests`, a handler in `bematic::handlers::message`, and `BLESS=1 cargo test -p bematic-protocol
//! schema` for the JSON Schema. `CONTRIBUTING.md` has a worked example.

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
///
/// # Errors
/// [`ProtocolError`], with the message's id if that can be read.
pub fn decode<M: Message>(text: &str) -> Result<(Envelope<M>, Spelling), ProtocolError>
where
    for<'a> &'a M: Into<&'static str>,
{
    let value: Value = serde_json::from_str(text).map_err(|error| ProtocolError::NotJson {
        reason: error.to_string(),
    })?;
    let id = value
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    if !value.is_object() {
        let reason = "it is not an object".to_owned();
        return Err(ProtocolError::Envelope { id: None, reason });
    }
    let raw: Raw = serde_json::from_value(value).map_err(|error| ProtocolError::Envelope {
        id: id.clone(),
        reason: error.to_string(),
    })?;
    let Some((canonical, spelling)) = Spelling::read(&raw.kind, M::VARIANTS) else {
        return Err(ProtocolError::UnknownType {
            id,
            kind: shorten(&raw.kind),
        });
    };
    let invalid = |reason: String| ProtocolError::Payload {
        id: id.clone(),
        canonical,
        spelling,
        reason,
    };
    let tagged = serde_json::json!({ "type": canonical, "payload": raw.payload });
    let message: M = serde_json::from_value(tagged).map_err(|error| invalid(error.to_string()))?;
    message
        .validate()
        .map_err(|report| invalid(report.to_string().trim().replace('\n', "; ")))?;
    Ok((
        Envelope {
            id: raw.id,
            timestamp: raw.timestamp,
            message,
        },
        spelling,
    ))
}

impl<M: Message> Envelope<M>
where
    for<'a> &'a M: Into<&'static str>,
{
    /// Validates the message, and writes it in `spelling`.
    ///
    /// # Errors
    /// [`ProtocolError::Unsendable`] if a strict agent would refuse the message, and
    /// [`ProtocolError::TooLarge`] if API Gateway could not carry it.
    pub fn encode(&self, spelling: Spelling) -> Result<String, ProtocolError> {
        let canonical: &'static str = (&self.message).into();
        let unsendable = |reason: String| ProtocolError::Unsendable { canonical, reason };
        self.message
            .validate()
            .map_err(|report| unsendable(report.to_string()))?;
        let mut wire =
            serde_json::to_value(&self.message).map_err(|error| unsendable(error.to_string()))?;
        wire["type"] = spelling.write(canonical).into();
        wire["id"] = self.id.as_str().into();
        wire["timestamp"] = self.timestamp.as_millis().into();
        let text = wire.to_string();
        if text.len() > limits::MESSAGE_BYTES {
            return Err(ProtocolError::TooLarge {
                canonical,
                bytes: text.len(),
            });
        }
        Ok(text)
    }
}

/// Returns the first 64 characters of unvalidated text, for an error message.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests;
