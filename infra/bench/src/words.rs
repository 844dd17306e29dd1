//! What agents say: ordinary messages of an ordinary length.

use std::time::Duration;

use bematic_protocol::ids::{AgentId, Attempt, TaskId};
use bematic_protocol::messages::{
    AgentMessage, AgentStatus, AuthRequest, Availability, Fault, HeartbeatReport, HeartbeatSignal,
    StepKind, TaskAck, TaskCancelled, TaskComplete, TaskFailure, TaskProgress, TaskStream,
};
use bematic_protocol::time::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

/// Tasks that an agent takes at once, by its own word.
pub(crate) const CAPACITY: u32 = 5;
/// How often an agent says that it is there, by the protocol.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// What the ordinary task says: steps and pieces of output.
pub(crate) const STEPS: u64 = 10;
pub(crate) const CHUNKS: u64 = 100;

/// A task that an agent was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
}

impl Given {
    /// Of a message to an agent, if that is what it is.
    pub(crate) fn of(message: &Value) -> Option<Self> {
        if message["type"] != "TASK_SUBMIT" {
            return None;
        }
        let payload = &message["payload"];
        Some(Self {
            task: TaskId::deserialize(&payload["taskId"]).ok()?,
            attempt: Attempt::deserialize(&payload["attempt"]).ok()?,
        })
    }
}

pub(crate) fn auth_request(agent: &AgentId, key: &str) -> AgentMessage {
    AgentMessage::AuthRequest(AuthRequest {
        agent_id: agent.clone(),
        api_key: key.to_owned(),
        version: "1.0.0".into(),
        capabilities: None,
    })
}

pub(crate) fn status(agent: &AgentId) -> AgentMessage {
    AgentMessage::AgentStatus(AgentStatus {
        agent_id: agent.clone(),
        status: Availability::Online,
        active_tasks: Vec::new(),
        capacity: CAPACITY,
        version: Some("1.0.0".into()),
        resource_status: None,
    })
}

pub(crate) fn ping(tasks: Vec<TaskId>) -> AgentMessage {
    AgentMessage::HeartbeatPing(HeartbeatSignal {
        server_time: None,
        tasks: Some(tasks),
    })
}

pub(crate) fn pong(agent: &AgentId, server_time: Timestamp, tasks: Vec<TaskId>) -> AgentMessage {
    AgentMessage::HeartbeatPong(HeartbeatReport {
        agent_id: agent.clone(),
        server_time,
        active_tasks: 0,
        cpu_usage: 0.25,
        memory_usage: 0.5,
        tasks: Some(tasks),
    })
}

pub(crate) fn ack(given: Given) -> AgentMessage {
    AgentMessage::TaskAck(TaskAck {
        task_id: given.task,
        attempt: Some(given.attempt),
        accepted: true,
        reason: None,
        retryable: true,
        spent: true,
        queue_position: None,
    })
}

pub(crate) fn progress(given: Given, n: u64) -> AgentMessage {
    AgentMessage::TaskProgress(TaskProgress {
        task_id: given.task,
        attempt: Some(given.attempt),
        progress: Some(5.0),
        message: Some(format!("Step {n}: reading src/login.py and its tests")),
        steps: None,
        kind: StepKind::ToolUse,
        timestamp: None,
    })
}

pub(crate) fn stream(given: Given, seq: u64) -> AgentMessage {
    let line = format!("{seq}: the session is renewed when the user comes back in time. ");
    AgentMessage::TaskStream(TaskStream {
        task_id: given.task,
        attempt: Some(given.attempt),
        delta: format!("{}\n", line.repeat(4)),
        seq: Some(seq),
        timestamp: None,
    })
}

pub(crate) fn complete(given: Given) -> AgentMessage {
    let line = "- `login.py`: the session is renewed on every request, as the test asks for\n";
    AgentMessage::TaskComplete(TaskComplete {
        task_id: given.task,
        attempt: Some(given.attempt),
        result: format!("The login bug is fixed.\n\n{}", line.repeat(8)),
        session_id: Some("0198c0de-0000-7000-8000-00000000cafe".into()),
        input_tokens: 18_234,
        output_tokens: 2_871,
        estimated_cost: 0.21,
        files_changed: vec!["src/login.py".into(), "tests/test_login.py".into()],
        commands_run: vec!["pytest -q".into()],
        duration_ms: 11_000,
        continuations: None,
        attachment_results: None,
        model: Some("default".into()),
    })
}

pub(crate) fn failure(given: Given, fault: Fault) -> AgentMessage {
    AgentMessage::TaskError(TaskFailure {
        task_id: given.task,
        attempt: Some(given.attempt),
        error: "the tests still fail".into(),
        recoverable: false,
        session_id: None,
        fault,
    })
}

pub(crate) fn cancelled(given: Given) -> AgentMessage {
    AgentMessage::TaskCancelled(TaskCancelled {
        task_id: given.task,
        attempt: Some(given.attempt),
        reason: Some("stopped on the machine".into()),
    })
}

/// What an ordinary task says while it runs, in order: its steps evenly among its output.
pub(crate) fn reports(steps: u64, chunks: u64) -> impl Iterator<Item = Report> {
    (0..chunks).flat_map(move |seq| {
        // The step that is due with this piece of output, if one is.
        let due = (seq * steps).div_ceil(chunks);
        let step = (due * chunks).div_ceil(steps.max(1)) == seq && due < steps;
        let step = step.then_some(Report::Step(due));
        step.into_iter().chain([Report::Chunk(seq)])
    })
}

/// A report of a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Step(u64),
    Chunk(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spread_evenly_among_the_output() {
        for (steps, chunks) in [(10, 100), (3, 6), (1, 1), (0, 4)] {
            let all: Vec<_> = reports(steps, chunks).collect();
            let is_step = |report: &&Report| matches!(report, Report::Step(_));
            let found = all.iter().filter(is_step).count();
            assert_eq!(found as u64, steps, "{all:?}");
            assert_eq!(all.len() as u64, steps + chunks);
            assert!(matches!(all[0], Report::Step(0)) || steps == 0);
        }
    }
}
