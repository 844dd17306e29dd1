//! What can be wrong with a message.

use super::Spelling;
use crate::ids::MessageId;

/// A message that is not understood. Its text is written for the agent's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON.
    #[error("the message is not JSON: {reason}")]
    NotJson {
        /// What the parser said.
        reason: String,
    },
    /// The JSON is not an envelope.
    #[error("a message needs id, type, payload and timestamp: {reason}")]
    Envelope {
        /// The message, if it had a usable id.
        id: Option<MessageId>,
        /// What is missing or wrong.
        reason: String,
    },
    /// No message has this type.
    #[error("there is no message type '{kind}'")]
    UnknownType {
        /// The message.
        id: Option<MessageId>,
        /// The type it named.
        kind: String,
    },
    /// The payload does not validate.
    #[error("the payload of {canonical} is not valid: {reason}")]
    Payload {
        /// The message.
        id: Option<MessageId>,
        /// Its type.
        canonical: &'static str,
        /// How the type was spelled.
        spelling: Spelling,
        /// What is wrong with it.
        reason: String,
    },
    /// A message of our own that a strict reader would refuse.
    #[error("{canonical} cannot be sent: {reason}")]
    Unsendable {
        /// Its type.
        canonical: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A message of our own that API Gateway would not carry.
    #[error("{canonical} would be {bytes} bytes; a message holds at most {max}", max = super::limits::MESSAGE_BYTES)]
    TooLarge {
        /// Its type.
        canonical: &'static str,
        /// Its size.
        bytes: usize,
    },
}

impl ProtocolError {
    /// The stable code that SYSTEM_ERROR and the log carry.
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

    /// How its sender spells, as far as can be told.
    pub fn spelling(&self) -> Spelling {
        match self {
            Self::Payload { spelling, .. } => *spelling,
            _ => Spelling::default(),
        }
    }

    /// The offending message's id, if it had one.
    pub const fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::Envelope { id, .. } | Self::UnknownType { id, .. } | Self::Payload { id, .. } => {
                id.as_ref()
            }
            Self::NotJson { .. } | Self::Unsendable { .. } | Self::TooLarge { .. } => None,
        }
    }
}
