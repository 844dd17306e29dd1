use bematic::task::TaskState;

use super::recorded_run::{RecordedRun, at, run};
use crate::chaos::verdict::ViolationKind::{CardDoubled, SlotLeaked, Stuck};

fn dispatched() -> TaskState {
    TaskState::Dispatched {
        attempt: run(1).attempt,
        spent: 0,
        dispatched_at: at(1000),
        cancel: None,
    }
}

#[test]
fn a_task_that_is_not_over_is_stuck() {
    for state in [TaskState::NEW, dispatched()] {
        let mut recorded = RecordedRun::working();
        recorded.stored(state, None);
        recorded.has_violations(&[Stuck]);
    }
}

#[test]
fn a_report_that_is_never_confirmed_is_stuck() {
    let mut recorded = RecordedRun::good();
    recorded.ledger.pop();
    recorded.has_violations(&[Stuck]);
}

#[test]
fn a_slot_of_a_task_that_is_over_has_leaked() {
    let mut recorded = RecordedRun::good();
    recorded.snapshot.agents[0].held.insert(run(1).to_string());
    recorded.has_violations(&[SlotLeaked]);
}

#[test]
fn a_slot_of_another_attempt_or_of_no_task_has_leaked() {
    let mut recorded = RecordedRun::working();
    recorded.stored(dispatched(), None);
    recorded.snapshot.agents[0].held.insert(run(1).to_string());
    recorded.has_violations(&[Stuck]);
    recorded.snapshot.agents[0].held.insert(run(2).to_string());
    recorded.has_violations(&[Stuck, SlotLeaked]);
    recorded.snapshot.agents[0]
        .held
        .insert("nonsense".to_owned());
    recorded.has_violations(&[Stuck, SlotLeaked, SlotLeaked]);
}

#[test]
fn two_messages_of_one_task_are_one_too_many() {
    let mut recorded = RecordedRun::good();
    recorded.shown(":gear: Running on agent a: do it");
    recorded.has_violations(&[CardDoubled]);
}
