//! The errors of parsing and writing messages.

use super::{Spelling, limits::MESSAGE_BYTES};
use crate::ids::MessageId;

/// A message that cannot be parsed or sent. The error's text is written for the agent's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// A field of the envelope is missing or invalid; with the message's id, if that is valid.
    #[error("a message needs id, type, payload and timestamp: {1}")]
    Envelope(Option<MessageId>, String),
    /// No message has this type.
    #[error("there is no message type '{1}'")]
    UnknownType(MessageId, String),
    /// The payload does not validate.
    #[error("the payload of {canonical} is not valid: {reason}")]
    Payload {
        /// The message's id.
        id: MessageId,
        /// The message's type.
        canonical: &'static str,
        /// The spelling of the type.
        spelling: Spelling,
        /// The validator's error.
        reason: String,
    },
    /// A message to be sent, of this type, that a strict agent would refuse.
    #[error("{0} cannot be sent: {1}")]
    Unsendable(String, String),
    /// A message to be sent, of this type and number of bytes, that API Gateway could not carry.
    #[error("{0} would be {1} bytes; a message holds at most {MESSAGE_BYTES}")]
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
    pub fn spelling(&self) -> Spelling {
        match self {
            Self::Payload { spelling, .. } => *spelling,
            _ => Spelling::default(),
        }
    }

    /// Returns the invalid message's id, if it could be read.
    pub const fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::Envelope(id, _) => id.as_ref(),
            Self::UnknownType(id, _) | Self::Payload { id, .. } => Some(id),
            Self::NotJson(_) | Self::Unsendable(..) | Self::TooLarge(..) => None,
        }
    }
}
