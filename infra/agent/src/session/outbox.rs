//! What is to be sent, and what was sent and may have to be sent again.
//!
//! A message is forgotten once the cloud is known to have it: a result when MESSAGE_ACK confirms
//! it, anything else of a task when a heartbeat sent after it was answered. What is not known to
//! have arrived when a connection ends is sent again over the next one, under the same id.
//!
//! Before a connection is replaced, the outbox is held: a last heartbeat proves what was sent
//! before it, and the rest waits for the new connection. So nothing is lost with the old one, and
//! nothing is sent twice.

use std::{collections::VecDeque, time::Duration};

use bematic::{
    ids::{MessageId, TaskId},
    protocol::{AgentMessage, Envelope},
};
use tokio::time::Instant;

use super::outgoing::Outgoing;
use crate::event::RunKey;

/// Bytes of output that are kept while there is no connection; the newest are.
pub(super) const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Results that may wait to be confirmed: AGENT_STATUS has to name their tasks, and a list in a
/// message has at most 1000 entries.
const MAX_UNCONFIRMED: usize = 500;
/// How often a result is sent to a cloud that has never confirmed any: one that is older than
/// MESSAGE_ACK.
const MAX_SENDS: u32 = 8;
/// The longest wait between two sends of a result.
const MAX_RESEND: Duration = Duration::from_mins(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Goes before everything else: acknowledgements, heartbeats, status.
    urgent: VecDeque<Outgoing>,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// In the order of sending.
    sent: VecDeque<Outgoing>,
    sent_bytes: usize,
    heartbeats_sent: u64,
    heartbeats_answered: u64,
    /// Whether the cloud is known to confirm results.
    confirms: bool,
    gate: Gate,
}

