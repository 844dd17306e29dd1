//! The error types of the crate. Every error has a stable code, keeps its source, and states
//! whether a retry may succeed.

use bematic_protocol::{
    ids::{AgentId, InvalidId, TaskId},
    messages::ProtocolError,
};
use strum::IntoStaticStr;

use crate::slack::api::SlackError;

/// A result whose error is any error of Bematic, unless another is named.
pub type Result<T, E = BematicError> = std::result::Result<T, E>;

/// A result whose error is the store's.
pub type StoreResult<T> = Result<T, StoreError>;

/// Any error of Bematic.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum BematicError {
    /// A message could not be parsed.
    Protocol(#[from] ProtocolError),
    /// The sender is not authenticated, or not authorized for what it names.
    Auth(#[from] AuthError),
    /// A message about a task cannot be applied.
    Task(#[from] TaskError),
    /// DynamoDB failed.
    Store(#[from] StoreError),
    /// The record of an executed command could not be added to the audit log.
    #[error("the audit record was not stored: {0}")]
    Audit(#[source] StoreError),
    /// A command took too long to answer it in time; it may have been executed in part.
    #[error("the command was not executed in time")]
    CommandTooSlow,
    /// SQS failed.
    Queue(#[from] QueueError),
    /// The sending side of the WebSocket API failed.
    Gateway(#[from] GatewayError),
    /// Slack failed.
    Slack(#[from] SlackError),
    /// A queue's message cannot be handled, for this reason: it belongs in the dead-letter queue.
    #[error("the queue's message is not understood: {0}")]
    Message(String),
    /// A queue's message is of a kind that this version does not know. It is retried: the function
    /// may be updated meanwhile.
    #[error("the queue's message is of an unknown kind")]
    UnknownMessageKind,
}

impl BematicError {
    /// Returns the stable code, for logs and for the sender.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Protocol(error) | Self::Gateway(GatewayError::Unsendable(error)) => error.code(),
            Self::Auth(error) => error.into(),
            Self::Task(error) => error.into(),
            Self::Store(error) => error.into(),
            Self::Slack(error) => error.code(),
            Self::Audit(_) => "AUDIT_UNAVAILABLE",
            Self::CommandTooSlow => "SLACK_DEADLINE",
            Self::Queue(_) => QueueError::CODE,
            Self::Gateway(GatewayError::Call { .. }) => "GATEWAY_UNAVAILABLE",
            Self::Message(_) => "INVALID_QUEUE_MESSAGE",
            Self::UnknownMessageKind => "UNKNOWN_QUEUE_MESSAGE",
        }
    }

    /// Whether the cause is on this side (Bematic or AWS), so that the same request may succeed
    /// later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(error, StoreError::Refused { .. }),
            Self::Audit(_)
            | Self::CommandTooSlow
            | Self::Queue(_)
            | Self::Gateway(_)
            | Self::Slack(_)
            | Self::UnknownMessageKind => true,
            Self::Protocol(_) | Self::Auth(_) | Self::Task(_) | Self::Message(_) => false,
        }
    }

    /// Returns the text for the sender: an internal error only as a general text, an error of the
    /// sender's in full.
    pub fn public_message(&self) -> String {
        if self.is_transient() {
            "Bematic could not handle this right now; send it again in a moment.".to_owned()
        } else {
            self.to_string()
        }
    }
}

/// Returns the error's text with its chain of causes: an SDK error's own text is only "service
/// error".
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The sender is not authenticated, or not authorized for what it names. The variants' names are
/// the stable codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthError {
    /// The key does not belong to this agent, is revoked or no longer valid, or there is no such
    /// agent.
    #[error(
        "the API key is not valid for agent '{0}'; get one with `bematic agent create {0} --add-key`"
    )]
    BadApiKey(AgentId),
    /// The handshake's headers are incomplete.
    #[error("send `Authorization: Bearer <api key>` and `X-Agent-Id: <agent id>`: {0}")]
    BadHeaders(&'static str),
    /// The agent id does not parse.
    #[error(transparent)]
    BadAgentId(#[from] InvalidId),
    /// The first message of an unauthenticated connection was not AUTH_REQUEST.
    #[error("this connection is not authenticated: send AUTH_REQUEST first")]
    NotAuthenticated,
    /// The handshake had no key, and the deployment does not allow authentication in band.
    #[error(
        "this deployment requires the key in the handshake: send `Authorization: Bearer <api key>` and `X-Agent-Id: <agent id>`"
    )]
    InBandAuthenticationOff,
    /// No AUTH_REQUEST arrived in this number of seconds.
    #[error("no AUTH_REQUEST came within {0} s")]
    AuthDeadline(u64),
    /// AUTH_REQUEST on a connection that is bound to another agent.
    #[error("this connection is bound to another agent; open a new one")]
    AlreadyAuthenticated,
    /// The payload names an agent that the connection is not bound to.
    #[error("this connection is bound to agent '{0}', not to the one that the message names")]
    AgentMismatch(AgentId),
    /// A newer connection of the same agent has been bound.
    #[error("a newer connection of agent '{0}' has replaced this one")]
    ConnectionReplaced(AgentId),
}

