use super::recorded_run::{RecordedRun, agent, done};
use crate::chaos::verdict::HandshakeToDispatchTimes;
use bematic_test_agent::AgentEvent;

/// The task of the good run was made at 0 and sent at 1000.
fn connected_at(millis: &[u64]) -> HandshakeToDispatchTimes {
    let mut recorded = RecordedRun::good();
    let ran = std::mem::take(&mut recorded.ledger);
    for (nth, at) in millis.iter().enumerate() {
        if nth > 0 {
            recorded.note(agent(), AgentEvent::Disconnected, *at);
        }
        recorded.note(agent(), AgentEvent::Connected, *at);
    }
    recorded.ledger.extend(ran);
    recorded.verdict().reconnects
}

#[test]
fn it_counts_from_the_handshake_until_all_that_waited_was_offered() {
    let found = connected_at(&[400]);
    assert_eq!((found.drained, found.cut_short), (1, 0));
    assert_eq!((found.p50, found.p95, found.max), (600, 600, 600));
}

#[test]
fn a_connection_without_work_waiting_does_not_count() {
    let mut recorded = RecordedRun::good();
    recorded.note(agent(), AgentEvent::Connected, 5000);
    assert_eq!(
        recorded.verdict().reconnects,
        HandshakeToDispatchTimes::default()
    );
}

#[test]
fn a_connection_that_ends_before_is_cut_short() {
    let found = connected_at(&[400, 700]);
    assert_eq!((found.drained, found.cut_short, found.max), (1, 1, 300));
}

#[test]
fn busy_slots_are_as_good_as_an_empty_queue() {
    let mut recorded = RecordedRun::good();
    let late = recorded.snapshot.tasks.values().next().unwrap().clone();
    recorded.ledger.clear();
    recorded.note(agent(), AgentEvent::Connected, 100);
    let mut record = |number: u8, event, at| {
        let id = format!("0198c0de-0000-7000-8000-0000000000a{number}");
        let task_id = id.parse().unwrap();
        let run = bematic_test_agent::RunKey {
            task_id,
            ..super::recorded_run::run(1)
        };
        recorded.snapshot.tasks.insert(task_id, late.clone());
        recorded.note(agent(), AgentEvent::Run(run, event), at);
    };
    for (number, at) in [(1, 200), (2, 300), (3, 900)] {
        let message = number.to_string();
        let sent_at = super::recorded_run::at(at);
        record(number, super::offer(message, sent_at), at);
        record(number, bematic_test_agent::AttemptEvent::Started, at);
    }
    record(1, bematic_test_agent::AttemptEvent::Reported(done(1)), 1000);
    let found = recorded.verdict().reconnects;
    assert_eq!((found.drained, found.max), (1, 200), "the agent takes two");
}
