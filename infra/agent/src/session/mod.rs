//! The agent's decisions: no I/O, no clock, no randomness of its own. [`Session::handle_event`]
//! takes [`Event`]s; [`Effect`]s and messages to send come out.

mod outbox;
mod terminal;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{Attempt, IdGenerator, TaskId},
    messages::{
        AgentMessage, AgentStatus, Availability, CloudMessage, Envelope, HeartbeatReport,
        HeartbeatSignal, SystemError, SystemNotice, TaskAck, TaskCancel, TaskProgress, TaskStream,
        TaskSubmit, TypeSpelling, limits,
    },
    time::{Clock, Timestamp},
};
use tokio::time::Instant;

use self::{outbox::Outbox, terminal::StopCause};
use crate::{
    config::Config,
    connection::ConnectionEvent,
    load::Load,
    notice::Notice,
    run::{RunEvent, RunKey},
    text::shorten,
};

/// Bytes that may wait for a slow connection before the commands have to wait.
const BACKPRESSURE_BYTES: usize = 256 * 1024;
/// Time for the cloud to confirm messages, at the agent's end and before a connection is replaced.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time between asking a command to end and forcing it when the agent stops at once.
const SHORT_GRACE: Duration = Duration::from_secs(2);
/// The number of acknowledgements that are remembered. A repetition of TASK_SUBMIT comes within
/// minutes; no agent is offered so many tasks in that time.
const MAX_REMEMBERED_ACKS: usize = 4096;
/// Characters of a prompt that represent it on the agent's screen.
const TITLE_CHARS: usize = 80;
/// The reason for which an agent that stops refuses tasks, and hands back those not started.
const SHUTTING_DOWN_REASON: &str = "the agent is shutting down";

#[derive(Debug)]
pub(crate) enum Event {
    Connection(ConnectionEvent),
    Run(RunKey, RunEvent),
    /// A signal to stop, by its name.
    Signal(&'static str),
    /// A deadline has come.
    Tick,
}

/// An action that the session asks for.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Run the command for a task.
    Start {
        submit: Box<TaskSubmit>,
        /// The folder to run in, checked.
        folder: PathBuf,
    },
    /// End a run: ask its command to end, wait for `grace`, force it.
    Stop {
        run: RunKey,
        grace: Duration,
    },
    /// Give up this connection; a new one will be made.
    Reconnect,
    /// Open a new connection, while this one still carries messages.
    Renew,
    Show(Notice),
    /// Close the connection and exit.
    Exit(Exit),
}

/// The reason for which the agent exits, with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A request to stop.
    Stopped = 0,
    /// The cloud does not accept the agent's key.
    Refused = 3,
    /// The cloud's request to restart: `EX_TEMPFAIL` of sysexits.h, "try again", for a supervisor.
    Restart = 75,
}

/// An agent's state.
pub(crate) struct Session {
    config: Arc<Config>,
    ids: Arc<dyn IdGenerator>,
    clock: Arc<dyn Clock>,
    measure_load: Box<dyn FnMut() -> Load + Send>,
    connection: Option<ConnectionState>,
    waiting: VecDeque<WaitingTask>,
    running: Vec<RunningTask>,
    /// The latest acknowledgements, since a TASK_SUBMIT may come any number of times.
    acks: VecDeque<(RunKey, TaskAck)>,
    outbox: Outbox,
    phase: Phase,
    effects: Vec<Effect>,
}

#[derive(Clone, Copy)]
struct ConnectionState {
    last_message: Instant,
    next_heartbeat: Instant,
    renewal: RenewalPhase,
}

/// The progress of a connection's replacement.
#[derive(Clone, Copy)]
enum RenewalPhase {
    /// It begins at this time.
    Due(Instant),
    /// Sending pauses until this time, or until all messages are proven to have arrived. The cloud
    /// closes the older connection as soon as it has the newer one, with whatever is on its way.
    Proving(Instant),
    /// The new connection is being opened, and the old one is still read.
    Opening,
}