/// A message about a task cannot be applied. The variants' names are the stable codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskError {
    /// There is no such task.
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    /// The task belongs to another agent than this.
    #[error("task {0} does not belong to agent '{1}'")]
    NotYourTask(TaskId, AgentId),
    /// This agent does not hold the task, or no longer does.
    #[error("agent '{1}' does not hold task {0}")]
    TaskNotHeld(TaskId, AgentId),
    /// The task was changed by others at each try.
    #[error("task {0} kept changing; send the message again")]
    TaskContended(TaskId),
}

/// The cause of an error, of any type.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// An operation on the DynamoDB table failed.
#[derive(Debug, thiserror::Error, IntoStaticStr)]
pub enum StoreError {
    /// The call to DynamoDB failed.
    #[error("DynamoDB {operation} failed: {}", chain(&**source))]
    #[strum(serialize = "STORE_UNAVAILABLE")]
    Call {
        /// The name of the operation.
        operation: &'static str,
        /// The SDK's error.
        source: Source,
    },
    /// DynamoDB refuses a value that was to be written, however often it is sent. The text is for
    /// the sender too; the SDK's error, which may quote the value, is only the source.
    #[error(
        "a value is too large or not of a form that can be stored; send the message without it"
    )]
    #[strum(serialize = "STORE_REFUSED")]
    Refused {
        /// The name of the operation.
        operation: &'static str,
        /// The SDK's error.
        #[source]
        source: Source,
    },
    /// An item does not have the expected form.
    #[error("the item {key} cannot be read: {}", chain(&**source))]
    #[strum(serialize = "STORE_CORRUPT")]
    Corrupt {
        /// The item's key.
        key: String,
        /// The deserializer's error.
        source: Source,
    },
    /// A request could not be built: a record could not be serialized, or a part is missing.
    #[error("the request to DynamoDB cannot be built: {}", chain(&**source))]
    #[strum(serialize = "STORE_UNWRITABLE")]
    InvalidRequest {
        /// The serializer's or the builder's error.
        source: Source,
    },
    /// A page's cursor was not issued by this store.
    #[error("this cursor is not valid any more; start from the first page")]
    #[strum(serialize = "BAD_CURSOR")]
    Cursor,
}

/// SQS did not accept a message.
#[derive(Debug, thiserror::Error)]
#[error("SQS {operation} failed: {}", chain(&**source))]
pub struct QueueError {
    /// The name of the operation.
    pub operation: &'static str,
    /// The SDK's error.
    pub source: Source,
}

impl QueueError {
    /// The stable code, for logs and for the sender.
    pub const CODE: &str = "QUEUE_UNAVAILABLE";
}

/// A secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The call to Secrets Manager failed.
    #[error("Secrets Manager GetSecretValue failed: {}", chain(&**source))]
    Call {
        /// The SDK's error.
        source: Source,
    },
    /// The secret has no text. With an empty signing secret anybody could sign.
    #[error("the secret is empty, or binary")]
    Empty,
    /// Secrets Manager did not answer in time.
    #[error("the secret was not read in time")]
    TooSlow,
}

impl SecretError {
    /// The stable code, for logs and for the sender.
    pub const CODE: &str = "SECRET_UNAVAILABLE";
}

/// A message did not reach a connection. A closed connection is an outcome, not an error.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The call to API Gateway failed.
    #[error("API Gateway {operation} failed: {}", chain(&**source))]
    Call {
        /// The name of the operation.
        operation: &'static str,
        /// The SDK's error.
        source: Source,
    },
    /// The message is not valid for sending.
    #[error(transparent)]
    Unsendable(#[from] ProtocolError),
}

/// The function's environment is not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} {problem}")]
pub struct ConfigError {
    /// The variable's name.
    pub name: &'static str,
    /// What is wrong with the variable.
    pub problem: String,
}
