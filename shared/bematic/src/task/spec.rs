//! The specification of a task, and its result.

use bematic_protocol::{
    ids::{ChannelId, MessageTs, UserId},
    messages::TaskComplete,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::IntoStaticStr;

/// The specification of a task. It never changes.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// The project that the task belongs to.
    pub project_id: String,
    /// The name of the bot that answers.
    pub bot_name: String,
    /// The operator's command, such as `run`.
    pub command: String,
    /// The prompt to run.
    pub prompt: String,
    /// The project's instructions for all of its tasks.
    pub system_prompt: String,
    /// The folder on the agent's machine.
    pub local_path: String,
    /// The model to use.
    pub model: String,
    /// The maximum cost in US dollars.
    pub max_budget: f64,
    /// The tools that may be used; empty for the agent's own choice.
    pub allowed_tools: Vec<String>,
    /// The length of the task's lease in seconds, if the project sets one.
    pub lease_secs: Option<u64>,
}

/// The place in Slack where a task was requested.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The channel.
    pub channel_id: ChannelId,
    /// The thread to answer in; outside of a thread, the answer is a message of its own.
    pub thread_ts: Option<MessageTs>,
    /// The operator who made the request.
    pub user_id: UserId,
}

/// The priority of a task. Of equal tasks the older is dispatched first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Priority {
    /// Dispatched before all others.
    High,
    /// The default priority.
    #[default]
    Normal,
    /// Dispatched when no other task waits.
    Low,
}

/// The result of a completed task.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// The result text, in Markdown.
    pub result: String,
    /// The agent's session, which a later task can resume.
    pub session_id: Option<String>,
    /// The number of input tokens.
    pub input_tokens: u64,
    /// The number of output tokens.
    pub output_tokens: u64,
    /// The estimated cost in US dollars.
    pub estimated_cost: f64,
    /// The paths of the changed files.
    pub files_changed: Vec<String>,
    /// The command lines that were run.
    pub commands_run: Vec<String>,
    /// The duration in milliseconds, by the agent's measure.
    pub duration_ms: u64,
    /// The model that was used.
    pub model: Option<String>,
}

impl From<TaskComplete> for Completion {
    fn from(message: TaskComplete) -> Self {
        Self {
            result: message.result,
            session_id: message.session_id,
            input_tokens: message.input_tokens,
            output_tokens: message.output_tokens,
            estimated_cost: message.estimated_cost,
            files_changed: message.files_changed,
            commands_run: message.commands_run,
            duration_ms: message.duration_ms,
            model: message.model,
        }
    }
}
