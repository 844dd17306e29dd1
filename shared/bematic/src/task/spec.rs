//! What is asked for, and what came of it.

use bematic_protocol::{
    ids::{ChannelId, MessageTs, UserId},
    messages::TaskComplete,
};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What is to be run. Never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// The project that it belongs to.
    pub project_id: String,
    /// The bot that answers.
    pub bot_name: String,
    /// The operator's command, such as `run`.
    pub command: String,
    /// What to do.
    pub prompt: String,
    /// What to keep in mind.
    pub system_prompt: String,
    /// The folder on the agent's machine.
    pub local_path: String,
    /// The model to use.
    pub model: String,
    /// US dollars.
    pub max_budget: f64,
    /// The tools that may be used; empty for the agent's own choice.
    pub allowed_tools: Vec<String>,
    /// How long the agent may be silent about it, if the project says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_secs: Option<u64>,
}

/// Where in Slack a task was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The conversation.
    pub channel_id: ChannelId,
    /// The thread to answer in; outside of one, the answer is a message of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_ts: Option<MessageTs>,
    /// Who asked.
    pub user_id: UserId,
}

/// How urgent a task is. Among equals the older goes first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The usual.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

/// What came of a completed task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// In Markdown.
    pub result: String,
    /// The agent's session, to resume from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// US dollars.
    pub estimated_cost: f64,
    /// Paths.
    pub files_changed: Vec<String>,
    /// Command lines.
    pub commands_run: Vec<String>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// The model that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
