//! The messages of the agent protocol: one JSON object each, in either direction over one
//! WebSocket.
//!
//! [`decode`] parses every message: it accepts both spellings of a type and ignores unknown fields.
//! [`Envelope::encode`] writes every message. `CONTRIBUTING.md` shows how to add one.

mod from_agent;
pub mod limits;
mod schema;
mod to_agent;

use garde::Validate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use strum::VariantNames;

use self::limits::MAX_MESSAGE_BYTES;
pub use self::{from_agent::*, schema::schema, to_agent::*};
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
pub trait MessageEnum:
    Serialize + DeserializeOwned + Validate<Context = ()> + VariantNames + AsRef<str>
{
}

impl MessageEnum for AgentMessage {}
impl MessageEnum for CloudMessage {}

/// The spelling of message types on a connection; older agents use colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeSpelling {
    /// `TASK_ACK`
    #[default]
    Canonical,
    /// `task:ack`
    Colons,
}

impl TypeSpelling {
    /// Returns the type among the `known` canonical ones, and its spelling.
    fn parse_type(kind: &str, known: &[&'static str]) -> Option<(&'static str, Self)> {
        [Self::Canonical, Self::Colons]
            .into_iter()
            .find_map(|spelling| {
                let name = known
                    .iter()
                    .find(|name| spelling.spell_type(name) == kind)?;
                Some((*name, spelling))
            })
    }

    /// Returns a canonical type in this spelling.
    pub fn spell_type(self, canonical: &str) -> String {
        match self {
            Self::Canonical => canonical.to_owned(),
            Self::Colons => canonical.to_ascii_lowercase().replacen('_', ":", 1),
        }
    }
}

/// A message that cannot be parsed or sent. The error's text is written for the agent's owner. It
/// quotes nothing of the message, which may be a key in a place where it does not belong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// A field of the envelope is missing or invalid; with the message's id, if that is valid.
    #[error("a message needs id, type, payload and timestamp: {1}")]
    Envelope(Option<MessageId>, String),
    /// No message has this type.
    #[error("there is no message of this type; the types are in the protocol's schema")]
    UnknownType(MessageId),
    /// The payload does not validate.
    #[error("the payload of {canonical} is not valid: {reason}")]
    Payload {
        /// The message's id.
        id: MessageId,
        /// The message's type.
        canonical: &'static str,
        /// The spelling of the type.
        spelling: TypeSpelling,
        /// The validator's error.
        reason: String,
    },
    /// A message to be sent, of this type, that a strict agent would refuse.
    #[error("{0} cannot be sent: {1}")]
    Unsendable(String, String),
    /// A message to be sent, of this type and number of bytes, that API Gateway could not carry.
    #[error("{0} would be {1} bytes; a message holds at most {MAX_MESSAGE_BYTES}")]
    TooLarge(String, usize),
}

impl ProtocolError {
    /// Returns the stable code for SYSTEM_ERROR and the log.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "INVALID_JSON",
            Self::Envelope(..) => "INVALID_ENVELOPE",
            Self::UnknownType(..) => "UNKNOWN_MESSAGE_TYPE",
            Self::Payload { .. } => "INVALID_PAYLOAD",
            Self::Unsendable(..) => "UNSENDABLE_MESSAGE",
            Self::TooLarge(..) => "MESSAGE_TOO_LARGE",
        }
    }

    /// Returns the sender's spelling, if the type could be read, or else the canonical one.
    pub fn spelling(&self) -> TypeSpelling {
        match self {
            Self::Payload { spelling, .. } => *spelling,
            _ => TypeSpelling::default(),
        }
    }

    /// Returns the invalid message's id, if it could be read.
    pub const fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::Envelope(id, _) => id.as_ref(),
            Self::UnknownType(id) | Self::Payload { id, .. } => Some(id),
            Self::NotJson(_) | Self::Unsendable(..) | Self::TooLarge(..) => None,
        }
    }
}

/// A message whose payload is not parsed yet.
#[derive(Deserialize)]
struct RawEnvelope {
    id: MessageId,
    timestamp: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    payload: Map<String, Value>,
}

/// Parses and validates a message, in either spelling.
pub fn decode<M: MessageEnum>(text: &str) -> Result<(Envelope<M>, TypeSpelling), ProtocolError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| ProtocolError::NotJson(error.to_string()))?;
    let id = value["id"].as_str().and_then(|id| id.parse().ok());
    if !value.is_object() {
        return Err(ProtocolError::Envelope(id, "it is not an object".into()));
    }
    let raw: RawEnvelope = serde_json::from_value(value)
        .map_err(|error| ProtocolError::Envelope(id, reason_without_value(&error.to_string())))?;
    let Some((canonical, spelling)) = TypeSpelling::parse_type(&raw.kind, M::VARIANTS) else {
        return Err(ProtocolError::UnknownType(raw.id));
    };
    let invalid = |reason: String| ProtocolError::Payload {
        id: raw.id.clone(),
        canonical,
        spelling,
        reason: reason_without_value(&reason),
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

/// Returns the reason of the parser or the validator without the value that was sent, which may
/// be a key, and at a length that fits in a SYSTEM_ERROR and a log line.
pub fn reason_without_value(reason: &str) -> String {
    let expected = reason.rsplit_once(", expected ");
    let rule = expected.map_or_else(|| reason.to_owned(), |(_, it)| format!("expected {it}"));
    printable_start(&rule, 300)
}

/// Returns the first characters of a text, without its control characters.
fn printable_start(text: &str, max: usize) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(max).collect()
}

impl<M: MessageEnum> Envelope<M> {
    /// Validates the message, and writes it in `spelling`.
    pub fn encode(&self, spelling: TypeSpelling) -> Result<String, ProtocolError> {
        let canonical = self.message.as_ref();
        let unsendable = |reason: String| ProtocolError::Unsendable(canonical.to_owned(), reason);
        self.message
            .validate()
            .map_err(|report| unsendable(report.to_string()))?;
        let mut wire =
            serde_json::to_value(&self.message).map_err(|error| unsendable(error.to_string()))?;
        wire["type"] = spelling.spell_type(canonical).into();
        wire["id"] = self.id.as_str().into();
        wire["timestamp"] = self.timestamp.as_millis().into();
        let text = wire.to_string();
        match text.len() {
            ..=MAX_MESSAGE_BYTES => Ok(text),
            bytes => Err(ProtocolError::TooLarge(canonical.to_owned(), bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
