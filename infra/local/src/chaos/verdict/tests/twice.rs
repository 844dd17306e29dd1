use bematic::task::FailureCode;

use super::scene::{ACK, Scene, completed, done, failed, run};
use crate::chaos::verdict::Charge::{Lost, RunTwice};
use bematic_test_agent::{Deed, What};

#[test]
fn an_attempt_must_not_be_begun_by_two_agents() {
    let mut scene = Scene::good();
    let other = "b".parse().unwrap();
    scene.note(other, What::Run(run(1), Deed::Started), 1500);
    scene.is_guilty_of(&[RunTwice]);
}

#[test]
fn an_attempt_must_not_be_begun_twice_by_its_agent() {
    let mut scene = Scene::good();
    scene.deed(1, Deed::Started, 1500);
    scene.is_guilty_of(&[RunTwice]);
}

#[test]
fn an_attempt_of_another_task_is_none_of_this_one() {
    let mut scene = Scene::good();
    scene.add_neighbour();
    scene.is_guilty_of(&[]);
    assert_eq!(scene.verdict().repeated, 0);
}

#[test]
fn a_message_that_came_twice_is_no_offence() {
    let mut scene = Scene::good();
    let doubled = scene.ledger[0].clone();
    scene.ledger.push(doubled);
    scene.is_guilty_of(&[]);
}

/// The first attempt works; the second is sent so many milliseconds after it, and completes.
fn sent_again_after(millis: u64) -> Scene {
    let mut scene = Scene::working();
    scene.ran(2, 1000 + millis);
    scene.deed(1, Deed::Died, 40_000);
    scene.ended(2, done(2), 41_000);
    scene.confirmed(2, 41_100);
    scene.stored(completed(2), Some("did it 2"));
    scene.shown(":white_check_mark: Completed in 1 s: do it");
    scene
}

#[test]
fn the_next_attempt_must_wait_until_the_one_at_work_cannot_be_acknowledged_any_more() {
    sent_again_after(ACK - 1).is_guilty_of(&[RunTwice]);
    let in_time = sent_again_after(ACK);
    in_time.is_guilty_of(&[]);
    assert_eq!((in_time.verdict().repeated, in_time.verdict().died), (1, 1));
}

#[test]
fn the_next_attempt_need_not_wait_for_one_that_was_refused_or_if_somebody_asked_for_it() {
    let mut scene = sent_again_after(10);
    scene.deed(1, Deed::Refused, 1001);
    scene.is_guilty_of(&[]);
    let mut scene = sent_again_after(10);
    scene.retried();
    scene.is_guilty_of(&[]);
    assert_eq!(scene.verdict().repeated, 0);
}

#[test]
fn no_attempt_may_follow_one_whose_end_was_confirmed() {
    let mut scene = Scene::good();
    scene.ran(2, 1000 + 2 * ACK);
    scene.ended(2, done(2), 60_000);
    scene.confirmed(2, 60_100);
    scene.late(2, "did it 2");
    scene.is_guilty_of(&[RunTwice, RunTwice]);
    let whys = scene.verdict().offences;
    assert!(whys[0].why.contains("yet another attempt"), "{whys:#?}");
    assert!(whys[1].why.contains("had been sent"), "{whys:#?}");
}

#[test]
fn an_attempt_must_not_be_sent_anew_once_its_end_was_confirmed() {
    let mut scene = Scene::good();
    scene.offered(1, 2050);
    scene.is_guilty_of(&[]);
    scene.offered(1, 2101);
    scene.is_guilty_of(&[RunTwice]);
}

#[test]
fn an_earlier_attempt_must_not_end_a_task() {
    let mut scene = sent_again_after(ACK);
    scene.ended(1, done(1), 41_050);
    scene.confirmed(1, 41_060);
    scene.stored(completed(1), Some("did it 1"));
    scene.is_guilty_of(&[Lost, RunTwice]);
    scene.late(2, "did it 2");
    scene.is_guilty_of(&[RunTwice]);
}

#[test]
fn an_earlier_attempts_error_must_not_end_a_task() {
    let mut scene = Scene::working();
    scene.deed(1, Deed::Died, 2000);
    scene.offered(2, 1000 + ACK);
    scene.stored(failed(1, FailureCode::AgentError), None);
    scene.shown(":x: Failed: do it");
    scene.is_guilty_of(&[RunTwice]);
    scene.stored(failed(1, FailureCode::AgentLost), None);
    scene.is_guilty_of(&[]);
}
