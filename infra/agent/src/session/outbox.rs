//! The messages to the cloud: those that wait to be sent, and those that may have to be sent again.
//!
//! A terminal message has arrived when MESSAGE_ACK confirms it, any other message when a heartbeat
//! sent after it was answered. But API Gateway handles messages concurrently: a heartbeat may be
//! answered before an earlier message fails. So a message that has arrived is kept for as long as
//! its failure may be reported. A message that is not known to have arrived when its connection
//! ends is sent again over the next one, under the same id; so is a message that the cloud could
//! not handle, after a while.
//!
//! Before a connection is replaced, the outbox is held: a last heartbeat proves that the messages
//! before it have arrived, and the rest waits for the new connection. So nothing is lost with the
//! old connection, and nothing is sent twice. Only heartbeats, and answers to the cloud's, go out
//! all the same.

use std::{
    collections::VecDeque,
    mem::{discriminant, take},
    time::Duration,
};

use bematic_protocol::{
    ids::{MessageId, TaskId},
    messages::{AgentMessage, AgentMessage as M, Availability, Envelope},
};
use tokio::time::Instant;

use crate::{backoff::exponential_delay, run::RunKey};

/// Bytes of messages that are kept without a connection or without proof; the newest are kept.
pub(super) const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Terminal messages that may wait to be confirmed: AGENT_STATUS has to name their tasks, and a
/// list in a message has at most 1000 entries.
const MAX_UNCONFIRMED_TERMINAL_MESSAGES: usize = 500;
/// Sends of a terminal message to a cloud that has never confirmed any: one older than MESSAGE_ACK.
const MAX_LEGACY_CLOUD_SENDS: u32 = 8;
/// Repetitions of a task's other message that the cloud cannot handle: for some three minutes.
const MAX_RETRIES: u32 = 8;
/// Time in which a message's failure may be reported: API Gateway waits 29 s for a function.
const FAILURE_REPORT_WINDOW: Duration = Duration::from_secs(30);
/// The longest wait between two sends of a terminal message.
const MAX_RESEND_DELAY: Duration = Duration::from_mins(10);
/// The longest wait until a message that the cloud could not handle is sent again.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// Whether a message that was sent has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrivalState {
    Unknown,
    /// The message has arrived, unless its failure is still to be reported.
    Proven,
    /// The cloud could not handle the message, as far as is known: it waits to be sent again.
    Refused,
}

/// A message with the state of its sending.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) envelope: Envelope<AgentMessage>,
    /// The number of heartbeats that had been sent over the connection before the message.
    heartbeats: u64,
    arrival: ArrivalState,
    sent_at: Option<Instant>,
    /// The number of times that the message was sent and not refused.
    sends: u32,
    retries: u32,
    resend_at: Option<Instant>,
    /// Bytes of dropped output that the message notes instead of containing output.
    dropped: usize,
}

impl From<Envelope<AgentMessage>> for Outgoing {
    fn from(envelope: Envelope<AgentMessage>) -> Self {
        Self {
            envelope,
            heartbeats: 0,
            arrival: ArrivalState::Unknown,
            sent_at: None,
            sends: 0,
            retries: 0,
            resend_at: None,
            dropped: 0,
        }
    }
}

impl Outgoing {
    /// The run that the message is about, if it is not about the agent itself.
    pub(super) const fn run_key(&self) -> Option<RunKey> {
        let (task, attempt) = match &self.envelope.message {
            M::TaskAck(message) => (message.task_id, message.attempt),
            M::TaskProgress(message) => (message.task_id, message.attempt),
            M::TaskStream(message) => (message.task_id, message.attempt),
            M::TaskComplete(message) => (message.task_id, message.attempt),
            M::TaskError(message) => (message.task_id, message.attempt),
            M::TaskCancelled(message) => (message.task_id, message.attempt),
            _ => return None,
        };
        Some(RunKey { task, attempt })
    }

    /// Whether the message goes before progress reports, terminal messages and the last status.
    fn is_urgent(&self) -> bool {
        match &self.envelope.message {
            M::AgentStatus(status) => status.status != Availability::Offline,
            M::HeartbeatPing(_) => true,
            _ => self.is_answer(),
        }
    }

    /// Whether the message is an answer that the cloud waits for, over whichever connection.
    const fn is_answer(&self) -> bool {
        matches!(self.envelope.message, M::TaskAck(_) | M::HeartbeatPong(_))
    }

    /// Whether the message ends an attempt. It must not be lost.
    const fn is_terminal(&self) -> bool {
        matches!(
            self.envelope.message,
            M::TaskComplete(_) | M::TaskError(_) | M::TaskCancelled(_)
        )
    }

