//! Messages to the cloud and from it.

use std::fmt;
use std::time::Duration;

use bematic_protocol::ids::{Attempt, TaskId};
use bematic_protocol::messages::TypeSpelling;
use bematic_protocol::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One attempt of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The task.
    pub task_id: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

impl RunKey {
    /// Returns a payload about the attempt, with these further fields.
    pub fn payload_with(self, mut fields: Value) -> Value {
        fields["taskId"] = json!(self.task_id);
        fields["attempt"] = json!(self.attempt);
        fields
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task_id, self.attempt)
    }
}

/// A message to the cloud, without what its envelope adds: a type and a payload.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentMessage {
    /// The type in its canonical spelling, such as `TASK_ACK`.
    pub kind: String,
    pub(crate) payload: Value,
}

impl AgentMessage {
    /// Returns a message of any type, known to the protocol or not.
    pub(crate) fn new(kind: &str, payload: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            payload,
        }
    }

    /// Returns a TASK_ message of any type about an attempt, with these further fields.
    pub fn about(run: RunKey, kind: &str, fields: Value) -> Self {
        Self::new(kind, run.payload_with(fields))
    }

    /// Adds or replaces a field of the payload.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.payload[name] = json!(value);
        self
    }

    /// Drops a field of the payload, such as the `attempt` that agents in the field do not know.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        if let Some(fields) = self.payload.as_object_mut() {
            fields.remove(name);
        }
        self
    }

    /// AUTH_REQUEST
    pub fn auth_request(agent_id: &str, api_key: &str) -> Self {
        let payload = json!({ "agentId": agent_id, "apiKey": api_key, "version": AGENT_VERSION });
        Self::new("AUTH_REQUEST", payload)
    }

    /// AGENT_STATUS of an agent that is online.
    pub fn agent_status(agent_id: &str, capacity: usize, tasks: &[impl Serialize]) -> Self {
        let payload = json!({
            "agentId": agent_id, "status": "online", "activeTasks": tasks, "capacity": capacity,
            "version": AGENT_VERSION,
        });
        Self::new("AGENT_STATUS", payload)
    }

    /// HEARTBEAT_PING with the tasks that the agent holds.
    pub fn ping(tasks: &[impl Serialize]) -> Self {
        Self::new("HEARTBEAT_PING", json!({ "tasks": tasks }))
    }

    /// HEARTBEAT_PONG, the answer to a ping of the cloud.
    pub fn pong(agent_id: &str, server_time: Timestamp, tasks: &[impl Serialize]) -> Self {
        let payload = json!({
            "agentId": agent_id, "serverTime": server_time, "activeTasks": tasks.len(),
            "cpuUsage": 0.25, "memoryUsage": 0.5, "tasks": tasks,
        });
        Self::new("HEARTBEAT_PONG", payload)
    }

    /// TASK_ACK that accepts.
    pub fn ack(run: RunKey) -> Self {
        Self::about(run, "TASK_ACK", json!({ "accepted": true }))
    }

    /// TASK_ACK that refuses, for now.
    pub(crate) fn rejecting_ack(run: RunKey, reason: &str) -> Self {
        let fields = json!({ "accepted": false, "reason": reason, "retryable": true });
        Self::about(run, "TASK_ACK", fields)
    }

    /// TASK_PROGRESS with these fields.
    pub fn progress(run: RunKey, fields: Value) -> Self {
        Self::about(run, "TASK_PROGRESS", fields)
    }

    /// TASK_STREAM with a piece of output at its place in the attempt.
    pub fn stream(run: RunKey, seq: u64, delta: &str) -> Self {
        Self::about(run, "TASK_STREAM", json!({ "delta": delta, "seq": seq }))
    }

    /// TASK_COMPLETE
    pub fn complete(run: RunKey, result: &str) -> Self {
        Self::about(run, "TASK_COMPLETE", json!({ "result": result }))
    }

    /// TASK_ERROR that is not recoverable.
    pub fn error(run: RunKey, error: &str) -> Self {
        let fields = json!({ "error": error, "recoverable": false });
        Self::about(run, "TASK_ERROR", fields)
    }

    /// TASK_CANCELLED
    pub fn cancelled(run: RunKey, reason: &str) -> Self {
        Self::about(run, "TASK_CANCELLED", json!({ "reason": reason }))
    }

    /// Returns the message in an envelope.
    pub fn in_envelope(self, id: &str, at: Timestamp) -> EnvelopedMessage {
        EnvelopedMessage {
            id: id.to_owned(),
            at,
            message: self,
        }
    }
}

