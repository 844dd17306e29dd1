use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bematic::{
    ids::{Attempt, MessageId, TaskId},
    protocol::{
        CloudMessage, Heartbeat, MessageAck, SystemError, TaskAck, TaskCancel, TaskSubmit, decode,
    },
    time::Timestamp,
};
use tempfile::TempDir;

use super::*;
use crate::{
    event::{Ended, Ending, Outcome},
    load::Load,
    progress_line::Summary,
    testing::numbered,
};

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Ids for Counter {
    fn task(&self) -> TaskId {
        TaskId::new(uuid::Uuid::nil())
    }

    fn message(&self) -> MessageId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        format!("m{number}").parse().unwrap()
    }
}

struct Idle;

impl Machine for Idle {
    fn load(&mut self) -> Load {
        Load::default()
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
        let settings = Settings {
            agent_id: "tester".parse().unwrap(),
            concurrency: 1,
            workdirs: Workdirs::new(&[folder.path().to_owned()]).unwrap(),
            timings: Timings::default(),
        };
        let ids = Arc::new(Counter::default());
        let mut driver = Self {
            session: Session::new(settings, ids, Arc::new(FixedClock), Box::new(Idle)),
            now: Instant::now(),
            _folder: folder,
        };
        driver.up();
        driver
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(event, self.now);
    }

    fn up(&mut self) {
        self.handle(Event::Link(LinkEvent::Up));
    }

    fn down(&mut self) {
        self.handle(Event::Link(LinkEvent::Down {
            reason: "test".to_owned(),
            retry_in: Duration::ZERO,
        }));
    }

    fn hear(&mut self, message: CloudMessage) {
        let envelope = Envelope {
            id: "c1".parse().unwrap(),
            timestamp: Timestamp::from_millis(1),
            message,
        };
        self.handle(Event::Link(LinkEvent::Message(Box::new(envelope))));
    }

    fn submit(&mut self, submit: &TaskSubmit) {
        self.hear(CloudMessage::TaskSubmit(Box::new(submit.clone())));
    }

    fn output(&mut self, submit: &TaskSubmit, text: &str) {
        let event = RunEvent::Output(text.to_owned());
        self.handle(Event::Run(RunKey::of(submit), event));
    }

    fn end(&mut self, submit: &TaskSubmit, outcome: Outcome) {
        let ended = Ended {
            outcome,
            summary: Summary::default(),
            output_tail: "tail".to_owned(),
            error_tail: String::new(),
            duration: Duration::from_secs(1),
        };
        let event = RunEvent::Ended(Box::new(ended));
        self.handle(Event::Run(RunKey::of(submit), event));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.handle(Event::Tick);
    }

    /// Everything that goes out now.
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
        let started = self.session.effects().filter_map(|effect| match effect {
            Effect::Start { submit, .. } => Some(RunKey::of(&submit)),
            _ => None,
        });
        started.collect()
    }

    fn confirm(&mut self, message_id: MessageId) {
        self.hear(CloudMessage::MessageAck(MessageAck { message_id }));
    }
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

#[test]
fn a_refusal_is_repeated_even_when_there_would_be_room_now() {
    let mut driver = Driver::connected();
    let tasks: Vec<_> = (1..=3).map(|n| numbered(n, "x")).collect();
    for task in &tasks {
        driver.submit(task);
    }
    assert_eq!(driver.started(), [RunKey::of(&tasks[0])]);
    driver.end(&tasks[0], Outcome::Succeeded);
    driver.sent();
    driver.submit(&tasks[2]);
    let acks = driver.acks();
    assert!(!acks[0].accepted && acks[0].retryable);
    assert_eq!(driver.started(), [RunKey::of(&tasks[1])]);
}

#[test]
fn a_later_attempt_waits_until_the_earlier_one_has_ended() {
    let mut driver = Driver::connected();
    let first = numbered(1, "x");
    let mut second = first.clone();
    second.attempt = Some(Attempt::after(1));
    driver.submit(&first);
    driver.started();
    driver.submit(&second);
    let effects: Vec<Effect> = driver.session.effects().collect();
    let stopped =
        |effect: &Effect| matches!(effect, Effect::Stop { run, .. } if *run == RunKey::of(&first));
    assert!(effects.iter().any(stopped));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Start { .. }))
    );
    driver.end(&first, Outcome::Stopped);
    assert_eq!(driver.started(), [RunKey::of(&second)]);
    let ends: Vec<_> = driver.sent().into_iter().filter(is_end).collect();
    let AgentMessage::TaskCancelled(cancelled) = &ends[0].message else {
        panic!("{ends:?}");
    };
    assert_eq!(cancelled.attempt, first.attempt);
}

#[test]
fn an_earlier_attempt_that_comes_late_is_refused() {
    let mut driver = Driver::connected();
    let mut second = numbered(1, "x");
    second.attempt = Some(Attempt::after(1));
    driver.submit(&second);
    driver.sent();
    driver.submit(&numbered(1, "x"));
    assert!(!driver.acks()[0].accepted);
    assert_eq!(driver.started(), [RunKey::of(&second)]);
}

