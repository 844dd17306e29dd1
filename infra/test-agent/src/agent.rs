//! An agent without I/O: messages in, messages out, no clock but the `now` that is passed in.
//!
//! The agent behaves as the protocol asks: an attempt runs once, however often it is offered; a
//! newer attempt ends the one before; a terminal message is sent again until it is confirmed, over
//! later connections too. Its [`Script`] decides what it does with an attempt.

use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use bematic_protocol::time::Timestamp;

use crate::ledger::{AgentEvent, AttemptEvent, Ledger, TerminalReport};
use crate::message::{
    AgentMessage, CloudMessage, EnvelopeSequence, EnvelopedMessage, Offer, RunKey,
};

/// The agent's answer to an offer that it has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferResponse {
    /// TASK_ACK that accepts, and work.
    Accept,
    /// Work, without an acknowledgement.
    Silent,
    /// TASK_ACK that refuses with this reason, and no work for now. The offer counts as an attempt.
    Refuse(String),
}

/// The agent's plan for one attempt: an answer, and then messages in time. A terminal message ends
/// the attempt; without one the attempt is held until it is cancelled.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The answer to the offer.
    pub answer: OfferResponse,
    /// The messages, each at so long after the offer.
    pub messages: Vec<(Duration, AgentMessage)>,
    /// Whether a TASK_CANCEL ends the attempt.
    pub cancellable: bool,
}

impl Plan {
    /// Returns a plan that acknowledges.
    pub const fn accept() -> Self {
        Self {
            answer: OfferResponse::Accept,
            messages: Vec::new(),
            cancellable: true,
        }
    }

    /// Returns a plan that refuses; the offer counts as an attempt, and the task may come again.
    pub fn refuse(reason: &str) -> Self {
        Self {
            answer: OfferResponse::Refuse(reason.to_owned()),
            ..Self::accept()
        }
    }

    /// Adds a message at so long after the offer.
    #[must_use]
    pub fn with_message_at(mut self, after: Duration, message: AgentMessage) -> Self {
        self.messages.push((after, message));
        self
    }
}

/// The script of an agent: a plan for each attempt that it is offered and has room for.
pub type Script = Box<dyn FnMut(&Offer) -> Plan + Send>;

/// The settings of an agent: [`Settings::new`], and then the fields that should differ.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's id, which the ids of its messages begin with.
    pub id: AgentId,
    /// The tasks that the agent takes at once.
    pub capacity: usize,
    /// The interval of HEARTBEAT_PING.
    pub heartbeat: Duration,
    /// The wait for the confirmation of a terminal message before it is sent again.
    pub resend: Duration,
}

impl Settings {
    /// Returns the protocol's settings: five tasks, a heartbeat every 20 s.
    pub const fn new(id: AgentId) -> Self {
        Self {
            id,
            capacity: 5,
            heartbeat: Duration::from_secs(20),
            resend: Duration::from_secs(5),
        }
    }

    /// Returns the agenda of a process that has just started.
    fn startup_agenda(&self, now: Timestamp) -> Vec<(Timestamp, AgendaItem)> {
        vec![
            (now + self.heartbeat, AgendaItem::Heartbeat),
            (now + self.resend, AgendaItem::Resend),
        ]
    }
}

/// An item of the agenda.
#[derive(Debug)]
enum AgendaItem {
    Message(RunKey, AgentMessage),
    Heartbeat,
    Resend,
}

/// A terminal message that is not confirmed yet.
#[derive(Debug)]
struct UnconfirmedMessage {
    run: RunKey,
    message: EnvelopedMessage,
    sent_at: Timestamp,
}

/// An agent.
pub struct Agent {
    settings: Settings,
    script: Script,
    ledger: Ledger,
    /// The attempts that the agent works on, by task.
    running: BTreeMap<TaskId, RunKey>,
    /// What comes later, and when; items of one time are handled in order.
    agenda: Vec<(Timestamp, AgendaItem)>,
    // The following outlives the agent's process.
    /// The attempts that were ever begun or refused.
    seen: HashSet<RunKey>,
    /// The attempts that ignore a TASK_CANCEL.
    uncancellable: HashSet<RunKey>,
    /// Terminal messages, by message id.
    outbox: BTreeMap<String, UnconfirmedMessage>,
    sequence: EnvelopeSequence,
}

