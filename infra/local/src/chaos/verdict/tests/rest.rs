use bematic::task::TaskState;

use super::scene::{Scene, at, run};
use crate::chaos::verdict::Charge::{CardDoubled, SlotLeaked, Stuck};

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
        let mut scene = Scene::working();
        scene.stored(state, None);
        scene.is_guilty_of(&[Stuck]);
    }
}

#[test]
fn a_report_that_is_never_confirmed_is_stuck() {
    let mut scene = Scene::good();
    scene.ledger.pop();
    scene.is_guilty_of(&[Stuck]);
}

#[test]
fn a_slot_of_a_task_that_is_over_has_leaked() {
    let mut scene = Scene::good();
    scene.snapshot.agents[0].held.insert(run(1).to_string());
    scene.is_guilty_of(&[SlotLeaked]);
}

#[test]
fn a_slot_of_another_attempt_or_of_no_task_has_leaked() {
    let mut scene = Scene::working();
    scene.stored(dispatched(), None);
    scene.snapshot.agents[0].held.insert(run(1).to_string());
    scene.is_guilty_of(&[Stuck]);
    scene.snapshot.agents[0].held.insert(run(2).to_string());
    scene.is_guilty_of(&[Stuck, SlotLeaked]);
    scene.snapshot.agents[0].held.insert("nonsense".to_owned());
    scene.is_guilty_of(&[Stuck, SlotLeaked, SlotLeaked]);
}

#[test]
fn two_messages_of_one_task_are_one_too_many() {
    let mut scene = Scene::good();
    scene.shown(":gear: Running on agent a: do it");
    scene.is_guilty_of(&[CardDoubled]);
}
