use serde_json::{Value, json};

use super::*;
use crate::TypeSpelling;

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";
const OTHER: &str = "0198c0de-0000-7000-8000-000000000002";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn run(task: &str, attempt: u32) -> RunKey {
    RunKey {
        task_id: task.parse().unwrap(),
        attempt: attempt.try_into().unwrap(),
    }
}

/// An agent that takes one task at a time, reports progress, and completes it within 100 ms.
fn agent(ledger: &Ledger) -> Agent {
    scripted(ledger, |offer| {
        let (run, progress) = (offer.run_key(), json!({ "progress": 50 }));
        Plan::accept()
            .with_message_at(
                Duration::from_millis(30),
                AgentMessage::progress(run, progress),
            )
            .with_message_at(
                Duration::from_millis(50),
                AgentMessage::stream(run, 0, "line\n"),
            )
            .with_message_at(
                Duration::from_millis(100),
                AgentMessage::complete(run, "done"),
            )
    })
}

fn scripted(ledger: &Ledger, script: impl FnMut(&Offer) -> Plan + Send + 'static) -> Agent {
    let settings = Settings {
        capacity: 1,
        ..Settings::new("a".parse().unwrap())
    };
    Agent::new(settings, Box::new(script), ledger.clone(), at(0))
}

fn receive(agent: &mut Agent, kind: &str, payload: &Value, millis: u64) -> Vec<EnvelopedMessage> {
    let message = json!({
        "id": format!("m{millis}"), "type": kind, "payload": payload, "timestamp": at(millis),
    });
    agent.receive(
        &CloudMessage::read(&message.to_string()).unwrap(),
        at(millis),
    )
}

fn submit(agent: &mut Agent, run: RunKey, millis: u64) -> Vec<EnvelopedMessage> {
    let payload = json!({ "taskId": run.task_id, "attempt": run.attempt });
    receive(agent, "TASK_SUBMIT", &payload, millis)
}

fn cancel(agent: &mut Agent, task: &str, millis: u64) -> Vec<EnvelopedMessage> {
    let payload = json!({ "taskId": task, "reason": "stop" });
    receive(agent, "TASK_CANCEL", &payload, millis)
}

fn kinds(sent: &[EnvelopedMessage]) -> Vec<&str> {
    sent.iter().map(|sent| sent.message.kind.as_str()).collect()
}

fn count(ledger: &Ledger, wanted: &AttemptEvent) -> usize {
    ledger.count_matching(|what| matches!(what, AgentEvent::Run(_, event) if event == wanted))
}

#[test]
fn a_task_is_acknowledged_reported_and_completed_until_that_is_confirmed() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    assert_eq!(kinds(&submit(&mut agent, run(TASK, 1), 0)), ["TASK_ACK"]);
    let sent = agent.take_due_messages(at(200));
    let expected = ["TASK_PROGRESS", "TASK_STREAM", "TASK_COMPLETE"];
    assert_eq!(kinds(&sent), expected);
    assert!(!agent.is_idle());
    let again = agent.take_due_messages(at(5300));
    assert_eq!(
        again,
        [sent[2].clone()],
        "the same message, with the same id"
    );
    let confirmed = json!({ "messageId": sent[2].id });
    assert!(receive(&mut agent, "message:ack", &confirmed, 5400).is_empty());
    assert!(agent.is_idle());
    assert_eq!(
        kinds(&agent.take_due_messages(at(30_000))),
        ["HEARTBEAT_PING"]
    );
    let reported = AttemptEvent::Reported(TerminalReport::Completed("done".to_owned()));
    assert_eq!(count(&ledger, &reported), 1);
    assert_eq!(count(&ledger, &AttemptEvent::Confirmed), 1);
}

#[test]
fn an_attempt_is_begun_once_also_after_a_kill() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    assert_eq!(kinds(&submit(&mut agent, run(TASK, 1), 10)), ["TASK_ACK"]);
    agent.on_process_restarted(at(20));
    assert!(submit(&mut agent, run(TASK, 1), 30).is_empty());
    assert!(agent.take_due_messages(at(9000)).is_empty());
    assert_eq!(count(&ledger, &AttemptEvent::Started), 1);
    assert_eq!(count(&ledger, &AttemptEvent::Died), 1);
}

#[test]
fn a_kill_loses_work_but_no_terminal_message() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    agent.take_due_messages(at(200));
    submit(&mut agent, run(OTHER, 1), 300);
    agent.on_process_restarted(at(310));
    let sent = agent.on_connected(at(400));
    assert_eq!(kinds(&sent), ["AGENT_STATUS", "TASK_COMPLETE"]);
    assert_eq!(sent[0].message.payload["activeTasks"], json!([]));
}