impl Agent {
    /// Returns an agent that starts now, and writes what it does into `ledger`.
    pub fn new(settings: Settings, script: Script, ledger: Ledger, now: Timestamp) -> Self {
        Self {
            sequence: EnvelopeSequence::new(settings.id.as_str()),
            agenda: settings.startup_agenda(now),
            settings,
            script,
            ledger,
            running: BTreeMap::new(),
            seen: HashSet::new(),
            uncancellable: HashSet::new(),
            outbox: BTreeMap::new(),
        }
    }

    /// Whether the agent works on nothing, and all terminal messages are confirmed.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.outbox.is_empty()
    }

    /// Returns the time of the next item of the agenda.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.agenda.iter().map(|(at, _)| *at).min()
    }

    /// Returns the messages on a new connection: the status, acknowledgements of what runs, and the
    /// terminal messages that are not confirmed.
    pub fn on_connected(&mut self, now: Timestamp) -> Vec<EnvelopedMessage> {
        self.record_event(now, AgentEvent::Connected);
        let (id, capacity) = (self.settings.id.as_str(), self.settings.capacity);
        let status = AgentMessage::agent_status(id, capacity, &self.running_tasks());
        let acks = self.running.values().copied().map(AgentMessage::ack);
        let messages = iter::once(status).chain(acks);
        let sealed = messages.map(|message| self.sequence.seal(message, now));
        let mut sent: Vec<_> = sealed.collect();
        sent.extend(self.take_unconfirmed(now, Duration::ZERO));
        sent
    }

    /// Notes that the connection ended; the work goes on.
    pub fn on_disconnected(&mut self, now: Timestamp) {
        self.record_event(now, AgentEvent::Disconnected);
    }

    /// Restarts the agent's process: the attempts that it works on are lost.
    pub fn on_process_restarted(&mut self, now: Timestamp) {
        for run in std::mem::take(&mut self.running).into_values() {
            self.record_attempt_event(now, run, AttemptEvent::Died);
        }
        self.agenda = self.settings.startup_agenda(now);
    }

    /// Returns the answers to a message.
    pub fn receive(&mut self, message: &CloudMessage, now: Timestamp) -> Vec<EnvelopedMessage> {
        match message.kind.as_str() {
            "TASK_SUBMIT" => {
                let offer = message.offer();
                offer.map_or_else(Vec::new, |offer| self.on_offer(message, &offer, now))
            }
            "TASK_CANCEL" => {
                let task: Option<TaskId> = message.field("taskId");
                let run = task.and_then(|task| self.running.get(&task).copied());
                run.filter(|run| !self.uncancellable.contains(run))
                    .map(|run| {
                        self.prepare_message(run, AgentMessage::cancelled(run, "stopped"), now)
                    })
                    .into_iter()
                    .collect()
            }
            "MESSAGE_ACK" => {
                let id: Option<String> = message.field("messageId");
                if let Some(confirmed) = id.and_then(|id| self.outbox.remove(&id)) {
                    self.record_attempt_event(now, confirmed.run, AttemptEvent::Confirmed);
                }
                Vec::new()
            }
            "HEARTBEAT_PING" => {
                let asked = message.field("serverTime").unwrap_or(message.sent_at);
                let pong =
                    AgentMessage::pong(self.settings.id.as_str(), asked, &self.running_tasks());
                vec![self.sequence.seal(pong, now)]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the messages whose time has come.
    pub fn take_due_messages(&mut self, now: Timestamp) -> Vec<EnvelopedMessage> {
        self.agenda.sort_by_key(|(at, _)| *at);
        let later = self.agenda.partition_point(|(at, _)| *at <= now);
        let due: Vec<_> = self.agenda.drain(..later).collect();
        let sent = due
            .into_iter()
            .map(|(_, item)| self.handle_agenda_item(item, now));
        sent.flatten().collect()
    }

    fn handle_agenda_item(&mut self, item: AgendaItem, now: Timestamp) -> Vec<EnvelopedMessage> {
        match item {
            AgendaItem::Message(run, _) if !self.works_on(run) => Vec::new(),
            AgendaItem::Message(run, message) => vec![self.prepare_message(run, message, now)],
            AgendaItem::Heartbeat => {
                self.agenda
                    .push((now + self.settings.heartbeat, AgendaItem::Heartbeat));
                let ping = AgentMessage::ping(&self.running_tasks());
                vec![self.sequence.seal(ping, now)]
            }
            AgendaItem::Resend => {
                self.agenda
                    .push((now + self.settings.resend, AgendaItem::Resend));
                self.take_unconfirmed(now, self.settings.resend)
            }
        }
    }

    fn on_offer(
        &mut self,
        message: &CloudMessage,
        offer: &Offer,
        now: Timestamp,
    ) -> Vec<EnvelopedMessage> {
        let run = offer.run_key();
        let (message, sent_at) = (message.id.clone(), message.sent_at);
        self.record_attempt_event(now, run, AttemptEvent::Offered { message, sent_at });
        if self.works_on(run) {
            return vec![self.prepare_message(run, AgentMessage::ack(run), now)];
        }
        let other = self.running.get(&run.task_id).copied();
        let outdated = other.is_some_and(|other| other.attempt > run.attempt);
        if outdated || !self.seen.insert(run) {
            return Vec::new();
        }
        let superseded = other.map(|other| {
            self.prepare_message(other, AgentMessage::cancelled(other, "superseded"), now)
        });
        let answer = if self.running.len() >= self.settings.capacity {
            self.record_attempt_event(now, run, AttemptEvent::Refused);
            Some(AgentMessage::rejecting_ack(run, "full").with("spent", false))
        } else {
            let plan = (self.script)(offer);
            self.follow_plan(run, plan, now)
        };
        let answer = answer.map(|answer| self.prepare_message(run, answer, now));
        superseded.into_iter().chain(answer).collect()
    }

    /// Begins or refuses an attempt, and returns the acknowledgement.
    fn follow_plan(&mut self, run: RunKey, plan: Plan, now: Timestamp) -> Option<AgentMessage> {
        if let OfferResponse::Refuse(reason) = &plan.answer {
            self.record_attempt_event(now, run, AttemptEvent::Refused);
            return Some(AgentMessage::rejecting_ack(run, reason).with("spent", true));
        }
        // Noted here, where work begins, whatever was decided before.
        self.record_attempt_event(now, run, AttemptEvent::Started);
        self.running.insert(run.task_id, run);
        if !plan.cancellable {
            self.uncancellable.insert(run);
        }
        for (after, message) in plan.messages {
            self.agenda
                .push((now + after, AgendaItem::Message(run, message)));
        }
        (plan.answer == OfferResponse::Accept).then(|| AgentMessage::ack(run))
    }

    /// Returns a message about an attempt, to be sent; a terminal one ends it, and is kept until
    /// it is confirmed.
    fn prepare_message(
        &mut self,
        run: RunKey,
        message: AgentMessage,
        now: Timestamp,
    ) -> EnvelopedMessage {
        let report = TerminalReport::of(&message);
        let message = self.sequence.seal(message, now);
        if let Some(report) = report {
            self.running.remove(&run.task_id);
            self.record_attempt_event(now, run, AttemptEvent::Reported(report));
            let unconfirmed = UnconfirmedMessage {
                run,
                message: message.clone(),
                sent_at: now,
            };
            self.outbox.insert(message.id.clone(), unconfirmed);
        }
        message
    }

    /// Takes the terminal messages that were sent `minimum_age` ago or earlier, to send them now.
    fn take_unconfirmed(&mut self, now: Timestamp, minimum_age: Duration) -> Vec<EnvelopedMessage> {
        let overdue = |report: &&mut UnconfirmedMessage| now.since(report.sent_at) >= minimum_age;
        let again = self.outbox.values_mut().filter(overdue).map(|report| {
            report.sent_at = now;
            report.message.clone()
        });
        again.collect()
    }

    fn running_tasks(&self) -> Vec<TaskId> {
        self.running.keys().copied().collect()
    }

    fn works_on(&self, run: RunKey) -> bool {
        self.running.get(&run.task_id) == Some(&run)
    }

    fn record_attempt_event(&self, now: Timestamp, run: RunKey, event: AttemptEvent) {
        self.record_event(now, AgentEvent::Run(run, event));
    }

    fn record_event(&self, now: Timestamp, what: AgentEvent) {
        self.ledger.write(now, &self.settings.id, what);
    }
}

#[cfg(test)]
mod tests;
