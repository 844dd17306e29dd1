use bematic_protocol::ids::Attempt;
use serde_json::Value;

use super::*;

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";
const OTHER: &str = "0198c0de-0000-7000-8000-000000000002";

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn run(task: &str, attempt: u32) -> Slot {
    Slot {
        task_id: task.parse().unwrap(),
        attempt: Attempt::try_from(attempt).unwrap(),
    }
}

/// One that takes one task at a time, never refuses, always completes within 100 ms.
fn agent(ledger: &Ledger) -> Core {
    let temper = Temper {
        work: 99..100,
        long_work: 99..100,
        long: 0.0,
        mute: 0.0,
        talk: 1.0,
        fail: 0.0,
        refuse: 0.0,
        work_on: 0.0,
    };
    let id = "a".parse().unwrap();
    Core::new(id, 1, temper, 7, ledger.clone(), at(0))
}

fn submit(core: &mut Core, run: Slot, millis: u64) -> Vec<Value> {
    let heard = Heard::Submit {
        run,
        message: format!("m{millis}"),
        sent_at: at(millis),
    };
    parsed(core.heard(heard, at(millis)))
}

fn parsed(said: Vec<String>) -> Vec<Value> {
    let read = |text: String| serde_json::from_str(&text).unwrap();
    said.into_iter().map(read).collect()
}

fn kinds(said: &[Value]) -> Vec<&str> {
    said.iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect()
}

fn starts(ledger: &Ledger) -> usize {
    ledger.count(|what| matches!(what, What::Run(_, Deed::Started)))
}

#[test]
fn a_task_is_acknowledged_told_of_and_completed_until_that_is_confirmed() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    assert_eq!(kinds(&submit(&mut core, run(TASK, 1), 0)), ["TASK_ACK"]);
    let said = parsed(core.due(at(200)));
    let expected = ["TASK_PROGRESS", "TASK_STREAM", "TASK_COMPLETE"];
    assert_eq!(kinds(&said), expected);
    assert!(!core.is_idle());
    let again = parsed(core.due(at(5300)));
    assert_eq!(
        again,
        [said[2].clone()],
        "the same message, with the same id"
    );
    let id = said[2]["id"].as_str().unwrap().to_owned();
    assert!(core.heard(Heard::Confirmed(id), at(5400)).is_empty());
    assert!(core.is_idle());
    assert_eq!(kinds(&parsed(core.due(at(30_000)))), ["HEARTBEAT_PING"]);
}

#[test]
fn an_attempt_is_begun_once_also_after_a_kill() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    submit(&mut core, run(TASK, 1), 0);
    assert_eq!(kinds(&submit(&mut core, run(TASK, 1), 10)), ["TASK_ACK"]);
    core.killed(at(20));
    assert!(submit(&mut core, run(TASK, 1), 30).is_empty());
    assert_eq!(kinds(&parsed(core.due(at(9000)))), [""; 0]);
    assert_eq!(starts(&ledger), 1);
    assert_eq!(
        ledger.count(|what| matches!(what, What::Run(_, Deed::Died))),
        1
    );
}

#[test]
fn a_kill_loses_work_but_no_report() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    submit(&mut core, run(TASK, 1), 0);
    core.due(at(200));
    submit(&mut core, run(OTHER, 1), 300);
    core.killed(at(310));
    let said = parsed(core.connected(at(400)));
    assert_eq!(kinds(&said), ["AGENT_STATUS", "TASK_COMPLETE"]);
    assert_eq!(said[0]["payload"]["activeTasks"], json!([]));
}

#[test]
fn work_goes_on_without_a_connection() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    submit(&mut core, run(TASK, 1), 0);
    core.disconnected(at(10));
    let said = parsed(core.connected(at(20)));
    assert_eq!(kinds(&said), ["AGENT_STATUS", "TASK_ACK"]);
    assert_eq!(said[0]["payload"]["activeTasks"], json!([TASK]));
    assert_eq!(
        kinds(&parsed(core.due(at(200)))).last(),
        Some(&"TASK_COMPLETE")
    );
}

#[test]
fn a_newer_attempt_ends_the_one_before_and_an_older_one_is_ignored() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    submit(&mut core, run(TASK, 1), 0);
    let said = submit(&mut core, run(TASK, 3), 10);
    assert_eq!(kinds(&said), ["TASK_CANCELLED", "TASK_ACK"]);
    assert_eq!(said[0]["payload"]["attempt"], 1);
    assert!(submit(&mut core, run(TASK, 2), 20).is_empty());
}

#[test]
fn a_full_agent_hands_back_and_a_stopped_task_is_reported_so() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    submit(&mut core, run(TASK, 1), 0);
    let said = submit(&mut core, run(OTHER, 1), 10);
    assert_eq!(said[0]["payload"]["accepted"], false);
    let task = run(TASK, 1).task_id;
    let said = parsed(core.heard(Heard::Cancel(task), at(20)));
    assert_eq!(kinds(&said), ["TASK_CANCELLED"]);
    assert!(core.heard(Heard::Cancel(task), at(30)).is_empty());
}

#[test]
fn a_ping_is_echoed() {
    let ledger = Ledger::default();
    let mut core = agent(&ledger);
    let said = parsed(core.heard(Heard::Ping(at(5)), at(10)));
    assert_eq!(said[0]["type"], "HEARTBEAT_PONG");
    assert_eq!(said[0]["payload"]["serverTime"], at(5).as_millis());
}