#[test]
fn work_goes_on_without_a_connection() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    agent.on_disconnected(at(10));
    let sent = agent.on_connected(at(20));
    assert_eq!(kinds(&sent), ["AGENT_STATUS", "TASK_ACK"]);
    assert_eq!(sent[0].message.payload["activeTasks"], json!([TASK]));
    assert_eq!(
        kinds(&agent.take_due_messages(at(200))).last(),
        Some(&"TASK_COMPLETE")
    );
}

#[test]
fn a_newer_attempt_ends_the_one_before_and_an_older_one_is_ignored() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    let sent = submit(&mut agent, run(TASK, 3), 10);
    assert_eq!(kinds(&sent), ["TASK_CANCELLED", "TASK_ACK"]);
    assert_eq!(sent[0].message.payload["attempt"], 1);
    assert!(submit(&mut agent, run(TASK, 2), 20).is_empty());
    assert!(agent.running.values().eq(&[run(TASK, 3)]));
}

#[test]
fn a_full_agent_refuses_and_a_cancelled_task_is_reported_as_cancelled() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    let sent = submit(&mut agent, run(OTHER, 1), 10);
    let refusal = &sent[0].message.payload;
    assert_eq!(refusal["accepted"], false);
    assert_eq!(refusal["spent"], false);
    assert_eq!(kinds(&cancel(&mut agent, TASK, 20)), ["TASK_CANCELLED"]);
    assert!(cancel(&mut agent, TASK, 30).is_empty());
}

#[test]
fn a_script_refuses_stays_silent_or_ignores_a_cancellation() {
    let ledger = Ledger::default();
    let mut agent = scripted(&ledger, |offer| match offer.attempt {
        1 => Plan::refuse("not now"),
        _ => Plan {
            answer: OfferResponse::Silent,
            cancellable: false,
            ..Plan::accept()
        },
    });
    let sent = submit(&mut agent, run(TASK, 1), 0);
    assert_eq!(sent[0].message.payload["reason"], "not now");
    assert!(agent.is_idle());
    assert!(submit(&mut agent, run(TASK, 2), 10).is_empty());
    assert!(cancel(&mut agent, TASK, 20).is_empty());
    assert!(agent.running.values().eq(&[run(TASK, 2)]));
    assert_eq!(count(&ledger, &AttemptEvent::Refused), 1);
}

#[test]
fn a_ping_is_echoed_with_the_tasks_that_run() {
    let ledger = Ledger::default();
    let mut agent = agent(&ledger);
    submit(&mut agent, run(TASK, 1), 0);
    let sent = receive(
        &mut agent,
        "HEARTBEAT_PING",
        &json!({ "serverTime": at(5) }),
        10,
    );
    assert_eq!(kinds(&sent), ["HEARTBEAT_PONG"]);
    assert_eq!(sent[0].message.payload["serverTime"], json!(at(5)));
    assert_eq!(sent[0].message.payload["tasks"], json!([TASK]));
}

#[test]
fn messages_are_written_and_read_in_either_spelling() {
    let sent = AgentMessage::ack(run(TASK, 2))
        .without("attempt")
        .in_envelope("m1", at(0));
    assert_eq!(
        sent.to_json_value(TypeSpelling::Colons),
        json!({ "id": "m1", "type": "task:ack", "timestamp": at(0),
            "payload": { "taskId": TASK, "accepted": true } })
    );
    for spelling in [TypeSpelling::Canonical, TypeSpelling::Colons] {
        let text = AgentMessage::new("TASK_SUBMIT", json!({ "taskId": TASK, "attempt": 2 }))
            .in_envelope("m2", at(1))
            .text(spelling);
        let read = CloudMessage::read(&text).unwrap();
        assert_eq!(
            (read.kind.as_str(), read.spelling),
            ("TASK_SUBMIT", spelling)
        );
        assert_eq!(read.offer().unwrap().run_key(), run(TASK, 2));
    }
    assert!(CloudMessage::read("hello?").is_err());
}

#[test]
fn no_two_messages_have_the_same_id_or_time() {
    let mut sequence = EnvelopeSequence::new("a");
    let mut seal = || sequence.seal(AgentMessage::ping(&[""; 0]), at(0));
    let (first, second) = (seal(), seal());
    assert_eq!((first.id.as_str(), second.id.as_str()), ("a-1", "a-2"));
    assert!(first.at < second.at);
}