#[test]
fn what_a_heartbeat_proved_to_have_arrived_is_not_sent_again() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.output(&task, "one");
    driver.sent();
    driver.pass(Duration::from_secs(20));
    assert_eq!(kinds(&driver.sent()), ["HEARTBEAT_PING"]);
    driver.output(&task, "two");
    driver.sent();
    driver.hear(CloudMessage::HeartbeatPong(Heartbeat::default()));
    driver.down();
    driver.up();
    let again = driver.sent();
    assert_eq!(kinds(&again), ["AGENT_STATUS", "TASK_STREAM"]);
    let AgentMessage::TaskStream(stream) = &again[1].message else {
        panic!("{again:?}");
    };
    assert_eq!((stream.delta.as_str(), stream.seq), ("two", Some(1)));
}

#[test]
fn output_without_a_connection_is_bounded_and_says_so_in_its_place() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.sent();
    driver.down();
    let piece = "x".repeat(20_000);
    for _ in 0..300 {
        driver.output(&task, &piece);
    }
    driver.end(&task, Outcome::Succeeded);
    driver.up();
    let sent = driver.sent();
    let streams: Vec<_> = sent
        .iter()
        .filter_map(|envelope| match &envelope.message {
            AgentMessage::TaskStream(stream) => Some(stream),
            _ => None,
        })
        .collect();
    let bytes: usize = streams.iter().map(|stream| stream.delta.len()).sum();
    assert!(bytes <= outbox::KEPT_BYTES && bytes > outbox::KEPT_BYTES / 10 * 9);
    let dropped = 300 - (streams.len() - 1);
    assert!(streams[0].delta.contains(&format!(
        "{} bytes of output were dropped",
        dropped * 20_000
    )));
    assert!(streams.is_sorted_by_key(|stream| stream.seq));
    assert!(sent.last().is_some_and(is_end));
}

#[test]
fn a_slow_connection_makes_the_commands_wait() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    while driver.session.takes_run_events() {
        driver.output(&task, &"x".repeat(20_000));
    }
    driver.sent();
    assert!(driver.session.takes_run_events());
}

#[test]
fn a_result_is_sent_ever_more_rarely_until_it_is_confirmed() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let first = driver.sent().into_iter().find(is_end).unwrap();
    driver.pass(Duration::from_secs(9));
    assert!(!driver.sent().iter().any(is_end));
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.sent().into_iter().find(is_end), Some(first.clone()));
    driver.pass(Duration::from_secs(19));
    assert!(!driver.sent().iter().any(is_end));
    driver.confirm(first.id);
    driver.pass(Duration::from_secs(30));
    assert!(!driver.sent().iter().any(is_end));
}

#[test]
fn a_cloud_that_never_confirms_is_not_sent_results_for_ever() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let mut ends = 0;
    for _ in 0..2000 {
        driver.pass(Duration::from_secs(10));
        driver.hear(CloudMessage::HeartbeatPong(Heartbeat::default()));
        ends += driver
            .sent()
            .iter()
            .filter(|envelope| is_end(envelope))
            .count();
    }
    assert_eq!(ends, 8);
}

#[test]
fn a_result_that_the_cloud_cannot_read_is_not_sent_again() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.hear(CloudMessage::SystemError(SystemError {
        code: "INVALID_PAYLOAD".to_owned(),
        message: "test".to_owned(),
        message_id: Some(end.id),
    }));
    driver.pass(Duration::from_secs(15));
    assert!(!driver.sent().iter().any(is_end));
}

#[test]
fn cancelling_a_task_that_has_ended_brings_its_result() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.end(&task, Outcome::Succeeded);
    let end = driver.sent().into_iter().find(is_end).unwrap();
    driver.hear(CloudMessage::TaskCancel(TaskCancel {
        task_id: task.task_id,
        reason: "late".to_owned(),
    }));
    assert_eq!(driver.sent().into_iter().find(is_end), Some(end));
}

#[test]
fn silence_ends_a_connection() {
    let mut driver = Driver::connected();
    driver.pass(Duration::from_secs(59));
    assert!(driver.session.link.is_up());
    driver.pass(Duration::from_secs(1));
    let reconnects = |effect: &Effect| matches!(effect, Effect::Reconnect);
    assert!(driver.session.effects().any(|effect| reconnects(&effect)));
    assert!(!driver.session.has_outgoing());
}

#[test]
fn an_agent_that_stops_without_connection_waits_for_one_and_then_gives_up() {
    let mut driver = Driver::connected();
    let task = numbered(1, "x");
    driver.submit(&task);
    driver.down();
    driver.end(&task, Outcome::Succeeded);
    driver.handle(Event::Stop(StopReason::Signal("SIGTERM")));
    let exits = |driver: &mut Driver| {
        let exit = |effect| matches!(effect, Effect::Exit(Ending::Stopped));
        driver.session.effects().any(exit)
    };
    driver.pass(Duration::from_secs(29));
    assert!(!exits(&mut driver));
    driver.pass(Duration::from_secs(1));
    assert!(exits(&mut driver));
}
