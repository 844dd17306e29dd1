use bematic::task::FailureCode;

use super::recorded_run::{ACK, RecordedRun, completed, done, failed, run};
use crate::chaos::verdict::ViolationKind::{Lost, RunTwice};
use bematic_test_agent::{AgentEvent, AttemptEvent};

#[test]
fn an_attempt_must_not_be_begun_by_two_agents() {
    let mut recorded = RecordedRun::good();
    let other = "b".parse().unwrap();
    recorded.note(other, AgentEvent::Run(run(1), AttemptEvent::Started), 1500);
    recorded.has_violations(&[RunTwice]);
}

#[test]
fn an_attempt_must_not_be_begun_twice_by_its_agent() {
    let mut recorded = RecordedRun::good();
    recorded.attempt_event(1, AttemptEvent::Started, 1500);
    recorded.has_violations(&[RunTwice]);
}

#[test]
fn an_attempt_of_another_task_is_none_of_this_one() {
    let mut recorded = RecordedRun::good();
    recorded.add_neighbour();
    recorded.has_violations(&[]);
    assert_eq!(recorded.verdict().repeated, 0);
}

#[test]
fn a_message_that_came_twice_is_no_violation() {
    let mut recorded = RecordedRun::good();
    let doubled = recorded.ledger[0].clone();
    recorded.ledger.push(doubled);
    recorded.has_violations(&[]);
}

/// The first attempt works; the second is sent so many milliseconds after it, and completes.
fn sent_again_after(millis: u64) -> RecordedRun {
    let mut recorded = RecordedRun::working();
    recorded.ran(2, 1000 + millis);
    recorded.attempt_event(1, AttemptEvent::Died, 40_000);
    recorded.ended(2, done(2), 41_000);
    recorded.confirmed(2, 41_100);
    recorded.stored(completed(2), Some("did it 2"));
    recorded.shown(":white_check_mark: Completed in 1 s: do it");
    recorded
}

#[test]
fn the_next_attempt_must_wait_until_the_one_at_work_cannot_be_acknowledged_any_more() {
    sent_again_after(ACK - 1).has_violations(&[RunTwice]);
    let in_time = sent_again_after(ACK);
    in_time.has_violations(&[]);
    assert_eq!((in_time.verdict().repeated, in_time.verdict().died), (1, 1));
}

#[test]
fn the_next_attempt_need_not_wait_for_one_that_was_refused_or_if_somebody_asked_for_it() {
    let mut recorded = sent_again_after(10);
    recorded.attempt_event(1, AttemptEvent::Refused, 1001);
    recorded.has_violations(&[]);
    let mut recorded = sent_again_after(10);
    recorded.retried();
    recorded.has_violations(&[]);
    assert_eq!(recorded.verdict().repeated, 0);
}

#[test]
fn no_attempt_may_follow_one_whose_end_was_confirmed() {
    let mut recorded = RecordedRun::good();
    recorded.ran(2, 1000 + 2 * ACK);
    recorded.ended(2, done(2), 60_000);
    recorded.confirmed(2, 60_100);
    recorded.late(2, "did it 2");
    recorded.has_violations(&[RunTwice, RunTwice]);
    let whys = recorded.verdict().violations;
    assert!(whys[0].why.contains("yet another attempt"), "{whys:#?}");
    assert!(whys[1].why.contains("had been sent"), "{whys:#?}");
}

#[test]
fn an_attempt_must_not_be_sent_anew_once_its_end_was_confirmed() {
    let mut recorded = RecordedRun::good();
    recorded.offered(1, 2050);
    recorded.has_violations(&[]);
    recorded.offered(1, 2101);
    recorded.has_violations(&[RunTwice]);
}

#[test]
fn an_earlier_attempt_must_not_end_a_task() {
    let mut recorded = sent_again_after(ACK);
    recorded.ended(1, done(1), 41_050);
    recorded.confirmed(1, 41_060);
    recorded.stored(completed(1), Some("did it 1"));
    recorded.has_violations(&[Lost, RunTwice]);
    recorded.late(2, "did it 2");
    recorded.has_violations(&[RunTwice]);
}

#[test]
fn an_earlier_attempts_error_must_not_end_a_task() {
    let mut recorded = RecordedRun::working();
    recorded.attempt_event(1, AttemptEvent::Died, 2000);
    recorded.offered(2, 1000 + ACK);
    recorded.stored(failed(1, FailureCode::AgentError), None);
    recorded.shown(":x: Failed: do it");
    recorded.has_violations(&[RunTwice]);
    recorded.stored(failed(1, FailureCode::AgentLost), None);
    recorded.has_violations(&[]);
}
