//! The error types of the crate. Every error has a stable code, keeps its source, and states
//! whether a retry may succeed.

use bematic_protocol::{
    ids::{AgentId, ConnectionId, InvalidId, TaskId},
    messages::ProtocolError,
};

use crate::slack::api::SlackError;

/// Any error of Bematic.
#[derive(Debug, thiserror::Error)]
pub enum BematicError {
    /// A message could not be parsed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The sender is not authenticated, or not authorized for what it names.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// A message about a task cannot be applied.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQS failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The sending side of the WebSocket API failed.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Slack failed.
    #[error(transparent)]
    Slack(#[from] SlackError),
    /// The function's environment is not complete.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A queue's message cannot be parsed by any handler: it belongs in the dead-letter queue.
    #[error("the queue's message is not understood: {reason}")]
    Message {
        /// The parser's message.
        reason: String,
    },
}

impl BematicError {
    /// Returns the stable code, for logs and for the sender.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Protocol(error) => error.code(),
            Self::Auth(error) => error.code(),
            Self::Task(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Slack(error) => error.code(),
            Self::Queue(_) => "QUEUE_UNAVAILABLE",
            Self::Gateway(error) => error.code(),
            Self::Config(_) => "CONFIGURATION",
            Self::Message { .. } => "INVALID_QUEUE_MESSAGE",
        }
    }

    /// Whether the cause is on this side (Bematic or AWS), so that the same request may succeed
    /// later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Queue(_) | Self::Gateway(_) | Self::Slack(_)
        )
    }

    /// Returns the text for the sender: an internal error only as a general text, an error of the
    /// sender's in full.
    pub fn public_message(&self) -> String {
        if self.is_transient() || matches!(self, Self::Config(_)) {
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

/// The sender is not authenticated, or not authorized for what it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The key does not belong to this agent, is revoked, or there is no such agent.
    #[error(
        "the API key is not valid for agent '{agent_id}'; get one with `cargo xtask agent create {agent_id} --add-key`"
    )]
    BadKey {
        /// The agent that was claimed.
        agent_id: AgentId,
    },
    /// The handshake's headers are incomplete.
    #[error("send `Authorization: Bearer <api key>` and `X-Agent-Id: <agent id>`: {reason}")]
    BadHeaders {
        /// What is wrong with the headers.
        reason: &'static str,
    },
    /// The agent id does not parse.
    #[error(transparent)]
    BadAgentId(#[from] InvalidId),
    /// The first message of an unauthenticated connection was not AUTH_REQUEST.
    #[error("this connection is not authenticated: send AUTH_REQUEST first")]
    NotAuthenticated {
        /// The connection.
        connection_id: ConnectionId,
    },
    /// No AUTH_REQUEST arrived in time.
    #[error("no AUTH_REQUEST came within {seconds} s")]
    DeadlinePassed {
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// AUTH_REQUEST on a connection that is bound to another agent.
    #[error("this connection is bound to another agent; open a new one")]
    AlreadyBound {
        /// The agent that was claimed.
        agent_id: AgentId,
    },
    /// The payload names an agent that the connection is not bound to.
    #[error("this connection is bound to agent '{bound}', not to '{claimed}'")]
    AgentMismatch {
        /// The connection's agent.
        bound: AgentId,
        /// The agent in the payload.
        claimed: AgentId,
    },
    /// A newer connection of the same agent has been bound.
    #[error("a newer connection of agent '{agent_id}' has replaced this one")]
    Replaced {
        /// The agent.
        agent_id: AgentId,
    },
}

impl AuthError {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadKey { .. } => "BAD_API_KEY",
            Self::BadHeaders { .. } => "BAD_HEADERS",
            Self::BadAgentId(_) => "BAD_AGENT_ID",
            Self::NotAuthenticated { .. } => "NOT_AUTHENTICATED",
            Self::DeadlinePassed { .. } => "AUTH_DEADLINE",
            Self::AlreadyBound { .. } => "ALREADY_AUTHENTICATED",
            Self::AgentMismatch { .. } => "AGENT_MISMATCH",
            Self::Replaced { .. } => "CONNECTION_REPLACED",
        }
    }
}

/// A message about a task cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// There is no such task.
    #[error("there is no task {task_id}")]
    Unknown {
        /// The task that was named.
        task_id: TaskId,
    },
    /// The task belongs to another agent.
    #[error("task {task_id} does not belong to agent '{agent_id}'")]
    NotYours {
        /// The task.
        task_id: TaskId,
        /// The agent that named the task.
        agent_id: AgentId,
    },
    /// The agent does not hold the task, or no longer does.
    #[error("agent '{agent_id}' does not hold task {task_id}")]
    NotHeld {
        /// The task.
        task_id: TaskId,
        /// The agent that named the task.
        agent_id: AgentId,
    },
    /// The task was changed by others at each try.
    #[error("task {task_id} kept changing; send the message again")]
    Contended {
        /// The task.
        task_id: TaskId,
    },
}

impl TaskError {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UNKNOWN_TASK",
            Self::NotYours { .. } => "NOT_YOUR_TASK",
            Self::NotHeld { .. } => "TASK_NOT_HELD",
            Self::Contended { .. } => "TASK_CONTENDED",
        }
    }
}

/// The cause of an error, of any type.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// An operation on the DynamoDB table failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The call to DynamoDB failed.
    #[error("DynamoDB {operation} failed: {}", chain(&**source))]
    Call {
        /// The name of the operation.
        operation: &'static str,
        /// The SDK's error.
        source: Source,
    },
    /// An item does not have the expected form.
    #[error("the item {key} cannot be read: {}", chain(&**source))]
    Corrupt {
        /// The item's key.
        key: String,
        /// The deserializer's error.
        source: Source,
    },
    /// A record could not be serialized as an item.
    #[error("the record cannot be written: {}", chain(&**source))]
    Unwritable {
        /// The serializer's error.
        source: Source,
    },
    /// A page's cursor was not issued by this store.
    #[error("this cursor is not valid any more; start from the first page")]
    Cursor,
}

impl StoreError {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call { .. } => "STORE_UNAVAILABLE",
            Self::Corrupt { .. } => "STORE_CORRUPT",
            Self::Unwritable { .. } => "STORE_UNWRITABLE",
            Self::Cursor => "BAD_CURSOR",
        }
    }
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
    /// The connection's spelling could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GatewayError {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call { .. } => "GATEWAY_UNAVAILABLE",
            Self::Unsendable(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
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
