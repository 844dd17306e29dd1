//! The errors of parsing and writing messages.

use super::Spelling;
use crate::ids::MessageId;

/// A message that cannot be parsed or sent. The error's text is written for the agent's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON.
    #[error("the message is not JSON: {reason}")]
    NotJson {
        /// The parser's error.
        reason: String,
    },
    /// The JSON is not an envelope.
    #[error("a message needs id, type, payload and timestamp: {reason}")]
    Envelope {
        /// The message's id, if it is valid.
        id: Option<MessageId>,
        /// The field that is missing or invalid.
        reason: String,
    },
    /// No message has this type.
    #[error("there is no message type '{kind}'")]
    UnknownType {
        /// The message's id, if it is valid.
        id: Option<MessageId>,
        /// The unknown type.
        kind: String,
    },
    /// The payload does not validate.
    #[error("the payload of {canonical} is not valid: {reason}")]
    Payload {
        /// The message's id, if it is valid.
        id: Option<MessageId>,
        /// The message's type.
        canonical: &'static str,
        /// The spelling of the type.
        spelling: Spelling,
        /// The validator's error.
        reason: String,
    },
    /// A message to be sent that a strict agent would refuse.
    #[error("{canonical} cannot be sent: {reason}")]
    Unsendable {
        /// The message's type.
        canonical: &'static str,
        /// The validator's error.
        reason: String,
    },
    /// A message to be sent that API Gateway could not carry.
    #[error("{canonical} would be {bytes} bytes; a message holds at most {max}", max = super::limits::MESSAGE_BYTES)]
    TooLarge {
        /// The message's type.
        canonical: &'static str,
        /// The message's size.
        bytes: usize,
    },
}

impl ProtocolError {
    /// Returns the stable code for SYSTEM_ERROR and the log.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "INVALID_JSON",
            Self::Envelope { .. } => "INVALID_ENVELOPE",
            Self::UnknownType { .. } => "UNKNOWN_MESSAGE_TYPE",
            Self::Payload { .. } => "INVALID_PAYLOAD",
            Self::Unsendable { .. } => "UNSENDABLE_MESSAGE",
            Self::TooLarge { .. } => "MESSAGE_TOO_LARGE",
        }
    }

    /// Returns the sender's spelling; the canonical one if the type could not be read.
    pub fn spelling(&self) -> Spelling {
        match self {
            Self::Payload { spelling, .. } => *spelling,
            _ => Spelling::default(),
        }
    }

    /// Returns the invalid message's id, if it could be read.
    pub const fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::Envelope { id, .. } | Self::UnknownType { id, .. } | Self::Payload { id, .. } => {
                id.as_ref()
            }
            Self::NotJson { .. } | Self::Unsendable { .. } | Self::TooLarge { .. } => None,
        }
    }
}