    /// Whether the cloud was unable to handle the message so often that it may be given up.
    const fn has_exhausted_retries(&self) -> bool {
        self.run_key().is_some() && !self.is_terminal() && self.retries >= MAX_RETRIES
    }

    /// The approximate size in bytes; the rest of a message is small.
    fn bytes(&self) -> usize {
        const REST: usize = 256;
        REST + match &self.envelope.message {
            M::TaskStream(stream) => stream.delta.len(),
            M::TaskProgress(progress) => progress.steps.iter().flatten().map(String::len).sum(),
            _ => 0,
        }
    }

    /// Schedules a repetition, after `first` the first time, then ever later. Several failures at
    /// once count as one.
    fn retry_later(&mut self, now: Instant, first: Duration) {
        if self.arrival != ArrivalState::Refused {
            self.arrival = ArrivalState::Refused;
            self.resend_at = Some(now + exponential_delay(first, self.retries, MAX_RETRY_DELAY));
            self.retries += 1;
            self.sends = self.sends.saturating_sub(1);
        }
    }

    /// Whether the message may be dropped when too much waits.
    const fn may_be_dropped(&self) -> bool {
        let message = &self.envelope.message;
        self.dropped == 0 && matches!(message, M::TaskStream(_) | M::TaskProgress(_))
    }

    /// Makes the message a note that output is missing in its place, or adds to that note.
    fn note_dropped(&mut self, bytes: usize) {
        self.dropped += bytes;
        if let M::TaskStream(stream) = &mut self.envelope.message {
            stream.delta = format!(
                "\n[… {} bytes of output were dropped while the agent was not connected …]\n",
                self.dropped
            );
        }
    }
}

/// Messages in their order, with the sum of their sizes: a sum for each message that is sent would
/// be quadratic after an outage. A message's content is changed only outside of the list.
#[derive(Debug, Default)]
struct MessageList {
    list: VecDeque<Outgoing>,
    bytes: usize,
}

impl MessageList {
    fn insert(&mut self, at: usize, message: Outgoing) {
        self.bytes += message.bytes();
        self.list.insert(at, message);
    }

    fn remove_at(&mut self, at: usize) -> Option<Outgoing> {
        let message = self.list.remove(at)?;
        self.bytes -= message.bytes();
        Some(message)
    }

    fn retain(&mut self, keep: impl Fn(&Outgoing) -> bool) {
        self.list.retain(keep);
        self.bytes = self.list.iter().map(Outgoing::bytes).sum();
    }
}

impl Extend<Outgoing> for MessageList {
    fn extend<T: IntoIterator<Item = Outgoing>>(&mut self, messages: T) {
        for message in messages {
            self.insert(self.list.len(), message);
        }
    }
}

/// The messages to the cloud; see the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The messages that wait to be sent, the urgent ones first.
    queue: MessageList,
    /// The messages that may have to be sent again, in the order of sending.
    sent: MessageList,
    /// The number of heartbeats that were sent over the connection, and that were answered.
    heartbeats: u64,
    answered: u64,
    /// Whether the cloud is known to confirm terminal messages.
    confirms: bool,
    /// Whether only heartbeats go out, until the connection is replaced.
    held: bool,
}

impl Outbox {
    /// Queues a message: an urgent one behind the urgent ones at the front, any other at the end.
    pub(super) fn push(&mut self, message: Outgoing) {
        if message.is_urgent() {
            let queued = self.queue.list.iter();
            let urgent = queued.take_while(|m| m.is_urgent()).count();
            self.queue.insert(urgent, message);
        } else {
            self.queue.extend([message]);
            self.drop_surplus_queued();
        }
    }

    /// Queues a message before all others, such as the first of a connection.
    pub(super) fn push_first(&mut self, message: Outgoing) {
        self.queue.insert(0, message);
    }

    /// The place of the next message that may be sent now.
    fn next_sendable_position(&self) -> Option<usize> {
        self.queue.list.iter().position(|queued| {
            let message = &queued.envelope.message;
            !self.held || matches!(message, M::HeartbeatPing(_) | M::HeartbeatPong(_))
        })
    }

    pub(super) fn has_next(&self) -> bool {
        self.next_sendable_position().is_some()
    }