/// The progress of stopping, with the reason for which the agent will exit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Working,
    /// Running tasks may finish until this time.
    Draining(Exit, Instant),
    /// Running tasks are being ended.
    Forced(Exit),
    /// No task runs; the cloud may confirm until this time.
    Settling(Exit, Instant),
    /// The last message is on its way, for which there is time until then.
    Leaving(Exit, Instant),
}

struct WaitingTask {
    run: RunKey,
    title: String,
    submit: Box<TaskSubmit>,
    folder: PathBuf,
}

struct RunningTask {
    run: RunKey,
    title: String,
    next_seq: u64,
    /// The cause for which the command was asked to end, if it was.
    stopped: Option<StopCause>,
}

const fn accepting_ack(run: RunKey, queue_position: Option<u64>) -> TaskAck {
    TaskAck {
        task_id: run.task,
        attempt: run.attempt,
        accepted: true,
        reason: None,
        retryable: true,
        spent: true,
        queue_position,
    }
}

/// A TASK_ACK that refuses. An offer that nobody has looked at is not `spent`.
fn rejecting_ack(run: RunKey, reason: String, retryable: bool, spent: bool) -> TaskAck {
    TaskAck {
        accepted: false,
        reason: Some(reason),
        retryable,
        spent,
        ..accepting_ack(run, None)
    }
}

