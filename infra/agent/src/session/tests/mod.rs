//! The decisions of a session about events of all kinds.

#![expect(
    clippy::disallowed_methods,
    reason = "a test begins now, and passes the time on from there"
)]

mod connection;
mod offers;
mod refused;
mod resending;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bematic_protocol::{
    ids::{BatchId, MessageId},
    messages::{Heartbeat, MessageAck, decode},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::{
    config::Timings,
    connection::ConnectionHandle,
    run::{CommandLine, EndedRun, Outcome, event::Progress},
    tests::numbered,
    workdir::Workdirs,
};

/// Time until a connection's replacement where that is not the subject.
const LONG: Duration = Duration::from_mins(110);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl IdGenerator for Counter {
    fn task(&self) -> TaskId {
        TaskId::new(uuid::Uuid::nil())
    }

    fn batch(&self) -> BatchId {
        BatchId::new(uuid::Uuid::nil())
    }

    fn message(&self) -> MessageId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        format!("m{number}").parse().unwrap()
    }
}

/// A session of one slot, and the time.
struct Driver {
    session: Session,
    now: Instant,
    _folder: TempDir,
}

impl Driver {
    fn connected() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            url: "ws://localhost".parse().unwrap(),
            agent_id: "tester".parse().unwrap(),
            command: CommandLine::parse("true").unwrap(),
            workdirs: Workdirs::new(&[folder.path().to_owned()]).unwrap(),
            run_as: None,
            concurrency: 1,
            accept_plain_lines: false,
            timings: Timings::default(),
        };
        let ids = Arc::new(Counter::default());
        let mut driver = Self {
            session: Session::new(
                Arc::new(config),
                ids,
                Arc::new(FixedClock),
                Box::new(Load::default),
            ),
            now: Instant::now(),
            _folder: folder,
        };
        driver.up(LONG);
        driver
    }

    fn handle(&mut self, event: Event) {
        self.session.handle_event(event, self.now);
    }

    /// A connection is ready, to be replaced after some time.
    fn up(&mut self, renew_in: Duration) {
        let handle = ConnectionHandle {
            texts: mpsc::channel(1).0,
            renewal: Arc::default(),
        };
        self.handle(Event::Connection(ConnectionEvent::Connected {
            handle,
            renew_in,
        }));
    }

    fn down(&mut self) {
        self.handle(Event::Connection(ConnectionEvent::Disconnected {
            reason: "test".to_owned(),
            retry_in: Duration::ZERO,
        }));
    }

    fn receive(&mut self, message: CloudMessage) {
        let envelope = Envelope {
            id: "c1".parse().unwrap(),
            timestamp: Timestamp::from_millis(1),
            message,
        };
        self.handle(Event::Connection(ConnectionEvent::Message(Box::new(
            envelope,
        ))));
    }

    fn submit(&mut self, submit: &TaskSubmit) {
        self.receive(CloudMessage::TaskSubmit(Box::new(submit.clone())));
    }

    fn output(&mut self, submit: &TaskSubmit, text: &str) {
        let event = RunEvent::Output(text.to_owned());
        self.handle(Event::Run(RunKey::of(submit), event));
    }

    fn end(&mut self, submit: &TaskSubmit, outcome: Outcome) {
        let ended = EndedRun {
            outcome,
            output_tail: "tail".to_owned(),
            duration: Duration::from_secs(1),
            ..EndedRun::default()
        };
        let event = RunEvent::Ended(Box::new(ended));
        self.handle(Event::Run(RunKey::of(submit), event));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.handle(Event::Tick);
    }

    /// Takes the messages that go out now.
    fn sent(&mut self) -> Vec<Envelope<AgentMessage>> {
        let mut sent = Vec::new();
        while self.session.has_outgoing() {
            let text = self.session.next_outgoing(self.now).unwrap();
            sent.push(decode(&text).unwrap().0);
        }
        sent
    }

    fn acks(&mut self) -> Vec<TaskAck> {
        let acks = self
            .sent()
            .into_iter()
            .filter_map(|envelope| match envelope.message {
                AgentMessage::TaskAck(ack) => Some(ack),
                _ => None,
            });
        acks.collect()
    }

    fn started(&mut self) -> Vec<RunKey> {
        let started = self
            .session
            .take_effects()
            .filter_map(|effect| match effect {
                Effect::Start { submit, .. } => Some(RunKey::of(&submit)),
                _ => None,
            });
        started.collect()
    }

    fn cancel(&mut self, submit: &TaskSubmit) {
        self.receive(CloudMessage::TaskCancel(TaskCancel {
            task_id: submit.task_id,
            reason: "late".to_owned(),
        }));
    }

    fn confirm(&mut self, message_id: MessageId) {
        self.receive(CloudMessage::MessageAck(MessageAck { message_id }));
    }

    /// Passes the cloud's error about a message.
    fn refuse(&mut self, message_id: &MessageId, code: &str) {
        self.receive(CloudMessage::SystemError(SystemError {
            code: code.to_owned(),
            message: "test".to_owned(),
            message_id: Some(message_id.clone()),
        }));
    }

    fn gateway_error(&mut self) {
        let problem = "Internal server error".to_owned();
        self.handle(Event::Connection(ConnectionEvent::GatewayError(problem)));
    }

    fn pong(&mut self) {
        self.receive(CloudMessage::HeartbeatPong(Heartbeat::default()));
    }

    /// Passes the cloud's ping of that time.
    fn ping(&mut self, time: u64) {
        self.receive(CloudMessage::HeartbeatPing(Heartbeat {
            server_time: Some(Timestamp::from_millis(time)),
        }));
    }
}

/// The times of the cloud's pings that are answered.
fn echoes(sent: &[Envelope<AgentMessage>]) -> Vec<u64> {
    let echoes = sent.iter().filter_map(|envelope| match &envelope.message {
        AgentMessage::HeartbeatPong(report) => Some(report.server_time.as_millis()),
        _ => None,
    });
    echoes.collect()
}

fn outputs(sent: &[Envelope<AgentMessage>]) -> Vec<&str> {
    let outputs = sent.iter().filter_map(|envelope| match &envelope.message {
        AgentMessage::TaskStream(stream) => Some(stream.delta.as_str()),
        _ => None,
    });
    outputs.collect()
}

fn is_end(envelope: &Envelope<AgentMessage>) -> bool {
    matches!(
        envelope.message,
        AgentMessage::TaskComplete(_) | AgentMessage::TaskError(_) | AgentMessage::TaskCancelled(_)
    )
}

fn kinds(sent: &[Envelope<AgentMessage>]) -> Vec<&'static str> {
    sent.iter()
        .map(|envelope| (&envelope.message).into())
        .collect()
}