    /// Takes the next message to send. A terminal message is sent again after `wait`, which doubles
    /// each time.
    pub(super) fn take_next(
        &mut self,
        now: Instant,
        wait: Duration,
    ) -> Option<Envelope<AgentMessage>> {
        let mut message = self.queue.remove_at(self.next_sendable_position()?)?;
        let envelope = message.envelope.clone();
        if matches!(envelope.message, M::HeartbeatPing(_)) {
            self.heartbeats += 1;
            return Some(envelope);
        }
        if message.run_key().is_none() {
            // Of the messages about the agent itself only the latest of each type counts.
            let kind = discriminant(&envelope.message);
            self.sent
                .retain(|earlier| discriminant(&earlier.envelope.message) != kind);
        }
        message.heartbeats = self.heartbeats;
        message.arrival = ArrivalState::Unknown;
        message.sent_at = Some(now);
        message.resend_at = message
            .is_terminal()
            .then(|| now + exponential_delay(wait, message.sends, MAX_RESEND_DELAY));
        message.sends += 1;
        self.sent.extend([message]);
        self.forget_surplus_sent();
        Some(envelope)
    }

    /// Sends a last heartbeat, and then only heartbeats until [`Self::release`].
    pub(super) fn hold_after(&mut self, heartbeat: Outgoing) {
        self.held = true;
        self.push_first(heartbeat);
    }

    /// Whether all messages that were sent before the outbox was held are known to have arrived.
    pub(super) fn all_sent_have_arrived(&self) -> bool {
        self.held && !self.has_next() && self.answered == self.heartbeats
    }

    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Notes that the cloud answered a heartbeat, so that the messages before it have arrived.
    pub(super) fn confirm_heartbeat(&mut self, now: Instant) {
        self.answered = (self.answered + 1).min(self.heartbeats);
        let answered = self.answered;
        self.mark_proven(|message| message.heartbeats < answered);
        self.sent.retain(|message| {
            let may_still_fail = message
                .sent_at
                .is_some_and(|at| now < at + FAILURE_REPORT_WINDOW);
            message.arrival != ArrivalState::Proven || may_still_fail
        });
    }

    /// Notes that the cloud has stored this terminal message, and so has all earlier messages
    /// about the run.
    pub(super) fn confirm(&mut self, id: &MessageId) {
        let confirmed = self
            .pending_messages()
            .find(|message| message.envelope.id == *id);
        let run = confirmed.and_then(Outgoing::run_key);
        self.forget(id);
        if run.is_some() {
            self.confirms = true;
            self.mark_proven(|message| message.run_key() == run);
        }
    }

    /// Marks the messages that have `arrived`. A terminal message is proven by its confirmation
    /// alone, a refused one by nothing.
    fn mark_proven(&mut self, arrived: impl Fn(&Outgoing) -> bool) {
        for message in &mut self.sent.list {
            if message.arrival == ArrivalState::Unknown
                && !message.is_terminal()
                && arrived(message)
            {
                message.arrival = ArrivalState::Proven;
            }
        }
    }

    pub(super) fn forget(&mut self, id: &MessageId) {
        self.retain(|message| message.envelope.id != *id);
    }

    /// Forgets a message that the cloud has no use for, unless it will be confirmed.
    pub(super) fn forget_unless_terminal(&mut self, id: &MessageId) {
        self.retain(|message| message.envelope.id != *id || message.is_terminal());
    }

    fn retain(&mut self, keep: impl Fn(&Outgoing) -> bool) {
        self.queue.retain(&keep);
        self.sent.retain(&keep);
    }

    /// Schedules the repetition of a message that the cloud could not handle, after `first` the
    /// first time. A terminal message is sent for ever. Returns the message's type, and whether it
    /// is sent again rather than given up; `None` for a message that is not known, or already on
    /// its way again.
    pub(super) fn retry_later(
        &mut self,
        id: &MessageId,
        now: Instant,
        first: Duration,
    ) -> Option<(&'static str, bool)> {
        let mut sent = self.sent.list.iter_mut();
        let message = sent.find(|message| message.envelope.id == *id)?;
        let kind = (&message.envelope.message).into();
        if message.has_exhausted_retries() {
            self.forget(id);
            return Some((kind, false));
        }
        message.retry_later(now, first);
        Some((kind, true))
    }

    /// Schedules the repetition of all messages that may have failed, for an error that names none.
    /// A message that seems to have arrived is repeated once; messages are idempotent.
    pub(super) fn retry_all_later(&mut self, now: Instant, first: Duration) {
        for message in &mut self.sent.list {
            let enough = message.arrival == ArrivalState::Proven && message.retries > 0;
            if !message.has_exhausted_retries() && !enough {
                message.retry_later(now, first);
            }
        }
    }

    /// Queues again the messages that may not have arrived before their connection ended, and
    /// forgets those that were meant for that connection only.
    pub(super) fn requeue_lost(&mut self) {
        self.held = false;
        (self.heartbeats, self.answered) = (0, 0);
        let sent = take(&mut self.sent).list.into_iter();
        let about_runs = sent.filter(|message| message.run_key().is_some());
        let (proven, lost): (MessageList, MessageList) =
            about_runs.partition(|message| message.arrival == ArrivalState::Proven);
        self.sent = proven;
        let queued = take(&mut self.queue).list.into_iter();
        let queued = queued.filter(|message| !message.is_urgent() || message.is_answer());
        for message in lost.list.into_iter().chain(queued) {
            self.push(message);
        }
    }

