use std::time::Duration;

use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent, FailureKind};
use bematic::task::TaskState;

use super::scene::{Scene, agent, at, run};
use crate::chaos::verdict::Charge::{BreakerWrong, Stuck};

const CONFIG: BreakerConfig = BreakerConfig {
    failure_threshold_percentage: 50,
    minimum_request_count: 1,
    window_size_ms: 600_000,
    recovery_timeout_ms: 1000,
    success_threshold_count: 3,
    half_open_permit_lease_ms: 600_000,
    consecutive_failure_threshold: 0,
    slow_call_duration_ms: 0,
    slow_call_threshold_percentage: 100,
};

/// The agent's breaker after these events, a second apart; its record says the same.
fn broken(scene: &mut Scene, events: impl IntoIterator<Item = BreakerEvent>) {
    let mut breaker = Breaker::default();
    for (event, seconds) in events.into_iter().zip(1..) {
        breaker = breaker.after(event, &CONFIG, at(seconds * 1000)).next;
    }
    scene.snapshot.agents[0].gate = breaker.gate();
    scene.snapshot.breakers.insert(agent(), breaker);
}

fn failed(attempt: u32) -> BreakerEvent {
    BreakerEvent::Failure(run(attempt).to_string(), FailureKind::Error, "no".into())
}

fn asked(attempt: u32) -> BreakerEvent {
    BreakerEvent::Allow(run(attempt).to_string(), Duration::ZERO)
}

#[test]
fn a_breaker_that_opened_and_is_tried_is_counted_and_no_offence() {
    let mut scene = Scene::working();
    scene.stored(dispatched(2), None);
    broken(&mut scene, [failed(1), asked(2)]);
    assert_eq!(scene.verdict().opened, 1);
    scene.is_guilty_of(&[Stuck]);
}

#[test]
fn a_permit_of_an_attempt_that_is_over_has_leaked() {
    let mut scene = Scene::good();
    broken(&mut scene, [failed(2), asked(1)]);
    scene.is_guilty_of(&[BreakerWrong]);
}

#[test]
fn more_outcomes_than_attempts_are_wrong() {
    let mut scene = Scene::good();
    let window = serde_json::json!({ "counted": "s1000 s0" });
    let breaker = serde_json::json!({ "window": window });
    let breaker = serde_json::from_value(breaker).unwrap();
    scene.snapshot.breakers.insert(agent(), breaker);
    scene.is_guilty_of(&[BreakerWrong]);
}

#[test]
fn a_record_that_lets_through_something_else_than_the_breaker_is_wrong() {
    let mut scene = Scene::good();
    broken(&mut scene, [failed(1)]);
    scene.is_guilty_of(&[]);
    scene.snapshot.agents[0].gate = Breaker::default().gate();
    scene.is_guilty_of(&[BreakerWrong]);
}

fn dispatched(attempt: u32) -> TaskState {
    TaskState::Dispatched {
        attempt: run(attempt).attempt,
        spent: 0,
        dispatched_at: at(1000),
        cancel: None,
    }
}
