//! The messages from agents.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;
use strum::{AsRefStr, IntoStaticStr, VariantNames};

use super::limits::{
    MAX_CAPACITY, MAX_LINE_CHARS, MAX_LIST_ENTRIES, MAX_MESSAGE_BYTES, MAX_NAME_CHARS, MAX_STEPS,
};
use crate::{
    ids::{AgentId, Attempt, TaskId},
    number,
    time::Timestamp,
};

/// A message from an agent to the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
#[derive(AsRefStr, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AgentMessage {
    /// Authenticates a connection whose handshake carried no key.
    AuthRequest(#[garde(dive)] AuthRequest),
    /// A sign of life; answered with HEARTBEAT_PONG.
    HeartbeatPing(#[garde(dive)] HeartbeatSignal),
    /// The answer to the cloud's ping.
    HeartbeatPong(#[garde(dive)] HeartbeatReport),
    /// The agent's availability, capacity and running tasks.
    AgentStatus(#[garde(dive)] AgentStatus),
    /// Whether the agent accepts a task.
    TaskAck(#[garde(dive)] TaskAck),
    /// A task's progress: percent, message, steps.
    TaskProgress(#[garde(dive)] TaskProgress),
    /// A piece of a task's output.
    TaskStream(#[garde(dive)] TaskStream),
    /// A task's result.
    TaskComplete(#[garde(dive)] TaskComplete),
    /// A task's failure.
    TaskError(#[garde(dive)] TaskFailure),
    /// A task that was stopped on request.
    TaskCancelled(#[garde(dive)] TaskCancelled),
}

impl AgentMessage {
    /// Whether the message is a heartbeat or AGENT_STATUS, which are stored as a sign of life.
    pub const fn is_heartbeat_or_status(&self) -> bool {
        matches!(
            self,
            Self::HeartbeatPing(_) | Self::HeartbeatPong(_) | Self::AgentStatus(_)
        )
    }
}

/// AUTH_REQUEST
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct AuthRequest {
    /// The agent's id, as the agent claims it.
    pub agent_id: AgentId,
    /// The agent's API key, which is checked and never stored.
    #[garde(length(chars, min = 1, max = 256))]
    pub api_key: String,
    /// The agent's software version.
    #[garde(length(chars, max = MAX_NAME_CHARS))]
    pub version: String,
    /// The agent's capabilities.
    #[garde(length(max = MAX_LIST_ENTRIES), inner(inner(length(chars, max = MAX_NAME_CHARS))))]
    pub capabilities: Option<Vec<String>>,
}

impl std::fmt::Debug for AuthRequest {
    /// Leaves out the key, since messages may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("agent_id", &self.agent_id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// HEARTBEAT_PING from an agent
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct HeartbeatSignal {
    /// The cloud's time, as the agent knows it.
    pub server_time: Option<Timestamp>,
    /// The tasks that the agent holds, whose leases are renewed. Without this field, only messages
    /// about a task renew its lease.
    #[garde(length(max = MAX_LIST_ENTRIES))]
    pub tasks: Option<Vec<TaskId>>,
}

/// HEARTBEAT_PONG from an agent
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct HeartbeatReport {
    /// The sender; must be the connection's agent.
    pub agent_id: AgentId,
    /// The `serverTime` of the ping that this message answers.
    pub server_time: Timestamp,
    /// The number of tasks that the agent runs.
    #[serde(deserialize_with = "number::deserialize_truncated")]
    pub active_tasks: u64,
    /// Share of the processors in use, 0 to 1.
    #[serde(deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 1.0))]
    pub cpu_usage: f64,
    /// Share of the memory in use, 0 to 1.
    #[serde(deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 1.0))]
    pub memory_usage: f64,
    /// The tasks that the agent holds, as in HEARTBEAT_PING.
    #[garde(length(max = MAX_LIST_ENTRIES))]
    pub tasks: Option<Vec<TaskId>>,
}

/// An agent's availability, as the agent reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// The agent accepts tasks.
    #[default]
    Online,
    /// The agent accepts no more tasks for now.
    Busy,
    /// The agent finishes its tasks and accepts no more.
    Draining,
    /// The agent is about to disconnect.
    Offline,
}

/// AGENT_STATUS
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct AgentStatus {
    /// The sender; must be the connection's agent.
    pub agent_id: AgentId,
    /// Whether the agent accepts tasks.
    pub status: Availability,
    /// The tasks that the agent holds.
    #[garde(length(max = MAX_LIST_ENTRIES))]
    pub active_tasks: Vec<TaskId>,
    /// The number of tasks that the agent runs at once.
    #[serde(default = "AgentStatus::default_capacity")]
    #[garde(range(min = 1, max = MAX_CAPACITY))]
    pub capacity: u32,
    /// The agent's software version.
    #[garde(length(chars, max = MAX_NAME_CHARS))]
    pub version: Option<String>,
    /// The load of the agent's machine.
    #[garde(dive)]
    pub resource_status: Option<ResourceStatus>,
}

impl AgentStatus {
    /// Returns the capacity of an agent that reports none.
    pub const fn default_capacity() -> u32 {
        5
    }
}

/// The load of an agent's machine, as the agent measures it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct ResourceStatus {
    /// A score of the machine's health, 0 to 100; higher is better.
    #[serde(deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 100.0))]
    pub health_score: f64,
    /// Memory in use, in percent.
    #[serde(deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 100.0))]
    pub memory_usage_percent: f64,
    /// Processor time in use, in percent.
    #[serde(deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 100.0))]
    pub cpu_usage_percent: f64,
    /// Whether the machine can take another task.
    pub can_accept_tasks: bool,
}

/// TASK_ACK
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskAck {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// Whether the agent accepts the task.
    pub accepted: bool,
    /// The reason for a refusal.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub reason: Option<String>,
    /// Of a refusal: whether the task is to be tried again later.
    #[serde(default = "default_true")]
    pub retryable: bool,
    /// Of a refusal: whether it counts as an attempt. It does not when the agent hands the task
    /// back because the agent is full or shutting down.
    #[serde(default = "default_true", skip_serializing_if = "is_true")]
    pub spent: bool,
    /// The number of tasks that the agent runs before this one.
    #[serde(default, deserialize_with = "number::deserialize_truncated_or_null")]
    pub queue_position: Option<u64>,
}

const fn default_true() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a field by reference"
)]
const fn is_true(value: &bool) -> bool {
    *value
}

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The agent used a tool.
    ToolUse,
    /// The agent is thinking.
    Thinking,
    /// Any other step.
    #[default]
    Info,
}

/// TASK_PROGRESS
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskProgress {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// Percent, 0 to 100.
    #[serde(default, deserialize_with = "number::deserialize_rounded_or_null")]
    #[garde(range(min = 0.0, max = 100.0))]
    pub progress: Option<f64>,
    /// What the agent is doing.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub message: Option<String>,
    /// The steps since the last message.
    #[garde(length(max = MAX_STEPS), inner(inner(length(chars, max = MAX_LINE_CHARS))))]
    pub steps: Option<Vec<String>>,
    /// The kind of the steps.
    #[serde(default, rename = "type")]
    pub kind: StepKind,
    /// The time of the progress, by the agent's clock.
    pub timestamp: Option<Timestamp>,
}

/// TASK_STREAM
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskStream {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// A piece of output: what was written since the last message.
    #[serde(alias = "chunk", alias = "text")]
    #[garde(length(bytes, max = MAX_MESSAGE_BYTES))]
    pub delta: String,
    /// The piece's number in the attempt's output, from 0.
    #[serde(default, deserialize_with = "number::deserialize_truncated_or_null")]
    pub seq: Option<u64>,
    /// The time at which the output was written, by the agent's clock. It orders pieces without
    /// `seq`.
    pub timestamp: Option<Timestamp>,
}

/// TASK_COMPLETE
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskComplete {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// The result, in Markdown.
    #[garde(length(bytes, max = MAX_MESSAGE_BYTES))]
    pub result: String,
    /// The id of the agent's session, from which a later task can resume.
    #[serde(default)]
    #[serialize_always]
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub session_id: Option<String>,
    /// Input tokens that the task used.
    #[serde(default, deserialize_with = "number::deserialize_truncated")]
    pub input_tokens: u64,
    /// Output tokens that the task used.
    #[serde(default, deserialize_with = "number::deserialize_truncated")]
    pub output_tokens: u64,
    /// The cost, in US dollars.
    #[serde(default, deserialize_with = "number::deserialize_rounded")]
    #[garde(range(min = 0.0, max = 1e9))]
    pub estimated_cost: f64,
    /// Paths of the files that the task changed.
    #[serde(default)]
    pub files_changed: Vec<String>,
    /// Commands that the task ran.
    #[serde(default)]
    pub commands_run: Vec<String>,
    /// The duration, in milliseconds.
    #[serde(default, deserialize_with = "number::deserialize_truncated")]
    pub duration_ms: u64,
    /// The number of times that the agent continued after it reached its limits.
    #[serde(default, deserialize_with = "number::deserialize_truncated_or_null")]
    pub continuations: Option<u64>,
    /// The results for the task's attachments, in a format of the agent's own.
    pub attachment_results: Option<Value>,
    /// The model that the agent used.
    #[garde(length(chars, max = MAX_NAME_CHARS))]
    pub model: Option<String>,
}

/// The cause of a failure: the agent or the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The agent: the failure counts in its circuit breaker.
    #[default]
    Agent,
    /// The task: any agent would have failed.
    Task,
}

impl Fault {
    /// Whether the agent is the cause.
    pub const fn is_agent(&self) -> bool {
        matches!(self, Self::Agent)
    }
}

/// TASK_ERROR
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskFailure {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// The error's text.
    #[garde(length(bytes, max = MAX_MESSAGE_BYTES))]
    pub error: String,
    /// Whether the task may succeed if it is run again.
    #[serde(default)]
    pub recoverable: bool,
    /// The id of the agent's session, from which a later task can resume.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub session_id: Option<String>,
    /// The cause of the failure.
    #[serde(default)]
    pub fault: Fault,
}

/// TASK_CANCELLED
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct TaskCancelled {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the message is about; without it, the one that the agent holds.
    pub attempt: Option<Attempt>,
    /// The reason for the cancellation.
    #[garde(length(chars, max = MAX_LINE_CHARS))]
    pub reason: Option<String>,
}
