//! What the agent says of itself: its status and its heartbeats.

use bematic_protocol::{
    ids::TaskId,
    messages::{AgentMessage, AgentStatus, Availability, HeartbeatReport, HeartbeatSignal, limits},
    time::Timestamp,
};

use super::{phase::Phase, state::Session};

/// The software version that AGENT_STATUS names.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Session {
    pub(super) fn availability(&self) -> Availability {
        match self.phase {
            Phase::Working => Availability::Online,
            Phase::Draining { .. } | Phase::Forced { .. } | Phase::Settling { .. } => {
                Availability::Draining
            }
            Phase::Leaving { .. } | Phase::Gone => Availability::Offline,
        }
    }

    /// HEARTBEAT_PONG, to a ping of that time.
    pub(super) fn report(&mut self, asked: Timestamp) -> AgentMessage {
        let load = self.machine.load();
        AgentMessage::HeartbeatPong(HeartbeatReport {
            agent_id: self.settings.agent_id.clone(),
            server_time: asked,
            active_tasks: self.tasks.active().count() as u64,
            cpu_usage: load.cpu,
            memory_usage: load.memory,
            tasks: Some(self.held()),
        })
    }

    /// HEARTBEAT_PING
    pub(super) fn heartbeat(&self) -> AgentMessage {
        AgentMessage::HeartbeatPing(HeartbeatSignal {
            server_time: None,
            tasks: Some(self.held()),
        })
    }

    /// Every task that this agent still answers for.
    fn held(&self) -> Vec<TaskId> {
        let runs = self.tasks.active().chain(self.outbox.in_doubt());
        let mut tasks: Vec<_> = runs.map(|run| run.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks.truncate(limits::LIST);
        tasks
    }

    /// AGENT_STATUS
    pub(super) fn status(&self, status: Availability) -> AgentMessage {
        AgentMessage::AgentStatus(AgentStatus {
            agent_id: self.settings.agent_id.clone(),
            status,
            active_tasks: self.held(),
            capacity: self.settings.concurrency,
            version: Some(VERSION.to_owned()),
            resource_status: None,
        })
    }
}
