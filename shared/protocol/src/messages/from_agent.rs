//! What agents send.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};

use super::limits::{CAPACITY, LINE_CHARS, LIST, MESSAGE_BYTES, NAME_CHARS, STEPS};
use crate::{
    ids::{AgentId, Attempt, TaskId},
    number,
    time::Timestamp,
};

/// A message from an agent to the cloud.
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
pub enum AgentMessage {
    /// Authenticates a connection whose handshake carried no key.
    AuthRequest(#[garde(dive)] AuthRequest),
    /// "I am alive"; answered with HEARTBEAT_PONG.
    HeartbeatPing(#[garde(dive)] HeartbeatSignal),
    /// The answer to the cloud's ping.
    HeartbeatPong(#[garde(dive)] HeartbeatReport),
    /// What the agent is doing and can take.
    AgentStatus(#[garde(dive)] AgentStatus),
    /// Whether the agent takes a task.
    TaskAck(#[garde(dive)] TaskAck),
    /// How far a task is.
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
    /// Whether it is about the agent rather than a task: written down as a sign of life.
    pub const fn is_sign_of_life(&self) -> bool {
        matches!(
            self,
            Self::HeartbeatPing(_) | Self::HeartbeatPong(_) | Self::AgentStatus(_)
        )
    }
}

/// AUTH_REQUEST
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct AuthRequest {
    /// Who the agent says it is.
    #[garde(skip)]
    pub agent_id: AgentId,
    /// Its key, as text: it is checked, never kept.
    #[garde(length(chars, min = 1, max = 256))]
    pub api_key: String,
    /// The agent's software version.
    #[garde(length(chars, max = NAME_CHARS))]
    pub version: String,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = LIST), inner(inner(length(chars, max = NAME_CHARS))))]
    pub capabilities: Option<Vec<String>>,
}

impl std::fmt::Debug for AuthRequest {
    /// Without the key: messages are logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("agent_id", &self.agent_id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// HEARTBEAT_PING from an agent
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatSignal {
    /// The cloud's clock, as the agent knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub server_time: Option<Timestamp>,
    /// The tasks that the agent holds: each one's lease is renewed. Agents that do not say leave
    /// their leases to the messages that name a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = LIST))]
    pub tasks: Option<Vec<TaskId>>,
}

/// HEARTBEAT_PONG from an agent
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatReport {
    /// The sender; must be the connection's agent.
    #[garde(skip)]
    pub agent_id: AgentId,
    /// The time of the ping it answers.
    #[garde(skip)]
    pub server_time: Timestamp,
    /// How many tasks it runs.
    #[serde(deserialize_with = "number::whole")]
    #[garde(skip)]
    pub active_tasks: u64,
    /// Share of the processors in use, 0 to 1.
    #[garde(range(min = 0.0, max = 1.0))]
    pub cpu_usage: f64,
    /// Share of the memory in use, 0 to 1.
    #[garde(range(min = 0.0, max = 1.0))]
    pub memory_usage: f64,
    /// The tasks that the agent holds, as in HEARTBEAT_PING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = LIST))]
    pub tasks: Option<Vec<TaskId>>,
}

/// What an agent says of its own availability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes work.
    Online,
    /// Connected, takes no more work for now.
    Busy,
    /// Finishes what it has and takes no more.
    Draining,
    /// About to go.
    Offline,
}

/// AGENT_STATUS
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// The sender; must be the connection's agent.
    #[garde(skip)]
    pub agent_id: AgentId,
    /// Whether it takes work.
    #[garde(skip)]
    pub status: Availability,
    /// The tasks it holds.
    #[garde(length(max = LIST))]
    pub active_tasks: Vec<TaskId>,
    /// How many tasks it takes at once.
    #[serde(default = "AgentStatus::default_capacity")]
    #[garde(range(min = 1, max = CAPACITY))]
    pub capacity: u32,
    /// Its software version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = NAME_CHARS))]
    pub version: Option<String>,
    /// Its machine's health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub resource_status: Option<ResourceStatus>,
}

impl AgentStatus {
    /// The capacity of an agent that declares none.
    pub const DEFAULT_CAPACITY: u32 = 5;

    const fn default_capacity() -> u32 {
        Self::DEFAULT_CAPACITY
    }
}

/// A machine's health, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// 0 to 100, higher is better.
    #[garde(range(min = 0.0, max = 100.0))]
    pub health_score: f64,
    /// 0 to 100
    #[garde(range(min = 0.0, max = 100.0))]
    pub memory_usage_percent: f64,
    /// 0 to 100
    #[garde(range(min = 0.0, max = 100.0))]
    pub cpu_usage_percent: f64,
    /// Whether the machine can take another task.
    #[garde(skip)]
    pub can_accept_tasks: bool,
}

