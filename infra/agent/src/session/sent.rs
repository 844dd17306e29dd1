//! What was sent, and what of it has to be sent again.
//!
//! A result has arrived when MESSAGE_ACK confirms it, anything else when a heartbeat sent after it
//! was answered. But API Gateway runs messages concurrently: a heartbeat may be answered before an
//! earlier message fails. So what has arrived is kept for as long as its failure may be reported.

use std::{collections::VecDeque, time::Duration};

use bematic_protocol::{
    ids::{MessageId, TaskId},
    messages::AgentMessage,
};
use tokio::time::Instant;

use super::outgoing::{Arrival, Outgoing};
use crate::run_key::RunKey;

/// Bytes of output that are kept while there is no connection, or no proof; the newest are.
pub(super) const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Results that may wait to be confirmed: AGENT_STATUS has to name their tasks, and a list in a
/// message has at most 1000 entries.
const MAX_UNCONFIRMED: usize = 500;
/// How often a result is sent to a cloud that has never confirmed any: one that is older than
/// MESSAGE_ACK.
const MAX_SENDS: u32 = 8;
/// How often a report that is no result is sent again to a cloud that cannot handle it: for some
/// three minutes.
const MAX_REFUSALS: u32 = 8;
/// How long after a message its failure may be reported: API Gateway waits 29 s for a function.
const REFUSABLE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// In the order of sending.
    messages: VecDeque<Outgoing>,
    bytes: usize,
    heartbeats: u64,
    answered: u64,
    /// Whether the cloud is known to confirm results.
    confirms: bool,
}

/// What becomes of a message that the cloud could not handle; with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is sent again.
    Again(&'static str),
    /// It was sent often enough.
    GivenUp(&'static str),
    /// It is not known, or already on its way again.
    Unknown,
}

impl Sent {
    /// Takes note of what goes out.
    pub(super) fn add(&mut self, mut message: Outgoing, now: Instant, resend: Duration) {
        if matches!(message.envelope.message, AgentMessage::HeartbeatPing(_)) {
            self.heartbeats += 1;
            return;
        }
        if message.run.is_none() {
            self.retain(|earlier| !message.replaces(earlier));
        }
        message.goes_out(now, self.heartbeats, resend);
        self.bytes += message.bytes();
        self.messages.push_back(message);
        self.bound();
    }

    /// The cloud answered a heartbeat: it has what was sent before.
    pub(super) fn heartbeat_answered(&mut self, now: Instant) {
        self.answered = (self.answered + 1).min(self.heartbeats);
        let answered = self.answered;
        self.prove(|message| message.heartbeats < answered);
        self.retain(|message| {
            let refusable = message.sent_at.is_some_and(|at| now < at + REFUSABLE);
            message.arrival != Arrival::Proven || refusable
        });
    }

    /// Whether every heartbeat was answered.
    pub(super) const fn is_proven(&self) -> bool {
        self.answered == self.heartbeats
    }

    /// The cloud confirmed a result: it has what was sent of the run before.
    pub(super) fn confirmed(&mut self, run: RunKey) {
        self.confirms = true;
        self.prove(|message| message.run == Some(run));
    }

    /// Results are proven by their confirmation alone, and what was refused by nothing.
    fn prove(&mut self, arrived: impl Fn(&Outgoing) -> bool) {
        for message in &mut self.messages {
            if message.arrival == Arrival::Open && !message.is_terminal() && arrived(message) {
                message.arrival = Arrival::Proven;
            }
        }
    }

    /// The cloud could not handle this message: it is sent again after a while, `first` the first
    /// time. Results are sent for ever.
    pub(super) fn refused(&mut self, id: &MessageId, now: Instant, first: Duration) -> Fate {
        let Some(message) = self.messages.iter_mut().find(|m| m.envelope.id == *id) else {
            return Fate::Unknown;
        };
        let kind = (&message.envelope.message).into();
        if message.is_expendable() && message.refusals >= MAX_REFUSALS {
            self.retain(|message| message.envelope.id != *id);
            return Fate::GivenUp(kind);
        }
        message.refuse(now, first);
        Fate::Again(kind)
    }

    /// A message was not handled, and nobody knows which. All that may be the one is sent again,
    /// as is once what seems to have arrived: to repeat a message changes nothing.
    pub(super) fn doubt(&mut self, now: Instant, first: Duration) {
        for message in &mut self.messages {
            let in_vain = message.is_expendable() && message.refusals >= MAX_REFUSALS;
            let enough = message.arrival == Arrival::Proven && message.refusals > 0;
            if !in_vain && !enough {
                message.refuse(now, first);
            }
        }
    }

    /// Takes out what has waited long enough to be sent again, and the runs whose result is given
    /// up.
    pub(super) fn due(&mut self, now: Instant) -> (Vec<Outgoing>, Vec<RunKey>) {
        let results = self.messages.iter().filter(|m| m.is_terminal()).count();
        let mut surplus = results.saturating_sub(MAX_UNCONFIRMED);
        let due = |message: &Outgoing| message.resend_at.is_some_and(|at| at <= now);
        let (due, rest): (Vec<_>, Vec<_>) = self.messages.drain(..).partition(due);
        self.messages = rest.into();
        self.recount();
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        for message in due {
            let in_vain = !self.confirms && message.sends >= MAX_SENDS;
            if message.is_terminal() && (in_vain || surplus > 0) {
                surplus = surplus.saturating_sub(1);
                given_up.extend(message.run);
            } else {
                again.push(message);
            }
        }
        (again, given_up)
    }

    /// When the next message has waited long enough to be sent again, if one waits.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.messages.iter().filter_map(|m| m.resend_at).min()
    }

    /// Brings a task's results forward, if any wait to be confirmed.
    pub(super) fn hurry(&mut self, task: TaskId, now: Instant) {
        let of_task = |m: &&mut Outgoing| m.is_terminal() && m.run.is_some_and(|r| r.task == task);
        for message in self.messages.iter_mut().filter(of_task) {
            message.resend_at = Some(now);
        }
    }

    /// Takes out what may not have arrived before its connection ended, but for what was meant for
    /// that connection only.
    pub(super) fn disconnected(&mut self) -> Vec<Outgoing> {
        let proven = |message: &Outgoing| message.arrival == Arrival::Proven;
        let (kept, mut lost): (Vec<_>, Vec<_>) = self.messages.drain(..).partition(proven);
        self.messages = kept.into();
        self.retain(|message| message.run.is_some());
        lost.retain(|message| message.run.is_some());
        (self.heartbeats, self.answered) = (0, 0);
        lost
    }

    /// What may not have arrived.
    pub(super) fn open(&self) -> impl Iterator<Item = &Outgoing> {
        let open = |message: &&Outgoing| message.arrival != Arrival::Proven;
        self.messages.iter().filter(open)
    }

    /// Forgets all but what is to be kept.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Outgoing) -> bool) {
        self.messages.retain(keep);
        self.recount();
    }

    fn recount(&mut self) {
        self.bytes = self.messages.iter().map(Outgoing::bytes).sum();
    }

    /// What is kept is bounded: what has arrived goes first, then the oldest, which most likely has.
    fn bound(&mut self) {
        while self.bytes > KEPT_BYTES {
            let mut all = self.messages.iter();
            let proven = all.position(|message| message.arrival == Arrival::Proven);
            let oldest = || self.messages.iter().position(|m| !m.is_terminal());
            let Some(message) = proven
                .or_else(oldest)
                .and_then(|at| self.messages.remove(at))
            else {
                return;
            };
            self.bytes -= message.bytes();
        }
    }
}
