//! What the cloud sends.

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
    /// "Are you alive?"; answered with HEARTBEAT_PONG.
    HeartbeatPing(#[garde(skip)] Heartbeat),
    /// The answer to the agent's ping.
    HeartbeatPong(#[garde(skip)] Heartbeat),
    /// A task to run.
    TaskSubmit(#[garde(dive)] Box<TaskSubmit>),
    /// A task to stop.
    TaskCancel(#[garde(dive)] TaskCancel),
    /// A message that must not be lost was received and is durable.
    MessageAck(#[garde(skip)] MessageAck),
    /// A message was not understood or not allowed.
    SystemError(#[garde(skip)] SystemError),
    /// The agent is asked to stop.
    SystemShutdown(#[garde(skip)] SystemNotice),
    /// The agent is asked to start anew.
    SystemRestart(#[garde(skip)] SystemNotice),
}

/// HEARTBEAT_PING and HEARTBEAT_PONG from the cloud
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The cloud's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
}

/// AUTH_RESPONSE
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthResponse {
    /// Whether the connection is now the agent's.
    pub success: bool,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Why it is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// TASK_SUBMIT. Agents in the field validate it strictly: every field that is not an `Option`
/// is always present, and so is `slackContext.threadTs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskSubmit {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// Which try this is; an agent runs a (task, attempt) once. Absent from older clouds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// The project that it belongs to.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub project_id: String,
    /// The bot that answers.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub bot_name: String,
    /// The operator's command, such as `run`.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub command: String,
    /// What to do.
    #[garde(length(chars, min = 1, max = PROMPT_CHARS))]
    pub prompt: String,
    /// What to keep in mind; may be empty.
    #[garde(length(chars, max = PROMPT_CHARS))]
    pub system_prompt: String,
    /// The folder to work in, on the agent's machine.
    #[garde(length(chars, min = 1, max = PATH_CHARS))]
    pub local_path: String,
    /// The model to use.
    #[garde(length(chars, min = 1, max = NAME_CHARS))]
    pub model: String,
    /// US dollars, more than 0.
    #[garde(custom(positive))]
    pub max_budget: f64,
    /// The tools that may be used; empty for the agent's own choice.
    #[garde(length(max = LIST), inner(length(chars, max = NAME_CHARS)))]
    pub allowed_tools: Vec<String>,
    /// The agent's session to resume from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub resume_session_id: Option<String>,
    /// How often the agent may go on after reaching its limits.
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
    /// Where it was asked for.
    #[garde(skip)]
    pub slack_context: SlackContext,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the validator's signature"
)]
fn positive(value: &f64, _: &()) -> garde::Result {
    if *value > 0.0 {
        Ok(())
    } else {
        Err(garde::Error::new("must be more than 0"))
    }
}

/// Where in Slack a task was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackContext {
    /// The conversation.
    pub channel_id: ChannelId,
    /// The thread, present as `null` outside of one.
    pub thread_ts: Option<MessageTs>,
    /// Who asked.
    pub user_id: UserId,
}

/// TASK_CANCEL
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskCancel {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// Why.
    #[garde(length(chars, max = LINE_CHARS))]
    pub reason: String,
}

/// MESSAGE_ACK
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageAck {
    /// The message that need not be sent again.
    pub message_id: MessageId,
}

/// SYSTEM_ERROR
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemError {
    /// A stable code.
    pub code: String,
    /// A sentence that says what is wrong.
    pub message: String,
    /// The offending message, if it had an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

/// SYSTEM_SHUTDOWN and SYSTEM_RESTART
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemNotice {
    /// Why.
    pub reason: String,
    /// Whether to build anew first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<bool>,
}
