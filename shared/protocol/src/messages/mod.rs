//! The messages of the agent protocol: one JSON object each, in either direction over one WebSocket.
//!
//! [`decode`] parses every message: it accepts both spellings of a type and ignores unknown fields.
//! [`Envelope::encode`] writes every message. `CONTRIBUTING.md` shows how to add one.

mod error;
mod from_agent;
pub mod limits;
mod schema;
mod to_agent;

use garde::Validate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use strum::VariantNames;

pub use self::{error::ProtocolError, from_agent::*, schema::schema, to_agent::*};
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
    Serialize + DeserializeOwned + Validate<Context = ()> + VariantNames + AsRef<str>
{
}

impl Message for AgentMessage {}
impl Message for CloudMessage {}

/// The spelling of message types on a connection; older agents use colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// `TASK_ACK`
    #[default]
    Canonical,
    /// `task:ack`
    Colons,
}

impl Spelling {
    /// Returns the type among the `known` canonical ones, and its spelling.
    fn read(kind: &str, known: &[&'static str]) -> Option<(&'static str, Self)> {
        [Self::Canonical, Self::Colons]
            .into_iter()
            .find_map(|spelling| {
                let name = known.iter().find(|name| spelling.write(name) == kind)?;
                Some((*name, spelling))
            })
    }

    /// Returns a canonical type in this spelling.
    pub fn write(self, canonical: &str) -> String {
        match self {
            Self::Canonical => canonical.to_owned(),
            Self::Colons => canonical.to_ascii_lowercase().replacen('_', ":", 1),
        }
    }
}

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
pub fn decode<M: Message>(text: &str) -> Result<(Envelope<M>, Spelling), ProtocolError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| ProtocolError::NotJson(error.to_string()))?;
    let id = value["id"].as_str().and_then(|id| id.parse().ok());
    if !value.is_object() {
        return Err(ProtocolError::Envelope(id, "it is not an object".into()));
    }
    let raw: Raw = serde_json::from_value(value)
        .map_err(|error| ProtocolError::Envelope(id, error.to_string()))?;
    let Some((canonical, spelling)) = Spelling::read(&raw.kind, M::VARIANTS) else {
        let printable = raw.kind.chars().filter(|c| !c.is_control());
        let kind = printable.take(64).collect();
        return Err(ProtocolError::UnknownType(raw.id, kind));
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

impl<M: Message> Envelope<M> {
    /// Validates the message, and writes it in `spelling`.
    pub fn encode(&self, spelling: Spelling) -> Result<String, ProtocolError> {
        let canonical = self.message.as_ref();
        let unsendable = |reason: String| ProtocolError::Unsendable(canonical.to_owned(), reason);
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
            bytes => Err(ProtocolError::TooLarge(canonical.to_owned(), bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
