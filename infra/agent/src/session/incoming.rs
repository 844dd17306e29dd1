//! What comes over the connection; keeping it alive, and having it replaced in time.

use std::time::Duration;

use bematic_protocol::messages::{CloudMessage, Heartbeat};
use tokio::time::Instant;

use super::{
    link::{Link, Renewal},
    phase::StopReason,
    state::Session,
};
use crate::{
    event::{Effect, Ending, LinkEvent},
    ui::Notice,
};

impl Session {
    pub(super) fn on_link(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Connecting => self.tell(Notice::Connecting),
            LinkEvent::Up { renew_in } => self.on_up(now, renew_in),
            LinkEvent::NotRenewed { reason, retry_in } => {
                self.on_not_renewed(&reason, now + retry_in);
            }
            LinkEvent::Down { reason, retry_in } => {
                self.on_down();
                self.tell(Notice::Disconnected { reason, retry_in });
            }
            LinkEvent::Refused(message) => self.on_refused(message),
            LinkEvent::Unreadable(problem) => {
                self.heard(now);
                self.warn(format!("the cloud sent what this agent does not understand: {problem}; update the agent if this goes on"));
            }
            LinkEvent::GatewayError(problem) => {
                self.heard(now);
                self.on_gateway_error(&problem, now);
            }
            LinkEvent::Message(envelope) => {
                self.heard(now);
                self.on_message(envelope.message, now);
            }
        }
    }

    fn on_up(&mut self, now: Instant, renew_in: Duration) {
        let notice = if self.link.is_up() {
            self.outbox.disconnected();
            Notice::Renewed
        } else {
            Notice::Connected
        };
        self.link = Link::Up {
            heard: now,
            beat: now + self.settings.timings.heartbeat,
            renewal: Renewal::Due(now + renew_in),
        };
        // First of all: the cloud hands out tasks, and takes those not named for lost, when it comes.
        let status = self.outgoing(self.status(self.availability()), None);
        self.outbox.first(status);
        self.tell(notice);
    }

    fn on_not_renewed(&mut self, reason: &str, again: Instant) {
        if let Link::Up { renewal, .. } = &mut self.link {
            *renewal = Renewal::Due(again);
            self.outbox.release();
            self.warn(format!(
                "the connection could not be renewed ({reason}); it goes on until another attempt succeeds"
            ));
        }
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
            CloudMessage::HeartbeatPong(_) => self.outbox.heartbeat_answered(now),
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

    fn pong(&mut self, ping: &Heartbeat) {
        let asked = ping.server_time.unwrap_or_else(|| self.clock.now());
        let report = self.report(asked);
        self.send_urgently(report, None);
    }

    pub(super) fn on_link_time(&mut self, now: Instant) {
        let Link::Up {
            heard,
            beat,
            renewal,
        } = self.link
        else {
            return;
        };
        if heard + self.settings.timings.silence <= now {
            self.warn("the connection is silent; making a new one".to_owned());
            self.on_down();
            self.effects.push_back(Effect::Reconnect);
            return;
        }
        let mut due = beat;
        if beat <= now {
            self.send_urgently(self.heartbeat(), None);
            due = now + self.settings.timings.heartbeat;
        }
        self.link = Link::Up {
            heard,
            beat: due,
            renewal: self.renew(renewal, now),
        };
    }

    /// Goes on with the connection's replacement, as far as that is due.
    fn renew(&mut self, renewal: Renewal, now: Instant) -> Renewal {
        match renewal {
            Renewal::Due(at) if at <= now => {
                let heartbeat = self.outgoing(self.heartbeat(), None);
                self.outbox.hold(heartbeat);
                Renewal::Proving(now + self.settings.timings.settle)
            }
            Renewal::Proving(until) if until <= now || self.outbox.is_proven() => {
                self.effects.push_back(Effect::Renew);
                Renewal::Opening
            }
            renewal => renewal,
        }
    }
}
