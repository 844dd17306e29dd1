//! The one error hierarchy. Every error has a stable code, keeps its source, and says of itself
//! whether trying again may help.

use bematic_protocol::{
    ids::{AgentId, ConnectionId, InvalidId, TaskId},
    messages::ProtocolError,
};

use crate::slack::api::SlackError;

/// Whatever can go wrong in Bematic.
#[derive(Debug, thiserror::Error)]
pub enum BematicError {
    /// A message is not understood.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// Somebody is not who they say, or speaks of what is not theirs.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// A message about a task that cannot be acted on.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// DynamoDB.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQS.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The WebSocket's sending side.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Slack.
    #[error(transparent)]
    Slack(#[from] SlackError),
    /// The function's environment.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A queue's message that no handler understands: it belongs in the dead-letter queue.
    #[error("the queue's message is not understood: {reason}")]
    Message {
        /// What the parser said.
        reason: String,
    },
}

impl BematicError {
    /// The stable code, for logs and for whoever is told.
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

    /// Whether the cause is ours (or AWS's), so that the same request may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Queue(_) | Self::Gateway(_) | Self::Slack(_)
        )
    }

    /// What may be told to a stranger: our own trouble only by its code, theirs in full.
    pub fn public_message(&self) -> String {
        if self.is_transient() || matches!(self, Self::Config(_)) {
            "Bematic could not handle this right now; send it again in a moment.".to_owned()
        } else {
            self.to_string()
        }
    }
}

/// An error with its chain of causes: an SDK error's own text says only "service error".
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

/// Somebody is not who they say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The key is not this agent's, is revoked, or there is no such agent.
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
        /// What is wrong.
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
    /// No AUTH_REQUEST came in time.
    #[error("no AUTH_REQUEST came within {seconds} s")]
    DeadlinePassed {
        /// The deadline.
        seconds: u64,
    },
    /// AUTH_REQUEST on a connection that is bound to another agent.
    #[error("this connection is bound to another agent; open a new one")]
    AlreadyBound {
        /// The agent that was claimed.
        agent_id: AgentId,
    },
    /// The payload names an agent that the connection is not bound to.
    #[error("this connection speaks for agent '{bound}', not for '{claimed}'")]
    AgentMismatch {
        /// The connection's agent.
        bound: AgentId,
        /// The one in the payload.
        claimed: AgentId,
    },
    /// A newer connection of the same agent is bound.
    #[error("a newer connection of agent '{agent_id}' has replaced this one")]
    Replaced {
        /// The agent.
        agent_id: AgentId,
    },
}

impl AuthError {
    /// The stable code.
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

/// A message about a task that cannot be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// No such task.
    #[error("there is no task {task_id}")]
    Unknown {
        /// The task that was named.
        task_id: TaskId,
    },
    /// The task is another agent's.
    #[error("task {task_id} is not agent '{agent_id}''s")]
    NotYours {
        /// The task.
        task_id: TaskId,
        /// The agent that spoke of it.
        agent_id: AgentId,
    },
    /// The agent does not hold the task (any more).
    #[error("agent '{agent_id}' does not hold task {task_id}")]
    NotHeld {
        /// The task.
        task_id: TaskId,
        /// The agent that spoke of it.
        agent_id: AgentId,
    },
    /// Others kept changing the task.
    #[error("task {task_id} kept changing; send the message again")]
    Contended {
        /// The task.
        task_id: TaskId,
    },
}

impl TaskError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UNKNOWN_TASK",
            Self::NotYours { .. } => "NOT_YOUR_TASK",
            Self::NotHeld { .. } => "TASK_NOT_HELD",
            Self::Contended { .. } => "TASK_CONTENDED",
        }
    }
}

/// Where an error came from, whatever its type.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// DynamoDB did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The call failed.
    #[error("DynamoDB {operation} failed: {}", chain(&**source))]
    Call {
        /// The operation.
        operation: &'static str,
        /// The SDK's error.
        source: Source,
    },
    /// An item is not what was written.
    #[error("the item {key} cannot be read: {}", chain(&**source))]
    Corrupt {
        /// Its key.
        key: String,
        /// The deserializer's error.
        source: Source,
    },
    /// A record could not be written as an item.
    #[error("the record cannot be written: {}", chain(&**source))]
    Unwritable {
        /// The serializer's error.
        source: Source,
    },
    /// A page's cursor is not one that was given out.
    #[error("this cursor is not valid any more; start from the first page")]
    Cursor,
}

impl StoreError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call { .. } => "STORE_UNAVAILABLE",
            Self::Corrupt { .. } => "STORE_CORRUPT",
            Self::Unwritable { .. } => "STORE_UNWRITABLE",
            Self::Cursor => "BAD_CURSOR",
        }
    }
}

/// SQS did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("SQS {operation} failed: {}", chain(&**source))]
pub struct QueueError {
    /// The operation.
    pub operation: &'static str,
    /// The SDK's error.
    pub source: Source,
}

/// A message did not reach a connection. A connection that is gone is an outcome, not an error.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The call failed.
    #[error("API Gateway {operation} failed: {}", chain(&**source))]
    Call {
        /// The operation.
        operation: &'static str,
        /// The SDK's error.
        source: Source,
    },
    /// The message is not one that may be sent.
    #[error(transparent)]
    Unsendable(#[from] ProtocolError),
    /// Its spelling could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GatewayError {
    /// The stable code.
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
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: String,
}
