//! Stopping: take nothing new, hand back what has not started, let the rest finish for a while,
//! then end it; wait for the cloud's confirmations, say goodbye.

use std::time::Duration;

use bematic_protocol::messages::Availability;
use tokio::time::Instant;

use super::{
    phase::{Phase, StopReason},
    state::Session,
};
use crate::{
    event::{Effect, Ending},
    ui::Notice,
};

/// The most that a command gets between asking and forcing when the agent ends at once.
const SHORT_GRACE: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn on_stop(&mut self, reason: &StopReason, now: Instant) {
        let by_signal = matches!(reason, StopReason::Signal(_));
        match self.phase {
            Phase::Working => self.drain(reason, now),
            Phase::Draining { ending, .. } if by_signal => self.force(ending),
            Phase::Forced { ending }
            | Phase::Settling { ending, .. }
            | Phase::Leaving { ending, .. }
                if by_signal =>
            {
                self.exit(ending);
            }
            // The cloud repeats itself.
            _ => {}
        }
    }

    fn drain(&mut self, reason: &StopReason, now: Instant) {
        let (ending, words) = match reason {
            StopReason::Signal(name) => (Ending::Stopped, (*name).to_owned()),
            StopReason::CloudShutdown(why) => {
                (Ending::Stopped, format!("the cloud asks to stop ({why})"))
            }
            StopReason::CloudRestart(why) => (
                Ending::Restart,
                format!("the cloud asks to restart ({why})"),
            ),
        };
        let timeout = self.settings.timings.drain;
        let until = now + timeout;
        self.phase = Phase::Draining { ending, until };
        self.hand_back();
        self.tell(Notice::Draining {
            reason: words,
            running: self.tasks.running(),
            timeout,
        });
        if self.link.is_up() {
            self.send_urgently(self.status(Availability::Draining), None);
        }
    }

    fn force(&mut self, ending: Ending) {
        self.phase = Phase::Forced { ending };
        self.stop_all(self.settings.timings.grace.min(SHORT_GRACE));
    }

    /// Goes on to the next phase, as far as that is due.
    pub(super) fn advance(&mut self, now: Instant) {
        let idle = self.tasks.running() == 0;
        let settled = self.outbox.is_settled();
        match self.phase {
            Phase::Draining { ending, until } if idle => {
                // Without a connection, the drain time is there to get one.
                let until = until.max(now + self.settings.timings.settle);
                self.settle(ending, until, now);
            }
            Phase::Draining { ending, until } if until <= now => self.force(ending),
            Phase::Forced { ending } if idle => {
                self.settle(ending, now + self.settings.timings.settle, now);
            }
            Phase::Settling { ending, until } if settled || until <= now => self.leave(ending, now),
            Phase::Leaving { ending, until }
                if until <= now || self.outbox.is_empty() || !self.link.is_up() =>
            {
                self.exit(ending);
            }
            _ => {}
        }
    }

    fn settle(&mut self, ending: Ending, until: Instant, now: Instant) {
        self.phase = Phase::Settling { ending, until };
        self.advance(now);
    }

    fn leave(&mut self, ending: Ending, now: Instant) {
        let lost = self.outbox.unconfirmed().count();
        if lost > 0 {
            self.warn(format!("{lost} results were not confirmed by the cloud; it will show those tasks as lost unless they have arrived"));
        }
        let until = now + self.settings.timings.settle;
        self.phase = Phase::Leaving { ending, until };
        if self.link.is_up() {
            self.send(self.status(Availability::Offline), None);
        }
        self.advance(now);
    }

    fn exit(&mut self, ending: Ending) {
        self.phase = Phase::Gone;
        self.effects.push_back(Effect::Exit(ending));
    }
}