impl Session {
    pub(crate) fn new(
        config: Arc<Config>,
        ids: Arc<dyn IdGenerator>,
        clock: Arc<dyn Clock>,
        measure_load: Box<dyn FnMut() -> Load + Send>,
    ) -> Self {
        Self {
            config,
            ids,
            clock,
            measure_load,
            connection: None,
            waiting: VecDeque::new(),
            running: Vec::new(),
            acks: VecDeque::new(),
            outbox: Outbox::default(),
            phase: Phase::Working,
            effects: Vec::new(),
        }
    }

    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connection(event) => self.on_connection_event(event, now),
            Event::Run(run, event) => self.on_run_event(run, event),
            Event::Signal(name) => self.on_signal(name, now),
            Event::Tick => {}
        }
        self.handle_connection_timers(now);
        if self.connection.is_some() {
            self.resend_due_messages(now);
        }
        self.advance_shutdown(now);
    }

    pub(crate) fn take_effects(&mut self) -> impl Iterator<Item = Effect> {
        self.effects.drain(..)
    }

    /// The time at which [`Event::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        use Phase::{Draining, Leaving, Settling};
        let mut times = Vec::new();
        if let Draining(_, until) | Settling(_, until) | Leaving(_, until) = self.phase {
            times.push(until);
        }
        if let Some(connection) = &self.connection {
            times.push(connection.last_message + self.config.timings.silence);
            times.push(connection.next_heartbeat);
            if let RenewalPhase::Due(at) | RenewalPhase::Proving(at) = connection.renewal {
                times.push(at);
            }
            times.extend(self.outbox.resend_at());
        }
        times.into_iter().min()
    }

    /// Whether there is a message to send, and a connection to send it over.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.connection.is_some() && self.outbox.has_next()
    }

    /// Takes the next message to send, as text.
    pub(crate) fn next_outgoing(&mut self, now: Instant) -> Option<String> {
        while let Some(envelope) = self.outbox.take_next(now, self.config.timings.resend) {
            match envelope.encode(TypeSpelling::Canonical) {
                Ok(text) => return Some(text),
                Err(error) => {
                    // Every message is built to fit, so this is a mistake in the agent.
                    self.outbox.forget(&envelope.id);
                    self.warn(format!(
                        "a message was not sent: {error}; please report this"
                    ));
                }
            }
        }
        None
    }

    /// Whether to handle more events of runs. If not, their commands wait at their pipes.
    pub(crate) fn takes_run_events(&self) -> bool {
        self.connection.is_none() || self.outbox.queued_bytes() < BACKPRESSURE_BYTES
    }

    fn envelope(&self, message: AgentMessage) -> Envelope<AgentMessage> {
        Envelope {
            id: self.ids.message(),
            timestamp: self.clock.now(),
            message,
        }
    }

    /// Queues a message to the cloud; it is sent when the connection has room.
    fn send(&mut self, message: AgentMessage) {
        let envelope = self.envelope(message);
        self.outbox.push(envelope.into());
    }

    fn show(&mut self, notice: Notice) {
        self.effects.push(Effect::Show(notice));
    }

    fn warn(&mut self, message: String) {
        self.show(Notice::Warning { message });
    }

    /// HEARTBEAT_PONG, the answer to a ping of that time.
    fn pong_message(&mut self, asked: Timestamp) -> AgentMessage {
        let load = (self.measure_load)();
        AgentMessage::HeartbeatPong(HeartbeatReport {
            agent_id: self.config.agent_id.clone(),
            server_time: asked,
            active_tasks: self.running_and_waiting_runs().count() as u64,
            cpu_usage: load.cpu,
            memory_usage: load.memory,
            tasks: Some(self.unsettled_tasks()),
        })
    }

    fn ping_message(&self) -> AgentMessage {
        AgentMessage::HeartbeatPing(HeartbeatSignal {
            server_time: None,
            tasks: Some(self.unsettled_tasks()),
        })
    }

    fn status_message(&self) -> AgentMessage {
        AgentMessage::AgentStatus(AgentStatus {
            agent_id: self.config.agent_id.clone(),
            status: match self.phase {
                Phase::Working => Availability::Online,
                Phase::Leaving(..) => Availability::Offline,
                _ => Availability::Draining,
            },
            active_tasks: self.unsettled_tasks(),
            capacity: self.config.concurrency,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            resource_status: None,
        })
    }

    /// The runs of all tasks: first those that run, then those that wait.
    fn running_and_waiting_runs(&self) -> impl Iterator<Item = RunKey> {
        let running = self.running.iter().map(|task| task.run);
        running.chain(self.waiting.iter().map(|task| task.run))
    }

    /// The tasks that the agent still answers for.
    fn unsettled_tasks(&self) -> Vec<TaskId> {
        let runs = self
            .running_and_waiting_runs()
            .chain(self.outbox.unsettled_runs());
        let mut tasks: Vec<_> = runs.map(|run| run.task).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks.truncate(limits::MAX_LIST_ENTRIES);
        tasks
    }

    fn on_connection_event(&mut self, event: ConnectionEvent, now: Instant) {
        use ConnectionEvent as E;
        if let E::Message(_) | E::GatewayError(_) | E::Unreadable(_) = event
            && let Some(connection) = &mut self.connection
        {
            connection.last_message = now;
        }
        match event {
            E::Connecting => self.show(Notice::Connecting),
            E::Connected { renew_in, .. } => self.on_connected(now, renew_in),
            E::NotRenewed { reason, retry_in } => {
                if let Some(connection) = &mut self.connection {
                    connection.renewal = RenewalPhase::Due(now + retry_in);
                    self.outbox.release();
                    self.warn(format!("the connection could not be renewed ({reason}); it goes on until another attempt succeeds"));
                }
            }
            E::Disconnected { reason, retry_in } => {
                self.on_disconnected();
                self.show(Notice::Disconnected { reason, retry_in });
            }
            E::Refused(message) => self.on_agent_refused(message),
            E::Unreadable(problem) => {
                self.warn(format!("the cloud sent what this agent does not understand: {problem}; update the agent if this goes on"));
            }
            E::GatewayError(problem) => {
                self.outbox.retry_all_later(now, self.config.timings.retry);
                self.warn(format!("the gateway could not have a message handled ({problem}); what was sent lately is sent again"));
            }
            E::Message(envelope) => self.on_message(envelope.message, now),
        }
    }

    fn on_connected(&mut self, now: Instant, renew_in: Duration) {
        let notice = self
            .connection
            .map_or(Notice::Connected, |_| Notice::Renewed);
        self.on_disconnected();
        self.connection = Some(ConnectionState {
            last_message: now,
            next_heartbeat: now + self.config.timings.heartbeat,
            renewal: RenewalPhase::Due(now + renew_in),
        });
        // The status goes first: when it comes, the cloud sends tasks, and counts those that it
        // does not name as lost.
        self.outbox
            .push_first(self.envelope(self.status_message()).into());
        self.show(notice);
    }

    fn on_disconnected(&mut self) {
        if self.connection.take().is_some() {
            self.outbox.requeue_lost();
        }
    }

    fn on_agent_refused(&mut self, message: String) {
        self.on_disconnected();
        self.show(Notice::Error { message });
        self.effects.push(Effect::Exit(Exit::Refused));
    }

    /// Does what is due: gives up a silent connection, sends a heartbeat, replaces the connection.
    fn handle_connection_timers(&mut self, now: Instant) {
        let Some(mut connection) = self.connection else {
            return;
        };
        if connection.last_message + self.config.timings.silence <= now {
            self.warn("the connection is silent; making a new one".to_owned());
            self.on_disconnected();
            self.effects.push(Effect::Reconnect);
            return;
        }
        if connection.next_heartbeat <= now {
            self.send(self.ping_message());
            connection.next_heartbeat = now + self.config.timings.heartbeat;
        }
        match connection.renewal {
            RenewalPhase::Due(at) if at <= now => {
                self.outbox
                    .hold_after(self.envelope(self.ping_message()).into());
                connection.renewal = RenewalPhase::Proving(now + CONFIRM_TIMEOUT);
            }
            RenewalPhase::Proving(until) if until <= now || self.outbox.all_sent_have_arrived() => {
                self.effects.push(Effect::Renew);
                connection.renewal = RenewalPhase::Opening;
            }
            _ => {}
        }
        self.connection = Some(connection);
    }

    fn resend_due_messages(&mut self, now: Instant) {
        let (mut due, given_up) = self.outbox.take_due(now);
        for run in given_up {
            self.warn(format!(
                "the cloud never confirmed the result of {run}; it is not sent again"
            ));
        }
        due.sort_by_key(|outgoing| outgoing.run_key().is_none());
        for mut outgoing in due {
            // A message about the agent itself is replaced by one about its present state.
            match &outgoing.envelope.message {
                AgentMessage::AgentStatus(_) => {
                    outgoing.envelope = self.envelope(self.status_message());
                }
                AgentMessage::HeartbeatPong(pong) => {
                    let pong = self.pong_message(pong.server_time);
                    outgoing.envelope = self.envelope(pong);
                }
                _ => {}
            }
            self.outbox.push(outgoing);
        }
    }

    fn on_message(&mut self, message: CloudMessage, now: Instant) {
        match message {
            CloudMessage::HeartbeatPing(ping) => {
                let asked = ping.server_time.unwrap_or_else(|| self.clock.now());
                let answer = self.pong_message(asked);
                self.send(answer);
            }
            CloudMessage::HeartbeatPong(_) => self.outbox.confirm_heartbeat(now),
            CloudMessage::TaskSubmit(submit) => self.on_submit(submit),
            CloudMessage::TaskCancel(cancel) => self.on_cancel(&cancel, now),
            CloudMessage::MessageAck(ack) => self.outbox.confirm(&ack.message_id),
            CloudMessage::SystemError(error) => self.on_system_error(error, now),
            CloudMessage::SystemShutdown(SystemNotice { reason, .. }) => {
                let reason = format!("the cloud asks to stop ({reason})");
                self.drain(Exit::Stopped, reason, now);
            }
            CloudMessage::SystemRestart(SystemNotice { reason, .. }) => {
                let reason = format!("the cloud asks to restart ({reason})");
                self.drain(Exit::Restart, reason, now);
            }
            CloudMessage::AuthResponse(response) if !response.success => {
                let why = response.error.as_deref().unwrap_or("no reason given");
                self.on_agent_refused(format!(
                    "the cloud does not accept this agent ({why}); check its id and key"
                ));
            }
            CloudMessage::AuthResponse(_) => {}
        }
    }

    /// Decides by the error's code about the message that it names.
    fn on_system_error(&mut self, error: SystemError, now: Instant) {
        let SystemError { code, message, .. } = error;
        let mut refused = None;
        if let Some(id) = error.message_id {
            match code.as_str() {
                // The message would be refused again, for its form.
                "UNKNOWN_MESSAGE_TYPE" | "MESSAGE_TOO_LARGE" => self.outbox.forget(&id),
                _ if code.starts_with("INVALID_") => self.outbox.forget(&id),
                // The task is not the agent's; terminal messages are confirmed all the same.
                "UNKNOWN_TASK" | "NOT_YOUR_TASK" | "TASK_NOT_HELD" | "AGENT_MISMATCH" => {
                    self.outbox.forget_unless_terminal(&id);
                }
                // Everything else, so that nothing is lost to a code that is newer than this agent.
                _ => refused = self.outbox.retry_later(&id, now, self.config.timings.retry),
            }
        }
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

    fn on_submit(&mut self, submit: Box<TaskSubmit>) {
        let run = RunKey::of(&submit);
        if let Some((_, ack)) = self.acks.iter().find(|(earlier, _)| *earlier == run) {
            let queue_position = self.queue_position(run);
            let ack = ack.clone();
            return self.send(AgentMessage::TaskAck(TaskAck {
                queue_position,
                ..ack
            }));
        }
        match self.check_admission(&submit) {
            Ok(folder) => self.accept(submit, folder),
            Err(ack) => self.refuse(run, ack),
        }
    }

    /// Returns the folder in which the task is to work, or the refusal.
    fn check_admission(&self, submit: &TaskSubmit) -> Result<PathBuf, TaskAck> {
        let run = RunKey::of(submit);
        let later = |held: &RunKey| held.task == run.task && held.attempt > run.attempt;
        if let Some(held) = self.running_and_waiting_runs().find(later) {
            let attempt = held.attempt.map_or(0, Attempt::number);
            let reason = format!("attempt {attempt} of the task is already here");
            return Err(rejecting_ack(run, reason, true, true));
        }
        if self.phase != Phase::Working {
            return Err(rejecting_ack(
                run,
                SHUTTING_DOWN_REASON.to_owned(),
                true,
                false,
            ));
        }
        let slots = self.config.concurrency as usize;
        if self.running_and_waiting_runs().count() >= 2 * slots {
            let reason =
                format!("all {slots} slots of the agent are taken, and as many tasks wait");
            return Err(rejecting_ack(run, reason, true, false));
        }
        let folder = self.config.workdirs.resolve(&submit.local_path);
        folder.map_err(|reason| rejecting_ack(run, reason, false, true))
    }

    fn accept(&mut self, submit: Box<TaskSubmit>, folder: PathBuf) {
        let run = RunKey::of(&submit);
        // Earlier attempts end: two must not work in one folder at the same time.
        self.waiting.retain(|task| task.run.task != run.task);
        let cause = StopCause::Superseded(run.attempt);
        self.stop_matching_running_tasks(
            |task| task.run.task == run.task,
            &cause,
            self.config.timings.grace,
        );
        let title = task_title(&submit);
        self.waiting.push_back(WaitingTask {
            run,
            title: title.clone(),
            submit,
            folder,
        });
        // Only the new task can be ready: the others were not ready before it came.
        let starts = self.next_ready_position().is_some();
        let queue_position = self.queue_position(run).filter(|_| !starts);
        self.show(Notice::TaskAccepted {
            run,
            title,
            queue_position,
        });
        self.acknowledge(run, accepting_ack(run, queue_position));
        self.start_ready_tasks();
    }

    fn refuse(&mut self, run: RunKey, ack: TaskAck) {
        self.show(Notice::TaskRefused {
            run,
            reason: ack.reason.clone().unwrap_or_default(),
            retryable: ack.retryable,
        });
        self.acknowledge(run, ack);
    }

    /// Sends an acknowledgement, and remembers it in place of an earlier one.
    fn acknowledge(&mut self, run: RunKey, ack: TaskAck) {
        self.acks.retain(|(earlier, _)| *earlier != run);
        self.acks.push_back((run, ack.clone()));
        if self.acks.len() > MAX_REMEMBERED_ACKS {
            self.acks.pop_front();
        }
        self.send(AgentMessage::TaskAck(ack));
    }

    fn queue_position(&self, run: RunKey) -> Option<u64> {
        let waiting = self.waiting.iter().position(|task| task.run == run)?;
        Some((self.running.len() + waiting) as u64)
    }

    /// The place of the first waiting task that may run: it has a slot, and no other attempt of it
    /// runs.
    fn next_ready_position(&self) -> Option<usize> {
        if self.running.len() >= self.config.concurrency as usize {
            return None;
        }
        self.waiting.iter().position(|task| {
            let mut running = self.running.iter();
            running.all(|other| other.run.task != task.run.task)
        })
    }

    fn start_ready_tasks(&mut self) {
        while let Some(task) = self
            .next_ready_position()
            .and_then(|at| self.waiting.remove(at))
        {
            let WaitingTask {
                run,
                title,
                submit,
                folder,
            } = task;
            self.running.push(RunningTask {
                run,
                title: title.clone(),
                next_seq: 0,
                stopped: None,
            });
            self.show(Notice::TaskStarted { run, title });
            self.effects.push(Effect::Start { submit, folder });
        }
    }

    fn on_cancel(&mut self, cancel: &TaskCancel, now: Instant) {
        let id = cancel.task_id;
        // The cloud repeats itself, which gives no more time.
        let runs = |task: &RunningTask| task.run.task == id && task.stopped.is_none();
        let cause = StopCause::Cancelled(cancel.reason.clone());
        self.stop_matching_running_tasks(runs, &cause, self.config.timings.grace);
        let waiting = self.waiting.iter().position(|task| task.run.task == id);
        if let Some(task) = waiting.and_then(|at| self.waiting.remove(at)) {
            let message = terminal::cancelled_message(task.run, &cancel.reason);
            self.announce_task_end(task.run, task.title, message, Duration::ZERO);
        }
        // The terminal message of a task that has ended stays as it is. About a task that is not
        // here nothing can be reported: its submission may still be on its way.
        self.outbox.resend_terminal_now(id, now);
    }

    /// Ends running commands; the first cause counts.
    fn stop_matching_running_tasks(
        &mut self,
        which: impl Fn(&RunningTask) -> bool,
        cause: &StopCause,
        grace: Duration,
    ) {
        for task in self.running.iter_mut().filter(|task| which(task)) {
            task.stopped.get_or_insert_with(|| cause.clone());
            let run = task.run;
            self.effects.push(Effect::Stop { run, grace });
        }
    }

    fn on_run_event(&mut self, run: RunKey, event: RunEvent) {
        let Some(at) = self.running.iter().position(|task| task.run == run) else {
            return;
        };
        match event {
            RunEvent::Output(delta) => {
                let seq = self.running[at].next_seq;
                self.running[at].next_seq += 1;
                self.send(AgentMessage::TaskStream(TaskStream {
                    task_id: run.task,
                    attempt: run.attempt,
                    delta,
                    seq: Some(seq),
                    timestamp: Some(self.clock.now()),
                }));
            }
            RunEvent::Progress(progress) => {
                self.show(Notice::TaskProgress {
                    run,
                    percent: progress.percent,
                    step: progress.steps.last().or(progress.message.as_ref()).cloned(),
                });
                self.send(AgentMessage::TaskProgress(TaskProgress {
                    task_id: run.task,
                    attempt: run.attempt,
                    progress: progress.percent,
                    message: progress.message,
                    steps: (!progress.steps.is_empty()).then_some(progress.steps),
                    kind: progress.kind,
                    timestamp: Some(self.clock.now()),
                }));
            }
            RunEvent::Warning(message) => self.warn(format!("{run}: {message}")),
            RunEvent::Ended(ended) => {
                let task = self.running.remove(at);
                let duration = ended.duration;
                let message = terminal::message(run, task.stopped, *ended);
                self.announce_task_end(run, task.title, message, duration);
                self.start_ready_tasks();
            }
        }
    }

    fn announce_task_end(
        &mut self,
        run: RunKey,
        title: String,
        message: AgentMessage,
        duration: Duration,
    ) {
        let (status, reason) = terminal::status_and_reason(&message);
        self.show(Notice::TaskEnded {
            run,
            title,
            status,
            reason,
            duration,
        });
        self.send(message);
    }

    /// The first signal stops the agent gently, the second ends the tasks that still run, the third
    /// does not wait for anything.
    fn on_signal(&mut self, name: &str, now: Instant) {
        match self.phase {
            Phase::Working => self.drain(Exit::Stopped, name.to_owned(), now),
            Phase::Draining(exit, _) => self.force_stop(exit),
            Phase::Forced(exit) | Phase::Settling(exit, _) | Phase::Leaving(exit, _) => {
                self.effects.push(Effect::Exit(exit));
            }
        }
    }

    /// Begins to stop, unless the agent does so already: the cloud repeats itself.
    fn drain(&mut self, exit: Exit, reason: String, now: Instant) {
        if self.phase != Phase::Working {
            return;
        }
        let timeout = self.config.timings.drain;
        self.phase = Phase::Draining(exit, now + timeout);
        for WaitingTask { run, .. } in std::mem::take(&mut self.waiting) {
            self.refuse(
                run,
                rejecting_ack(run, SHUTTING_DOWN_REASON.to_owned(), true, false),
            );
        }
        self.show(Notice::Draining {
            reason,
            running: self.running.len(),
            timeout,
        });
        if self.connection.is_some() {
            self.send(self.status_message());
        }
    }

    fn force_stop(&mut self, exit: Exit) {
        self.phase = Phase::Forced(exit);
        let grace = self.config.timings.grace.min(SHORT_GRACE);
        self.stop_matching_running_tasks(|_| true, &StopCause::Shutdown, grace);
    }

    /// Goes on to the next phase of stopping, as far as that is due.
    fn advance_shutdown(&mut self, now: Instant) {
        let idle = self.running.is_empty();
        let settled = now + CONFIRM_TIMEOUT;
        self.phase = match self.phase {
            // Without a connection, the drain time is there to get one.
            Phase::Draining(exit, until) if idle => Phase::Settling(exit, until.max(settled)),
            Phase::Draining(exit, until) if until <= now => return self.force_stop(exit),
            Phase::Forced(exit) if idle => Phase::Settling(exit, settled),
            Phase::Settling(exit, until) if self.outbox.is_settled() || until <= now => {
                Phase::Leaving(exit, settled)
            }
            Phase::Leaving(exit, until)
                if until <= now || self.outbox.is_queue_empty() || self.connection.is_none() =>
            {
                return self.effects.push(Effect::Exit(exit));
            }
            _ => return,
        };
        if let Phase::Leaving(..) = self.phase {
            let lost = self.outbox.count_unconfirmed();
            if lost > 0 {
                self.warn(format!("{lost} results were not confirmed by the cloud; it will show those tasks as lost unless they have arrived"));
            }
            if self.connection.is_some() {
                self.send(self.status_message());
            }
        }
        self.advance_shutdown(now);
    }
}

/// The beginning of a prompt, in one line.
fn task_title(submit: &TaskSubmit) -> String {
    let line = submit.prompt.trim().lines().next().unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    shorten(&clean, TITLE_CHARS)
}