/// The version of its software that the test agent declares.
const AGENT_VERSION: &str = "1.2.3";

/// A message in its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopedMessage {
    pub(crate) id: String,
    /// The time, by the agent's clock.
    pub(crate) at: Timestamp,
    /// The message.
    pub message: AgentMessage,
}

impl EnvelopedMessage {
    /// Returns the message as JSON, for a test that invalidates it.
    pub(crate) fn to_json_value(&self, spelling: TypeSpelling) -> Value {
        json!({
            "id": self.id,
            "type": spelling.spell_type(&self.message.kind),
            "payload": self.message.payload,
            "timestamp": self.at,
        })
    }

    /// Returns the message as it goes over the wire.
    pub fn text(&self, spelling: TypeSpelling) -> String {
        self.to_json_value(spelling).to_string()
    }
}

/// The ids and times of an agent's messages: no two ids are the same, and no two times, since two
/// messages of one millisecond have no order.
#[derive(Debug)]
pub(crate) struct EnvelopeSequence {
    prefix: String,
    written: u64,
    last: Timestamp,
}

impl EnvelopeSequence {
    /// Starts a sequence whose ids begin with a prefix of the agent's own.
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            written: 0,
            last: Timestamp::from_millis(0),
        }
    }

    /// Puts the next message into its envelope.
    pub(crate) fn seal(&mut self, message: AgentMessage, now: Timestamp) -> EnvelopedMessage {
        self.written += 1;
        self.last = now.max(self.last + Duration::from_millis(1));
        message.in_envelope(&format!("{}-{}", self.prefix, self.written), self.last)
    }
}

/// A message from the cloud.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CloudMessage {
    pub(crate) id: String,
    /// The type in its canonical spelling.
    #[serde(rename = "type")]
    pub kind: String,
    /// The spelling of the type.
    #[serde(skip)]
    pub spelling: TypeSpelling,
    /// The payload.
    pub payload: Value,
    /// The time, by the cloud's clock.
    #[serde(rename = "timestamp")]
    pub(crate) sent_at: Timestamp,
}

impl CloudMessage {
    /// Reads a message, in either spelling. The error is that it is not JSON, or has no envelope.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        let mut message: Self = serde_json::from_str(text)?;
        if message.kind.contains(':') {
            message.spelling = TypeSpelling::Colons;
            message.kind = message.kind.to_uppercase().replace(':', "_");
        }
        Ok(message)
    }

    /// Reads a field of the payload.
    pub(crate) fn field<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(&self.payload[name]).ok()
    }

    /// Reads the offer of a TASK_SUBMIT.
    pub fn offer(&self) -> Option<Offer> {
        let (task_id, attempt): (_, Attempt) = (self.field("taskId")?, self.field("attempt")?);
        let run = RunKey { task_id, attempt };
        (self.kind == "TASK_SUBMIT").then(|| Offer {
            id: task_id.to_string(),
            attempt: attempt.number(),
            payload: self.payload.clone(),
            run,
        })
    }
}

/// An attempt of a task that the cloud offers with a TASK_SUBMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The task's id.
    pub id: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The payload.
    pub payload: Value,
    run: RunKey,
}

impl Offer {
    /// Returns the attempt that is offered.
    pub const fn run_key(&self) -> RunKey {
        self.run
    }

    /// Returns the payload of a reply: the attempt, with these further fields.
    pub fn reply_payload(&self, fields: Value) -> Value {
        self.run.payload_with(fields)
    }
}
