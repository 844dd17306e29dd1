//! Stopping the agent: it takes no new tasks, hands back those that have not started, lets the
//! others finish for a while, and then ends them; it waits for the cloud's confirmations, and
//! reports that it goes offline.

use std::time::Duration;

use bematic_protocol::messages::Availability;
use tokio::time::Instant;

use super::state::{Phase, Session, StopReason};
use crate::{
    event::{Effect, Exit},
    ui::Notice,
};

/// The longest time between asking a command to end and forcing it when the agent stops at once.
const SHORT_GRACE: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn on_stop(&mut self, reason: &StopReason, now: Instant) {
        let by_signal = matches!(reason, StopReason::Signal(_));
        match self.phase {
            Phase::Working => self.begin_to_stop(reason, now),
            Phase::Draining(exit, _) if by_signal => self.force(exit),
            Phase::Forced(exit) | Phase::Settling(exit, _) | Phase::Leaving(exit, _)
                if by_signal =>
            {
                self.exit(exit);
            }
            // The cloud repeats itself.
            _ => {}
        }
    }

    fn begin_to_stop(&mut self, reason: &StopReason, now: Instant) {
        let (exit, reason) = match reason {
            StopReason::Signal(name) => (Exit::Stopped, (*name).to_owned()),
            StopReason::CloudShutdown(why) => {
                (Exit::Stopped, format!("the cloud asks to stop ({why})"))
            }
            StopReason::CloudRestart(why) => {
                (Exit::Restart, format!("the cloud asks to restart ({why})"))
            }
        };
        let timeout = self.config.timings.drain;
        self.phase = Phase::Draining(exit, now + timeout);
        self.hand_back();
        self.show(Notice::Draining {
            reason,
            running: self.tasks.running.len(),
            timeout,
        });
        if self.link.is_some() {
            self.send(self.status(Availability::Draining));
        }
    }

    fn force(&mut self, exit: Exit) {
        self.phase = Phase::Forced(exit);
        self.stop_all(self.config.timings.grace.min(SHORT_GRACE));
    }

    /// Goes on to the next phase, as far as that is due.
    pub(super) fn advance(&mut self, now: Instant) {
        let idle = self.tasks.running.is_empty();
        let settled = now + self.config.timings.settle;
        match self.phase {
            // Without a connection, the drain time is there to get one.
            Phase::Draining(exit, until) if idle => self.settle(exit, until.max(settled), now),
            Phase::Draining(exit, until) if until <= now => self.force(exit),
            Phase::Forced(exit) if idle => self.settle(exit, settled, now),
            Phase::Settling(exit, until) if self.outbox.is_settled() || until <= now => {
                self.leave(exit, now);
            }
            Phase::Leaving(exit, until)
                if until <= now || self.outbox.is_empty() || self.link.is_none() =>
            {
                self.exit(exit);
            }
            _ => {}
        }
    }

    fn settle(&mut self, exit: Exit, until: Instant, now: Instant) {
        self.phase = Phase::Settling(exit, until);
        self.advance(now);
    }

    fn leave(&mut self, exit: Exit, now: Instant) {
        let lost = self.outbox.unconfirmed();
        if lost > 0 {
            self.warn(format!("{lost} results were not confirmed by the cloud; it will show those tasks as lost unless they have arrived"));
        }
        self.phase = Phase::Leaving(exit, now + self.config.timings.settle);
        if self.link.is_some() {
            self.send(self.status(Availability::Offline));
        }
        self.advance(now);
    }

    fn exit(&mut self, exit: Exit) {
        self.phase = Phase::Gone;
        self.effects.push(Effect::Exit(exit));
    }
}