/// What may go out.
#[derive(Debug, Default)]
enum Gate {
    #[default]
    Open,
    /// One more heartbeat.
    Closing(Box<Outgoing>),
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
        let mut message = self.pop()?;
        let envelope = message.envelope.clone();
        if matches!(envelope.message, AgentMessage::HeartbeatPing(_)) {
            self.heartbeats_sent += 1;
        }
        if message.run.is_some() {
            message.heartbeats = self.heartbeats_sent;
            if message.is_terminal() {
                let wait = resend
                    .saturating_mul(1 << message.sends.min(16))
                    .min(MAX_RESEND);
                message.sends += 1;
                message.resend_at = Some(now + wait);
            }
            self.sent_bytes += message.bytes();
            self.sent.push_back(message);
            self.bound_sent();
        }
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
                None
            }
        }
    }

    fn pop_queue(&mut self) -> Option<Outgoing> {
        let message = self.queue.pop_front()?;
        self.queued_bytes -= message.bytes();
        Some(message)
    }

    /// Sends a last heartbeat, and nothing after it until [`Self::release`].
    pub(super) fn hold(&mut self, heartbeat: Outgoing) {
        self.gate = Gate::Closing(Box::new(heartbeat));
    }

    /// Whether all that was sent before the outbox was held is known to have arrived.
    pub(super) const fn is_proven(&self) -> bool {
        matches!(self.gate, Gate::Closed) && self.heartbeats_answered == self.heartbeats_sent
    }

    /// Lets everything out again.
    pub(super) fn release(&mut self) {
        self.gate = Gate::Open;
    }

    /// The cloud answered a heartbeat: it has what was sent before.
    pub(super) fn heartbeat_answered(&mut self) {
        self.heartbeats_answered = (self.heartbeats_answered + 1).min(self.heartbeats_sent);
        let answered = self.heartbeats_answered;
        self.retain_sent(|message| message.is_terminal() || message.heartbeats >= answered);
    }

    /// The cloud has this message for good, and so all that was sent of the task before.
    pub(super) fn confirm(&mut self, id: &MessageId) {
        self.confirms = true;
        self.settle(id);
    }

    /// Forgets a result. Says whether it was waited for.
    pub(super) fn settle(&mut self, id: &MessageId) -> bool {
        let is_it = |message: &Outgoing| message.is_terminal() && message.envelope.id == *id;
        let mut everywhere = self.sent.iter().chain(&self.queue);
        let Some(run) = everywhere.find(|m| is_it(m)).map(|m| m.run) else {
            return false;
        };
        self.queue.retain(|message| !is_it(message));
        self.recount();
        self.retain_sent(|message| message.run != run);
        true
    }

    fn retain_sent(&mut self, keep: impl FnMut(&Outgoing) -> bool) {
        self.sent.retain(keep);
        self.sent_bytes = self.sent.iter().map(Outgoing::bytes).sum();
    }

    fn recount(&mut self) {
        self.queued_bytes = self.queue.iter().map(Outgoing::bytes).sum();
    }

    /// What was sent and may not have arrived is to be sent again; what was meant for the old
    /// connection only is forgotten.
    pub(super) fn disconnected(&mut self) {
        self.release();
        self.urgent.retain(Outgoing::is_answer);
        let (answers, others): (Vec<_>, Vec<_>) =
            self.sent.drain(..).partition(Outgoing::is_answer);
        for answer in answers.into_iter().rev() {
            self.urgent.push_front(answer);
        }
        for message in others.into_iter().rev() {
            self.queue.push_front(message);
        }
        self.recount();
        self.sent_bytes = 0;
        self.heartbeats_sent = 0;
        self.heartbeats_answered = 0;
        while self.queued_bytes > KEPT_BYTES && self.drop_oldest_output() {}
    }

    /// Queues again the results that have waited long enough. Returns those that are given up.
    pub(super) fn resend(&mut self, now: Instant) -> Vec<RunKey> {
        let due = |message: &Outgoing| message.resend_at.is_some_and(|at| at <= now);
        let (due, rest): (Vec<_>, Vec<_>) = self.sent.drain(..).partition(due);
        self.sent = rest.into();
        self.sent_bytes = self.sent.iter().map(Outgoing::bytes).sum();
        let waiting = self.sent.iter().filter(|m| m.is_terminal()).count() + due.len();
        let mut surplus = waiting.saturating_sub(MAX_UNCONFIRMED);
        let mut given_up = Vec::new();
        for message in due {
            let in_vain = !self.confirms && message.sends >= MAX_SENDS;
            if in_vain || surplus > 0 {
                surplus = surplus.saturating_sub(1);
                given_up.extend(message.run);
            } else {
                self.push(message);
            }
        }
        given_up
    }

    /// When the next result has waited long enough.
    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.sent
            .iter()
            .filter_map(|message| message.resend_at)
            .min()
    }

    /// Brings a task's results forward, if any wait to be confirmed.
    pub(super) fn resend_now(&mut self, task: TaskId, now: Instant) {
        let of_task = |m: &&mut Outgoing| m.is_terminal() && m.run.is_some_and(|r| r.task == task);
        for message in self.sent.iter_mut().filter(of_task) {
            message.resend_at = Some(now);
        }
    }

    /// The runs that the agent may still be thought to hold: whose result is not confirmed, or
    /// whose refusal may not have arrived.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = RunKey> {
        let all = self.sent.iter().chain(&self.queue).chain(&self.urgent);
        all.filter(|message| message.is_terminal() || message.is_refusal())
            .filter_map(|message| message.run)
    }

    /// The runs whose result is not confirmed.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = RunKey> {
        let all = self.sent.iter().chain(&self.queue);
        all.filter(|message| message.is_terminal())
            .filter_map(|message| message.run)
    }

    /// Whether there is something that may be sent now.
    pub(super) fn has_next(&self) -> bool {
        match self.gate {
            Gate::Open => !self.is_empty(),
            Gate::Closing(_) => true,
            Gate::Closed => false,
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

    /// What is sent and unproven is bounded too: the oldest of it has most likely arrived.
    fn bound_sent(&mut self) {
        while self.sent_bytes > KEPT_BYTES {
            let Some(at) = self.sent.iter().position(|m| !m.is_terminal()) else {
                return;
            };
            if let Some(message) = self.sent.remove(at) {
                self.sent_bytes -= message.bytes();
            }
        }
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
