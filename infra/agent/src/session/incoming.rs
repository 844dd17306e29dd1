//! The connection and the messages that arrive over it; the connection's heartbeats and its
//! replacement in time; errors that the cloud reports.

use std::time::Duration;

use bematic_protocol::{
    ids::MessageId,
    messages::{AgentMessage, CloudMessage, SystemError},
};
use tokio::time::Instant;

use super::state::{Link, Renewal, Session, StopReason};
use crate::{
    event::{Effect, Exit, LinkEvent},
    ui::Notice,
};

impl Session {
    pub(super) fn on_link(&mut self, event: LinkEvent, now: Instant) {
        if let LinkEvent::Message(_) | LinkEvent::GatewayError(_) | LinkEvent::Unreadable(_) = event
            && let Some(link) = &mut self.link
        {
            link.last_message = now;
        }
        match event {
            LinkEvent::Connecting => self.show(Notice::Connecting),
            LinkEvent::Up { renew_in } => self.on_up(now, renew_in),
            LinkEvent::NotRenewed { reason, retry_in } => {
                if let Some(link) = &mut self.link {
                    link.renewal = Renewal::Due(now + retry_in);
                    self.outbox.release();
                    self.warn(format!("the connection could not be renewed ({reason}); it goes on until another attempt succeeds"));
                }
            }
            LinkEvent::Down { reason, retry_in } => {
                self.on_down();
                self.show(Notice::Disconnected { reason, retry_in });
            }
            LinkEvent::Refused(message) => self.on_refused(message),
            LinkEvent::Unreadable(problem) => {
                self.warn(format!("the cloud sent what this agent does not understand: {problem}; update the agent if this goes on"));
            }
            LinkEvent::GatewayError(problem) => {
                self.outbox.refuse_any(now, self.config.timings.retry);
                self.warn(format!("the gateway could not have a message handled ({problem}); what was sent lately is sent again"));
            }
            LinkEvent::Message(envelope) => self.on_message(envelope.message, now),
        }
    }

    fn on_up(&mut self, now: Instant, renew_in: Duration) {
        let notice = if self.link.is_some() {
            self.outbox.requeue_lost();
            Notice::Renewed
        } else {
            Notice::Connected
        };
        self.link = Some(Link {
            last_message: now,
            beat: now + self.config.timings.heartbeat,
            renewal: Renewal::Due(now + renew_in),
        });
        // The status goes first: when it comes, the cloud sends tasks, and counts those that it
        // does not name as lost.
        let status = self.seal(self.status(self.phase.availability()));
        self.outbox.push_first(status);
        self.show(notice);
    }

    fn on_down(&mut self) {
        if self.link.take().is_some() {
            self.outbox.requeue_lost();
        }
    }

    fn on_refused(&mut self, message: String) {
        self.on_down();
        self.show(Notice::Error { message });
        self.effects.push(Effect::Exit(Exit::Refused));
    }

    fn on_message(&mut self, message: CloudMessage, now: Instant) {
        match message {
            CloudMessage::HeartbeatPing(ping) => {
                let asked = ping.server_time.unwrap_or_else(|| self.clock.now());
                let answer = self.pong(asked);
                self.send(answer);
            }
            CloudMessage::HeartbeatPong(_) => self.outbox.confirm_heartbeat(now),
            CloudMessage::TaskSubmit(submit) => self.on_submit(submit),
            CloudMessage::TaskCancel(cancel) => self.on_cancel(&cancel, now),
            CloudMessage::MessageAck(ack) => self.outbox.confirm(&ack.message_id),
            CloudMessage::SystemError(error) => self.on_system_error(error, now),
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

    /// Replaces a silent connection, sends a heartbeat and goes on with the connection's
    /// replacement, as far as that is due.
    pub(super) fn on_link_time(&mut self, now: Instant) {
        let Some(mut link) = self.link else {
            return;
        };
        if link.last_message + self.config.timings.silence <= now {
            self.warn("the connection is silent; making a new one".to_owned());
            self.on_down();
            self.effects.push(Effect::Reconnect);
            return;
        }
        if link.beat <= now {
            self.send(self.ping());
            link.beat = now + self.config.timings.heartbeat;
        }
        match link.renewal {
            Renewal::Due(at) if at <= now => {
                let heartbeat = self.seal(self.ping());
                self.outbox.hold(heartbeat);
                link.renewal = Renewal::Proving(now + self.config.timings.settle);
            }
            Renewal::Proving(until) if until <= now || self.outbox.is_proven() => {
                self.effects.push(Effect::Renew);
                link.renewal = Renewal::Opening;
            }
            _ => {}
        }
        self.link = Some(link);
    }

    fn on_system_error(&mut self, error: SystemError, now: Instant) {
        let SystemError {
            code,
            message,
            message_id,
        } = error;
        let refused = message_id.and_then(|id| self.refuse_message(&id, &code, now));
        self.show(match refused {
            Some((kind, true)) => Notice::Warning {
                message: format!("the cloud could not handle {kind} ({code}: {message}); it is sent again"),
            },
            Some((kind, false)) => Notice::Error {
                message: format!("the cloud could not handle {kind} ({code}: {message}); it was sent often enough and is given up"),
            },
            None => Notice::Error {
                message: format!("the cloud reports {code}: {message}"),
            },
        });
    }

    /// Decides by the error's code about the message that it names. Returns the message's type and
    /// whether it is sent again, if the cloud may handle it later.
    fn refuse_message(
        &mut self,
        id: &MessageId,
        code: &str,
        now: Instant,
    ) -> Option<(&'static str, bool)> {
        match code {
            // The message would be refused again, for its form.
            "UNKNOWN_MESSAGE_TYPE" | "MESSAGE_TOO_LARGE" => self.outbox.forget(id),
            _ if code.starts_with("INVALID_") => self.outbox.forget(id),
            // The task is not the agent's; terminal messages are confirmed all the same.
            "UNKNOWN_TASK" | "NOT_YOUR_TASK" | "TASK_NOT_HELD" | "AGENT_MISMATCH" => {
                self.outbox.forget_unwanted(id);
            }
            // Everything else, so that nothing is lost to a code that is newer than this agent.
            _ => return self.outbox.refuse(id, now, self.config.timings.retry),
        }
        None
    }

    /// Queues again the messages that have waited long enough.
    pub(super) fn resend_due(&mut self, now: Instant) {
        let (mut due, given_up) = self.outbox.take_due(now);
        for run in given_up {
            self.warn(format!(
                "the cloud never confirmed the result of {run}; it is not sent again"
            ));
        }
        due.sort_by_key(|outgoing| outgoing.run().is_none());
        for mut outgoing in due {
            // A message about the agent itself is replaced by one about its present state.
            let renewed = match &outgoing.envelope.message {
                AgentMessage::AgentStatus(_) => Some(self.status(self.phase.availability())),
                AgentMessage::HeartbeatPong(pong) => Some(self.pong(pong.server_time)),
                _ => None,
            };
            if let Some(message) = renewed {
                let refusals = outgoing.refusals;
                outgoing = self.seal(message);
                outgoing.refusals = refusals;
            }
            self.outbox.push(outgoing);
        }
    }
}
