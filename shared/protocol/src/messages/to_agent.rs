//! The messages from the cloud.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;
use strum::{AsRefStr, IntoStaticStr, VariantNames};

use super::limits::{
    MAX_LINE_CHARS, MAX_LIST_ENTRIES, MAX_NAME_CHARS, MAX_PATH_CHARS, MAX_PROMPT_CHARS,
};
use crate::{
    ids::{AgentId, Attempt, ChannelId, MessageId, MessageTs, TaskId, UserId},
    time::Timestamp,
};

/// A message from the cloud to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
#[derive(AsRefStr, IntoStaticStr, VariantNames)]
#[garde(allow_unvalidated)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CloudMessage {
    /// Whether the connection is authenticated.
    AuthResponse(AuthResponse),
    /// A request for a sign of life; answered with HEARTBEAT_PONG.
    HeartbeatPing(Heartbeat),
    /// The answer to the agent's ping.
    HeartbeatPong(Heartbeat),
    /// A task to run.
    TaskSubmit(#[garde(dive)] Box<TaskSubmit>),
    /// A task to stop.
    TaskCancel(#[garde(dive)] TaskCancel),
    /// The confirmation that a terminal message of the agent is stored.
    MessageAck(MessageAck),
    /// An error: a message of the agent is invalid or not allowed, or could not be handled.
    SystemError(SystemError),
    /// A request to stop.
    SystemShutdown(SystemNotice),
    /// A request to restart.
    SystemRestart(SystemNotice),
}

/// HEARTBEAT_PING and HEARTBEAT_PONG from the cloud
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The cloud's time.
    pub server_time: Option<Timestamp>,
}

/// AUTH_RESPONSE
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthResponse {
    /// Whether the connection is authenticated.
    pub success: bool,
    /// The agent that the connection is bound to.
    pub agent_id: Option<AgentId>,
    /// The reason that the connection is not authenticated.
    pub error: Option<String>,
}

/// TASK_SUBMIT. Older agents validate it strictly: every field that is not an `Option` is always
/// present, and so is `slackContext.threadTs`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskSubmit {
    /// The task.
    pub task_id: TaskId,
    /// The attempt. An agent runs a (task, attempt) once. Older clouds do not send it.
    pub attempt: Option<Attempt>,
    /// The task's project.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub project_id: String,
    /// The name of the bot that the operator wrote to.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub bot_name: String,
    /// The operator's command, such as `run`.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub command: String,
    /// The operator's prompt.
    #[garde(length(chars, min = 1, max = MAX_PROMPT_CHARS))]
    pub prompt: String,
    /// The project's system prompt; may be empty.
    #[garde(length(chars, max = MAX_PROMPT_CHARS))]
    pub system_prompt: String,
    /// The working directory, on the agent's machine.
    #[garde(length(chars, min = 1, max = MAX_PATH_CHARS))]
    pub local_path: String,
    /// The model to use.
    #[garde(length(chars, min = 1, max = MAX_NAME_CHARS))]
    pub model: String,
    /// The budget in US dollars, more than 0.
    #[garde(custom(validate_positive))]
    pub max_budget: f64,
    /// The tools that may be used; empty for the agent's own choice.
    #[garde(length(max = MAX_LIST_ENTRIES), inner(length(chars, max = MAX_NAME_CHARS)))]
    pub allowed_tools: Vec<String>,
    /// The id of the agent's session to resume from.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub resume_session_id: Option<String>,
    /// The number of times that the agent may continue after it reaches its limits.
    pub max_continuations: Option<u32>,
    /// The task that this one follows.
    pub parent_task_id: Option<TaskId>,
    /// Files that came with the prompt.
    pub attachments: Option<Vec<Value>>,
    /// The place in Slack where the operator requested the task.
    pub slack_context: SlackContext,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the validator requires this signature"
)]
fn validate_positive(value: &f64, _: &()) -> garde::Result {
    if *value > 0.0 {
        Ok(())
    } else {
        Err(garde::Error::new("must be more than 0"))
    }
}

/// The place in Slack where an operator requested a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackContext {
    /// The conversation.
    pub channel_id: ChannelId,
    /// The thread; `null` outside of a thread.
    pub thread_ts: Option<MessageTs>,
    /// The operator.
    pub user_id: UserId,
}

/// TASK_CANCEL
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskCancel {
    /// The task.
    pub task_id: TaskId,
    /// The reason for the cancellation.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub reason: String,
}

/// MESSAGE_ACK
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageAck {
    /// The id of the stored message, which need not be sent again.
    pub message_id: MessageId,
}

/// SYSTEM_ERROR
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemError {
    /// The error's stable code.
    pub code: String,
    /// The error's text: what is wrong, and what to do about it.
    pub message: String,
    /// The id of the agent's message that caused the error, if it could be read.
    pub message_id: Option<MessageId>,
}

/// SYSTEM_SHUTDOWN and SYSTEM_RESTART
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemNotice {
    /// The reason for the request.
    pub reason: String,
    /// Whether the agent is to be rebuilt before it restarts.
    pub rebuild: Option<bool>,
}