/// TASK_ACK
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskAck {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// Whether the agent takes it.
    #[garde(skip)]
    pub accepted: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub reason: Option<String>,
    /// Not accepted: whether to try again later.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub retryable: bool,
    /// Not accepted: whether the offer counts as an attempt. Not so when the agent hands the task
    /// back without having looked at it: it is full, or shutting down.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[garde(skip)]
    pub spent: bool,
    /// How many tasks the agent has before this one.
    #[serde(
        default,
        deserialize_with = "number::whole_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[garde(skip)]
    pub queue_position: Option<u64>,
}

const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a field by reference"
)]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// What kind of thing a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The agent used a tool.
    ToolUse,
    /// The agent is thinking.
    Thinking,
    /// Anything else.
    #[default]
    Info,
}

/// TASK_PROGRESS
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskProgress {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// Percent, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0.0, max = 100.0))]
    pub progress: Option<f64>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub message: Option<String>,
    /// Steps done since the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = STEPS), inner(inner(length(chars, max = LINE_CHARS))))]
    pub steps: Option<Vec<String>>,
    /// What kind of step it is.
    #[serde(default, rename = "type")]
    #[garde(skip)]
    pub kind: StepKind,
    /// When it happened, by the agent's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub timestamp: Option<Timestamp>,
}

/// TASK_STREAM
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskStream {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// The output since the last message.
    #[serde(alias = "chunk", alias = "text")]
    #[garde(length(bytes, max = MESSAGE_BYTES))]
    pub delta: String,
    /// Its place in the attempt's output.
    #[serde(
        default,
        deserialize_with = "number::whole_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[garde(skip)]
    pub seq: Option<u64>,
    /// When it was written, by the agent's clock; orders deltas that have no `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub timestamp: Option<Timestamp>,
}

/// TASK_COMPLETE
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskComplete {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// What came of it, in Markdown.
    #[garde(length(bytes, max = MESSAGE_BYTES))]
    pub result: String,
    /// The agent's session, to resume from.
    #[serde(default)]
    #[garde(length(chars, max = LINE_CHARS))]
    pub session_id: Option<String>,
    /// Tokens read.
    #[serde(default, deserialize_with = "number::whole")]
    #[garde(skip)]
    pub input_tokens: u64,
    /// Tokens written.
    #[serde(default, deserialize_with = "number::whole")]
    #[garde(skip)]
    pub output_tokens: u64,
    /// US dollars.
    #[serde(default)]
    #[garde(range(min = 0.0, max = 1e9))]
    pub estimated_cost: f64,
    /// Paths of the files that changed.
    #[serde(default)]
    #[garde(skip)]
    pub files_changed: Vec<String>,
    /// Commands that were run.
    #[serde(default)]
    #[garde(skip)]
    pub commands_run: Vec<String>,
    /// Milliseconds that it took.
    #[serde(default, deserialize_with = "number::whole")]
    #[garde(skip)]
    pub duration_ms: u64,
    /// How often the agent went on after reaching its limits.
    #[serde(
        default,
        deserialize_with = "number::whole_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[garde(skip)]
    pub continuations: Option<u64>,
    /// What became of attachments; the agent's own shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attachment_results: Option<Value>,
    /// The model that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = NAME_CHARS))]
    pub model: Option<String>,
}

/// Whose failure a TASK_ERROR was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The agent's: it counts against the agent's health.
    #[default]
    Agent,
    /// The task's own: another agent would have failed too.
    Task,
}

impl Fault {
    /// Whether it was the agent's.
    pub const fn is_agent(&self) -> bool {
        matches!(self, Self::Agent)
    }
}

/// TASK_ERROR
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// What went wrong.
    #[garde(length(bytes, max = MESSAGE_BYTES))]
    pub error: String,
    /// Whether running it again may help.
    #[serde(default)]
    #[garde(skip)]
    pub recoverable: bool,
    /// The agent's session, to resume from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub session_id: Option<String>,
    /// Whose failure it was.
    #[serde(default)]
    #[garde(skip)]
    pub fault: Fault,
}

/// TASK_CANCELLED
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct TaskCancelled {
    /// The task.
    #[garde(skip)]
    pub task_id: TaskId,
    /// The attempt it speaks of; without it, the one the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub attempt: Option<Attempt>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = LINE_CHARS))]
    pub reason: Option<String>,
}
