//! A task: what an operator asked for, and how far it is.
//!
//! [`TaskState`] is the state, [`TaskState::after`] the one function that says which transitions
//! are legal. It reads no clock and does no I/O; [`crate::store`] applies what it decides as a
//! conditional write.

mod policy;
mod progress;
mod state;

use serde::{Deserialize, Serialize};

pub use self::{
    policy::{FLUSH_INTERVAL, TaskPolicy},
    progress::{Chunk, ChunkOrder, Progress, Step},
    state::{Failure, FailureCode, TaskEvent, TaskState, Unchanged},
};
use crate::{
    ids::{AgentId, Attempt, ChannelId, MessageTs, TaskId, UserId},
    protocol::TaskComplete,
    time::Timestamp,
};

/// A task without what it carries: small, since every transition writes it whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The agent that it is for.
    pub agent_id: AgentId,
    /// The project that it belongs to.
    pub project_id: String,
    /// The prompt's first line, cut to [`Task::TITLE_CHARS`].
    pub title: String,
    /// Where it was asked for.
    pub origin: Origin,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub updated_at: Timestamp,
    /// How often it changed: the condition of the next write.
    pub version: u64,
    /// How far it is.
    #[serde(flatten)]
    pub state: TaskState,
}

impl Task {
    /// Characters of a title.
    pub const TITLE_CHARS: usize = 150;

    /// A new task, pending.
    pub fn new(
        id: TaskId,
        agent_id: AgentId,
        spec: &TaskSpec,
        origin: Origin,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            agent_id,
            project_id: spec.project_id.clone(),
            title: title(&spec.prompt),
            origin,
            priority: Priority::default(),
            created_at: now,
            updated_at: now,
            version: 1,
            state: TaskState::NEW,
        }
    }

    /// The task after `event`, ready to be written in place of this one.
    ///
    /// # Errors
    /// [`Unchanged`] names why the event changes nothing.
    pub fn after(
        &self,
        event: TaskEvent,
        policy: &TaskPolicy,
        now: Timestamp,
    ) -> Result<Self, Unchanged> {
        let state = self.state.after(event, policy, now)?;
        Ok(Self {
            state,
            version: self.version + 1,
            updated_at: now,
            ..self.clone()
        })
    }

    /// The slot that it takes of its agent's capacity: `None` unless it is at the agent.
    pub fn slot(&self) -> Option<Slot> {
        self.state.held().map(|attempt| Slot {
            task_id: self.id,
            attempt,
        })
    }
}

fn title(prompt: &str) -> String {
    let line = prompt
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    if line.chars().count() <= Task::TITLE_CHARS {
        return line.to_owned();
    }
    line.chars()
        .take(Task::TITLE_CHARS - 1)
        .chain(['…'])
        .collect()
}

/// A task's place among those that its agent runs: freeing it twice is the same as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that took it.
    pub attempt: Attempt,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.task_id, self.attempt)
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

#[cfg(test)]
mod tests;
