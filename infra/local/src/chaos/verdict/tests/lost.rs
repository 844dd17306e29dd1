use bematic::task::{FailureCode, TaskState};

use super::scene::{Scene, cancelled, completed, done, failed, task};
use crate::chaos::verdict::Charge::{Lost, Stuck};
use bematic_test_agent::Report;

#[test]
fn a_task_that_an_operator_was_told_of_must_be_in_the_store() {
    let mut scene = Scene::good();
    scene.ledger.clear();
    scene.snapshot.tasks.clear();
    scene.is_guilty_of(&[Lost]);
}

#[test]
fn a_task_that_nobody_was_told_of_may_be_missing() {
    let mut scene = Scene::good();
    scene.operators.tasks.clear();
    scene.is_guilty_of(&[]);
}

#[test]
fn a_task_that_ran_must_be_in_the_store_though_nobody_was_told_of_it() {
    let mut scene = Scene::good();
    scene.operators.tasks.clear();
    scene.snapshot.tasks.clear();
    scene.is_guilty_of(&[Lost]);
}

#[test]
fn a_confirmed_result_must_be_stored_to_the_letter() {
    let mut scene = Scene::good();
    scene.stored(completed(1), Some("something else"));
    scene.is_guilty_of(&[Lost]);
    scene.stored(completed(1), None);
    scene.is_guilty_of(&[Lost]);
}

#[test]
fn a_confirmed_result_must_not_be_replaced_by_a_failure() {
    let mut scene = Scene::good();
    scene.snapshot.cards.clear();
    scene.stored(failed(1, FailureCode::AgentLost), None);
    scene.shown(":x: Failed after 1 s: do it");
    scene.is_guilty_of(&[Lost]);
    scene.late(1, "did it 1");
    scene.is_guilty_of(&[]);
}

#[test]
fn a_late_report_must_be_that_of_the_attempt_and_say_what_it_said() {
    let mut scene = Scene::good();
    scene.ran(2, 30_000);
    scene.ended(2, done(2), 31_000);
    scene.confirmed(2, 31_100);
    scene.stored(completed(2), Some("did it 2"));
    scene.late(2, "did it 1");
    scene.is_guilty_of(&[Lost, crate::chaos::verdict::Charge::RunTwice]);
    scene.late(1, "did it 1");
    scene.is_guilty_of(&[]);
}

#[test]
fn a_confirmed_failure_must_be_stored_unless_it_was_tried_again() {
    let mut scene = Scene::working();
    scene.ended(1, Report::Failed, 2000);
    scene.confirmed(1, 2100);
    scene.stored(failed(1, FailureCode::AgentError), None);
    scene.shown(":x: Failed after 1 s: do it");
    scene.is_guilty_of(&[]);
    scene.stored(failed(1, FailureCode::Expired), None);
    scene.is_guilty_of(&[Lost]);
    scene.retried();
    scene.stored(failed(2, FailureCode::Expired), None);
    scene.is_guilty_of(&[]);
}

#[test]
fn a_confirmed_stop_must_be_stored() {
    let mut scene = Scene::working();
    scene.ended(1, Report::Cancelled, 2000);
    scene.confirmed(1, 2100);
    scene.stored(cancelled(1), None);
    scene.shown(":no_entry_sign: Cancelled after 1 s: do it");
    scene.is_guilty_of(&[]);
    scene.stored(TaskState::NEW, None);
    scene.is_guilty_of(&[Lost, Stuck]);
}

#[test]
fn what_was_not_confirmed_is_not_lost_but_stuck() {
    let mut scene = Scene::good();
    scene.ledger.pop();
    scene.snapshot.cards.clear();
    scene.stored(failed(1, FailureCode::AgentLost), None);
    scene.shown(":x: Failed: do it");
    scene.is_guilty_of(&[Stuck]);
}

#[test]
fn a_task_that_is_over_must_be_shown_as_it_is() {
    let mut scene = Scene::good();
    scene.snapshot.cards.clear();
    scene.is_guilty_of(&[Lost]);
    scene.shown(":gear: Running on agent a: Completed things");
    scene.is_guilty_of(&[Lost]);
    scene
        .snapshot
        .cards
        .insert(task(), vec![":x: Failed: do it".to_owned()]);
    scene.is_guilty_of(&[Lost]);
}
