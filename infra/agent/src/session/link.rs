//! The connection, as the session sees it: what comes over it, and whether it is alive.

use bematic::protocol::{
    AgentMessage, AgentStatus, Availability, CloudMessage, Heartbeat, HeartbeatReport, SystemError,
    limits,
};
use tokio::time::Instant;

use super::{Session, StopReason};
use crate::{
    event::{Effect, Ending, LinkEvent},
    ui::Notice,
};

/// The software version that AGENT_STATUS names.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Down,
    Up { heard: Instant, beat: Instant },
}

impl Link {
    pub(super) const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// When the next heartbeat is due, or the connection counts as dead.
    pub(super) fn deadline(&self, silence: std::time::Duration) -> Option<Instant> {
        match self {
            Self::Down => None,
            Self::Up { heard, beat } => Some((*heard + silence).min(*beat)),
        }
    }
}

impl Session {
    pub(super) fn on_link(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Connecting => self.tell(Notice::Connecting),
            LinkEvent::Up => self.on_up(now),
            LinkEvent::Down { reason, retry_in } => {
                self.on_down();
                self.tell(Notice::Disconnected { reason, retry_in });
            }
            LinkEvent::Refused(message) => self.on_refused(message),
            LinkEvent::Unreadable(problem) => {
                self.heard(now);
                self.warn(format!("the cloud sent what this agent does not understand: {problem}; update the agent if this goes on"));
            }
            LinkEvent::Message(envelope) => {
                self.heard(now);
                self.on_message(envelope.message, now);
            }
        }
    }

    fn on_up(&mut self, now: Instant) {
        let beat = now + self.settings.timings.heartbeat;
        self.link = Link::Up { heard: now, beat };
        // First of all: the cloud hands out tasks, and takes those not named for lost, when it comes.
        let status = self.outgoing(self.status(self.availability()), None);
        self.outbox.first(status);
        self.tell(Notice::Connected);
    }

    fn on_down(&mut self) {
        if self.link.is_up() {
            self.link = Link::Down;
            self.outbox.disconnected();
        }
    }

    fn on_refused(&mut self, message: String) {
        self.on_down();
        self.tell(Notice::Error { message });
        self.effects.push_back(Effect::Exit(Ending::Refused));
    }

    fn heard(&mut self, now: Instant) {
        if let Link::Up { heard, .. } = &mut self.link {
            *heard = now;
        }
    }

    fn on_message(&mut self, message: CloudMessage, now: Instant) {
        match message {
            CloudMessage::HeartbeatPing(ping) => self.pong(&ping),
            CloudMessage::HeartbeatPong(_) => self.outbox.heartbeat_answered(),
            CloudMessage::TaskSubmit(submit) => self.on_submit(submit),
            CloudMessage::TaskCancel(cancel) => self.on_cancel(&cancel, now),
            CloudMessage::MessageAck(ack) => self.outbox.confirm(&ack.message_id),
            CloudMessage::SystemError(error) => self.on_system_error(error),
            CloudMessage::SystemShutdown(notice) => {
                self.on_stop(&StopReason::CloudShutdown(notice.reason), now);
            }
            CloudMessage::SystemRestart(notice) => {
                self.on_stop(&StopReason::CloudRestart(notice.reason), now);
            }
            CloudMessage::AuthResponse(response) if !response.success => {
                let why = response
                    .error
                    .unwrap_or_else(|| "no reason given".to_owned());
                self.on_refused(format!(
                    "the cloud does not accept this agent ({why}); check its id and key"
                ));
            }
            CloudMessage::AuthResponse(_) => {}
        }
    }

    fn on_system_error(&mut self, error: SystemError) {
        // What was refused for its form would be refused again.
        let hopeless = error.code.starts_with("INVALID_")
            || ["UNKNOWN_MESSAGE_TYPE", "MESSAGE_TOO_LARGE"].contains(&error.code.as_str());
        if let Some(id) = error.message_id.filter(|_| hopeless) {
            self.outbox.settle(&id);
        }
        let message = format!("the cloud reports {}: {}", error.code, error.message);
        self.tell(Notice::Error { message });
    }

    fn pong(&mut self, ping: &Heartbeat) {
        let load = self.machine.load();
        let report = HeartbeatReport {
            agent_id: self.settings.agent_id.clone(),
            server_time: ping.server_time.unwrap_or_else(|| self.clock.now()),
            active_tasks: self.tasks.active().count() as u64,
            cpu_usage: load.cpu,
            memory_usage: load.memory,
        };
        self.send_urgently(AgentMessage::HeartbeatPong(report), None);
    }

    pub(super) fn on_link_time(&mut self, now: Instant) {
        let Link::Up { heard, beat } = self.link else {
            return;
        };
        if heard + self.settings.timings.silence <= now {
            self.warn("the connection is silent; making a new one".to_owned());
            self.on_down();
            self.effects.push_back(Effect::Reconnect);
        } else if beat <= now {
            let beat = now + self.settings.timings.heartbeat;
            self.link = Link::Up { heard, beat };
            self.send_urgently(AgentMessage::HeartbeatPing(Heartbeat::default()), None);
        }
    }

    /// AGENT_STATUS, naming every task that this agent still answers for.
    pub(super) fn status(&self, status: Availability) -> AgentMessage {
        let mut active_tasks: Vec<_> = self
            .tasks
            .active()
            .chain(self.outbox.unconfirmed())
            .map(|run| run.task)
            .collect();
        active_tasks.sort_unstable();
        active_tasks.dedup();
        active_tasks.truncate(limits::LIST);
        AgentMessage::AgentStatus(AgentStatus {
            agent_id: self.settings.agent_id.clone(),
            status,
            active_tasks,
            capacity: self.settings.concurrency,
            version: Some(VERSION.to_owned()),
            resource_status: None,
        })
    }
}