    /// Takes out the messages that are due to be sent again, and the runs whose terminal message
    /// is given up.
    pub(super) fn take_due(&mut self, now: Instant) -> (Vec<Outgoing>, Vec<RunKey>) {
        if self.resend_at().is_none_or(|at| at > now) {
            return Default::default();
        }
        let sent = take(&mut self.sent).list;
        let terminal = sent.iter().filter(|message| message.is_terminal()).count();
        let mut surplus = terminal.saturating_sub(MAX_UNCONFIRMED_TERMINAL_MESSAGES);
        let (due, rest): (MessageList, MessageList) = sent
            .into_iter()
            .partition(|message| message.resend_at.is_some_and(|at| at <= now));
        self.sent = rest;
        let (given_up, again): (Vec<_>, Vec<_>) = due.list.into_iter().partition(|message| {
            let in_vain = !self.confirms && message.sends >= MAX_LEGACY_CLOUD_SENDS;
            let given_up = message.is_terminal() && (in_vain || surplus > 0);
            surplus = surplus.saturating_sub(given_up.into());
            given_up
        });
        (
            again,
            given_up.iter().filter_map(Outgoing::run_key).collect(),
        )
    }

    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.sent.list.iter().filter_map(|m| m.resend_at).min()
    }

    /// Makes a task's terminal messages due now, if any wait to be confirmed.
    pub(super) fn resend_terminal_now(&mut self, task: TaskId, now: Instant) {
        for message in &mut self.sent.list {
            if message.is_terminal() && message.run_key().is_some_and(|run| run.task == task) {
                message.resend_at = Some(now);
            }
        }
    }

    /// The messages that have not arrived, as far as is known.
    fn pending_messages(&self) -> impl Iterator<Item = &Outgoing> {
        let sent = self.sent.list.iter();
        let pending = sent.filter(|message| message.arrival != ArrivalState::Proven);
        pending.chain(&self.queue.list)
    }

    /// The runs that the cloud may still count as held: those whose terminal message is not
    /// confirmed, and those whose refusal may not have arrived.
    pub(super) fn unsettled_runs(&self) -> impl Iterator<Item = RunKey> {
        let pending = self.pending_messages();
        let unsettled = pending.filter(|message| match &message.envelope.message {
            M::TaskAck(ack) => !ack.accepted,
            _ => message.is_terminal(),
        });
        unsettled.filter_map(Outgoing::run_key)
    }

    /// Counts the terminal messages that are not confirmed.
    pub(super) fn count_unconfirmed(&self) -> usize {
        self.pending_messages().filter(|m| m.is_terminal()).count()
    }

    /// Whether no message is to be sent, now or again.
    pub(super) fn is_settled(&self) -> bool {
        self.is_queue_empty() && self.resend_at().is_none()
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.list.is_empty()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.bytes
    }

    /// Drops the oldest queued output and progress until the rest is within bounds. Dropped output
    /// leaves a note, or adds to the note of its run that is before it.
    fn drop_surplus_queued(&mut self) {
        while self.queue.bytes > MAX_KEPT_BYTES
            && let Some(at) = self.queue.list.iter().position(Outgoing::may_be_dropped)
            && let Some(message) = self.queue.remove_at(at)
        {
            let M::TaskStream(stream) = &message.envelope.message else {
                continue;
            };
            let (dropped, run) = (stream.delta.len(), message.run_key());
            let is_note = |m: &Outgoing| m.dropped > 0 && m.run_key() == run;
            let earlier = self.queue.list.iter().take(at).rposition(is_note);
            let earlier_note = earlier.and_then(|place| self.queue.remove_at(place));
            let mut note = earlier_note.unwrap_or(message);
            note.note_dropped(dropped);
            self.queue.insert(earlier.unwrap_or(at), note);
        }
    }

    /// Forgets sent messages until the rest is within bounds: first those that have arrived, then
    /// the oldest, which most likely have.
    fn forget_surplus_sent(&mut self) {
        while self.sent.bytes > MAX_KEPT_BYTES {
            let mut sent = self.sent.list.iter();
            let proven = sent.position(|message| message.arrival == ArrivalState::Proven);
            let oldest = || self.sent.list.iter().position(|m| !m.is_terminal());
            let Some(at) = proven.or_else(oldest) else {
                return;
            };
            self.sent.remove_at(at);
        }
    }
}
