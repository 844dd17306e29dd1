//! What is to be sent, in which order, and when nothing may be.
//!
//! What is not known to have arrived when a connection ends is sent again over the next one, under
//! the same id; so is what the cloud could not handle, after a while.
//!
//! Before a connection is replaced, the outbox is held: a last heartbeat proves what was sent
//! before it, and the rest waits for the new connection. So nothing is lost with the old one, and
//! nothing is sent twice. Only the cloud's question whether the agent hears is answered all the
//! same.

use std::{collections::VecDeque, time::Duration};

use bematic_protocol::{
    ids::{MessageId, TaskId},
    messages::{AgentMessage, Envelope},
};
use tokio::time::Instant;

use super::{
    outgoing::Outgoing,
    sent::{Fate, KEPT_BYTES, Sent},
};
use crate::run_key::RunKey;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Goes before everything else: acknowledgements, heartbeats, status.
    urgent: VecDeque<Outgoing>,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    sent: Sent,
    gate: Gate,
}

/// What is due to be sent again and was not simply queued again.
#[derive(Debug)]
pub(super) struct Resent {
    /// Runs whose result is given up.
    pub(super) given_up: Vec<RunKey>,
    /// Words on the agent itself, to be said anew.
    pub(super) outdated: Vec<Outgoing>,
}

/// What may go out.
#[derive(Debug, Default)]
enum Gate {
    #[default]
    Open,
    /// One more heartbeat.
    Closing(Box<Outgoing>),
    /// Answers to the cloud's heartbeats.
    Closed,
}

impl Outbox {
    /// Queues a message that goes before all others but the urgent ones before it.
    pub(super) fn urgent(&mut self, message: Outgoing) {
        self.urgent.push_back(message);
    }

    /// Queues the first message of a connection.
    pub(super) fn first(&mut self, message: Outgoing) {
        self.urgent.push_front(message);
    }

    /// Queues a message.
    pub(super) fn push(&mut self, message: Outgoing) {
        self.queued_bytes += message.bytes();
        self.queue.push_back(message);
        while self.queued_bytes > KEPT_BYTES && self.drop_oldest_output() {}
    }

    /// Takes the next message to send.
    pub(super) fn next(
        &mut self,
        now: Instant,
        resend: Duration,
    ) -> Option<Envelope<AgentMessage>> {
        let message = self.pop()?;
        let envelope = message.envelope.clone();
        self.sent.add(message, now, resend);
        Some(envelope)
    }

    fn pop(&mut self) -> Option<Outgoing> {
        match std::mem::take(&mut self.gate) {
            Gate::Open => self.urgent.pop_front().or_else(|| self.pop_queue()),
            Gate::Closing(last) => {
                self.gate = Gate::Closed;
                Some(*last)
            }
            Gate::Closed => {
                self.gate = Gate::Closed;
                let pong = self.urgent.iter().position(Outgoing::is_pong)?;
                self.urgent.remove(pong)
            }
        }
    }

    fn pop_queue(&mut self) -> Option<Outgoing> {
        let message = self.queue.pop_front()?;
        self.queued_bytes -= message.bytes();
        Some(message)
    }

    /// Sends a last heartbeat, and nothing after it until [`Self::release`] but answers to the
    /// cloud's.
    pub(super) fn hold(&mut self, heartbeat: Outgoing) {
        self.gate = Gate::Closing(Box::new(heartbeat));
    }

    /// Whether all that was sent before the outbox was held is known to have arrived.
    pub(super) const fn is_proven(&self) -> bool {
        matches!(self.gate, Gate::Closed) && self.sent.is_proven()
    }

    /// Lets everything out again.
    pub(super) fn release(&mut self) {
        self.gate = Gate::Open;
    }

    /// The cloud answered a heartbeat: it has what was sent before.
    pub(super) fn heartbeat_answered(&mut self, now: Instant) {
        self.sent.heartbeat_answered(now);
    }

    /// The cloud has this result for good, and so all that was sent of the run before.
    pub(super) fn confirm(&mut self, id: &MessageId) {
        let is_it = |message: &&Outgoing| message.envelope.id == *id;
        let run = self.waiting().find(is_it).and_then(|message| message.run);
        self.forget(id);
        if let Some(run) = run {
            self.sent.confirmed(run);
        }
    }

    /// Forgets a message.
    pub(super) fn forget(&mut self, id: &MessageId) {
        self.drop_where(|message| message.envelope.id == *id);
    }

