//! The messages from the cloud.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};

use super::limits::{LINE_CHARS, LIST, NAME_CHARS, PATH_CHARS, PROMPT_CHARS};
use crate::{
    ids::{AgentId, Attempt, ChannelId, MessageId, MessageTs, TaskId, UserId},
    time::Timestamp,
};

/// A message from the cloud to an agent.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Serialize,
    Deserialize,
    JsonSchema,
    Validate,
    IntoStaticStr,
    VariantNames,
)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CloudMessage {
    /// Whether the connection is authenticated.
    AuthResponse(#[garde(skip)] AuthResponse),
    /// A request for a sign of life; answered with HEARTBEAT_PONG.
    HeartbeatPing(#[garde(skip)] Heartbeat),
    /// The answer to the agent's ping.
    HeartbeatPong(#[garde(skip)] Heartbeat),
    /// A task to run.
    TaskSubmit(#[garde(dive)] Box<TaskSubmit>),
    /// A task to stop.
    TaskCancel(#[garde(dive)] TaskCancel),
    /// The confirmation that a terminal message of the agent is stored.
    MessageAck(#[garde(skip)] MessageAck),
    /// An error: a message of the agent is invalid or not allowed, or could not be handled.
    SystemError(#[garde(skip)] SystemError),
    /// A request to stop.
    SystemShutdown(#[garde(skip)] SystemNotice),
    /// A request to restart.
    SystemRestart(#[garde(skip)] SystemNotice),
}

/// HEARTBEAT_PING and HEARTBEAT_PONG from the cloud
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The cloud's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
}

/// AUTH_RESPONSE
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthResponse {
    /// Whether the connection is authenticated.
    pub success: bool,
    /// The agent that the connection is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The reason that the connection is not authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// TASK_SUBMIT. Older agents validate it strictly: every field that is not an `Option` is always
/// present, and so is `slackContext.threadTs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskSubmit {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt. An agent runs a (task, attempt) once. Older clouds do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// The task's project.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub project_id: String,
    /// The name of the bot that the operator wrote to.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub bot_name: String,
    /// The operator's command, such as `run`.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub command: String,
    /// The operator's prompt.
    #[garde(length(chars, min = 1, max = PROMPT_CHARS))]
    pub prompt: String,
    /// The project's system prompt; may be empty.
    #[garde(length(chars, max = PROMPT_CHARS))]
    pub system_prompt: String,
    /// The working directory, on the agent's machine.
    #[garde(length(chars, min = 1, max = PATH_CHARS))]
    pub local_path: String,
    /// The model to use.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub model: String,
    /// The budget in US dollars, more than 0.
    #[garde(custom(positive))]
    pub max_budget: f64,
    /// The tools that may be used; empty for the agent's own choice.
    #[garde(length(max = LIST), inner(length(chars, max = NAME_CHARS)))]
    pub allowed_tools: Vec<String>,
    /// The id of the agent's session to resume from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub resume_session_id: Option<String>,
    /// The number of times that the agent may continue after it reaches its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub max_continuations: Option<u32>,
    /// The task that this one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub parent_task_id: Option<TaskId>,
    /// Files that came with the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attachments: Option<Vec<Value>>,
    /// The place in Slack where the operator requested the task.
    #[garde(skip)]
    pub slack_context: SlackContext,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the validator requires this signature"
)]
fn positive(value: &f64, _: &()) -> garde::Result {
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
pub struct TaskCancel {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The reason for the cancellation.
    #[garde(length(chars, max = LINE_CHARS))]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemError {
    /// The error's stable code.
    pub code: String,
    /// The error's text: what is wrong, and what to do about it.
    pub message: String,
    /// The id of the agent's message that caused the error, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

/// SYSTEM_SHUTDOWN and SYSTEM_RESTART
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemNotice {
    /// The reason for the request.
    pub reason: String,
    /// Whether the agent is to be rebuilt before it restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<bool>,
}
