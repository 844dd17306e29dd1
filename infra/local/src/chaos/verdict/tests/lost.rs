use bematic::task::{FailureCode, TaskState};

use super::recorded_run::{RecordedRun, cancelled, completed, done, failed, task};
use crate::chaos::verdict::ViolationKind::{Lost, Stuck};
use bematic_test_agent::TerminalReport;

#[test]
fn a_task_that_an_operator_was_told_of_must_be_in_the_store() {
    let mut recorded = RecordedRun::good();
    recorded.ledger.clear();
    recorded.snapshot.tasks.clear();
    recorded.has_violations(&[Lost]);
}

#[test]
fn a_task_that_nobody_was_told_of_may_be_missing() {
    let mut recorded = RecordedRun::good();
    recorded.operators.tasks.clear();
    recorded.has_violations(&[]);
}

#[test]
fn a_task_that_ran_must_be_in_the_store_though_nobody_was_told_of_it() {
    let mut recorded = RecordedRun::good();
    recorded.operators.tasks.clear();
    recorded.snapshot.tasks.clear();
    recorded.has_violations(&[Lost]);
}

#[test]
fn a_confirmed_result_must_be_stored_to_the_letter() {
    let mut recorded = RecordedRun::good();
    recorded.stored(completed(1), Some("something else"));
    recorded.has_violations(&[Lost]);
    recorded.stored(completed(1), None);
    recorded.has_violations(&[Lost]);
}

#[test]
fn a_confirmed_result_must_not_be_replaced_by_a_failure() {
    let mut recorded = RecordedRun::good();
    recorded.snapshot.cards.clear();
    recorded.stored(failed(1, FailureCode::AgentLost), None);
    recorded.shown(":x: Failed after 1 s: do it");
    recorded.has_violations(&[Lost]);
    recorded.late(1, "did it 1");
    recorded.has_violations(&[]);
}

#[test]
fn a_late_report_must_be_that_of_the_attempt_and_say_what_it_said() {
    let mut recorded = RecordedRun::good();
    recorded.ran(2, 30_000);
    recorded.ended(2, done(2), 31_000);
    recorded.confirmed(2, 31_100);
    recorded.stored(completed(2), Some("did it 2"));
    recorded.late(2, "did it 1");
    recorded.has_violations(&[Lost, crate::chaos::verdict::ViolationKind::RunTwice]);
    recorded.late(1, "did it 1");
    recorded.has_violations(&[]);
}

#[test]
fn a_confirmed_failure_must_be_stored_unless_it_was_tried_again() {
    let mut recorded = RecordedRun::working();
    recorded.ended(1, TerminalReport::Failed, 2000);
    recorded.confirmed(1, 2100);
    recorded.stored(failed(1, FailureCode::AgentError), None);
    recorded.shown(":x: Failed after 1 s: do it");
    recorded.has_violations(&[]);
    recorded.stored(failed(1, FailureCode::Expired), None);
    recorded.has_violations(&[Lost]);
    recorded.retried();
    recorded.stored(failed(2, FailureCode::Expired), None);
    recorded.has_violations(&[]);
}

#[test]
fn a_confirmed_stop_must_be_stored() {
    let mut recorded = RecordedRun::working();
    recorded.ended(1, TerminalReport::Cancelled, 2000);
    recorded.confirmed(1, 2100);
    recorded.stored(cancelled(1), None);
    recorded.shown(":no_entry_sign: Cancelled after 1 s: do it");
    recorded.has_violations(&[]);
    recorded.stored(TaskState::NEW, None);
    recorded.has_violations(&[Lost, Stuck]);
}

#[test]
fn what_was_not_confirmed_is_not_lost_but_stuck() {
    let mut recorded = RecordedRun::good();
    recorded.ledger.pop();
    recorded.snapshot.cards.clear();
    recorded.stored(failed(1, FailureCode::AgentLost), None);
    recorded.shown(":x: Failed: do it");
    recorded.has_violations(&[Stuck]);
}

#[test]
fn a_task_that_is_over_must_be_shown_as_it_is() {
    let mut recorded = RecordedRun::good();
    recorded.snapshot.cards.clear();
    recorded.has_violations(&[Lost]);
    recorded.shown(":gear: Running on agent a: Completed things");
    recorded.has_violations(&[Lost]);
    recorded
        .snapshot
        .cards
        .insert(task(), vec![":x: Failed: do it".to_owned()]);
    recorded.has_violations(&[Lost]);
}