    /// Forgets a message that the cloud has no use for, unless that will be confirmed.
    pub(super) fn unwanted(&mut self, id: &MessageId) {
        self.drop_where(|message| message.envelope.id == *id && !message.is_terminal());
    }

    fn drop_where(&mut self, dropped: impl Fn(&Outgoing) -> bool) {
        self.urgent.retain(|message| !dropped(message));
        self.queue.retain(|message| !dropped(message));
        self.recount();
        self.sent.retain(|message| !dropped(message));
    }

    /// The cloud could not handle this message; see [`Sent::refused`].
    pub(super) fn refused(&mut self, id: &MessageId, now: Instant, first: Duration) -> Fate {
        self.sent.refused(id, now, first)
    }

    /// A message was not handled, and nobody knows which; see [`Sent::doubt`].
    pub(super) fn doubt(&mut self, now: Instant, first: Duration) {
        self.sent.doubt(now, first);
    }

    fn recount(&mut self) {
        self.queued_bytes = self.queue.iter().map(Outgoing::bytes).sum();
    }

    /// What was sent and may not have arrived is to be sent again; what was meant for the old
    /// connection only is forgotten.
    pub(super) fn disconnected(&mut self) {
        self.release();
        self.urgent.retain(Outgoing::is_answer);
        let lost = self.sent.disconnected();
        let (answers, others): (Vec<_>, Vec<_>) = lost.into_iter().partition(Outgoing::is_answer);
        for answer in answers.into_iter().rev() {
            self.urgent.push_front(answer);
        }
        for message in others.into_iter().rev() {
            self.queue.push_front(message);
        }
        self.recount();
        while self.queued_bytes > KEPT_BYTES && self.drop_oldest_output() {}
    }

    /// Queues again what has waited long enough.
    pub(super) fn resend(&mut self, now: Instant) -> Resent {
        let (due, given_up) = self.sent.due(now);
        let mut outdated = Vec::new();
        for message in due {
            match message.run {
                None => outdated.push(message),
                Some(_) if message.is_answer() => self.urgent(message),
                Some(_) => self.push(message),
            }
        }
        Resent { given_up, outdated }
    }

    /// When something has waited long enough to be sent again.
    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.sent.due_at()
    }

    /// Brings a task's results forward, if any wait to be confirmed.
    pub(super) fn resend_now(&mut self, task: TaskId, now: Instant) {
        self.sent.hurry(task, now);
    }

    /// What has not arrived, as far as is known.
    fn waiting(&self) -> impl Iterator<Item = &Outgoing> {
        self.sent.open().chain(&self.queue).chain(&self.urgent)
    }

    /// The runs that the agent may still be thought to hold: whose result is not confirmed, or
    /// whose refusal may not have arrived.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = RunKey> {
        self.waiting()
            .filter(|message| message.is_terminal() || message.is_refusal())
            .filter_map(|message| message.run)
    }

    /// The runs whose result is not confirmed.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = RunKey> {
        self.waiting()
            .filter(|message| message.is_terminal())
            .filter_map(|message| message.run)
    }

    /// Whether nothing is to be sent, now or again.
    pub(super) fn is_settled(&self) -> bool {
        self.is_empty() && self.sent.due_at().is_none()
    }

    /// Whether there is something that may be sent now.
    pub(super) fn has_next(&self) -> bool {
        match self.gate {
            Gate::Open => !self.is_empty(),
            Gate::Closing(_) => true,
            Gate::Closed => self.urgent.iter().any(Outgoing::is_pong),
        }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.queue.is_empty()
    }

    /// About how many bytes wait to be sent.
    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Replaces the oldest queued output by a note. Says whether there was any.
    fn drop_oldest_output(&mut self) -> bool {
        let Some(at) = self
            .queue
            .iter()
            .position(|m| m.output().is_some() && m.dropped == 0)
        else {
            return false;
        };
        let Some(mut message) = self.queue.remove(at) else {
            return false;
        };
        let bytes = message.output().map_or(0, str::len);
        let mut before = self.queue.iter_mut().take(at).rev();
        if let Some(note) = before.find(|m| m.dropped > 0 && m.run == message.run) {
            note.note_dropped(bytes);
        } else {
            message.note_dropped(bytes);
            self.queue.insert(at, message);
        }
        self.recount();
        true
    }
}
