use std::time::Duration;

use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent, FailureKind};
use bematic::task::TaskState;

use super::recorded_run::{RecordedRun, agent, at, run};
use crate::chaos::verdict::ViolationKind::{BreakerWrong, Stuck};

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
fn broken(recorded: &mut RecordedRun, events: impl IntoIterator<Item = BreakerEvent>) {
    let mut breaker = Breaker::default();
    for (event, seconds) in events.into_iter().zip(1..) {
        breaker = breaker.after(event, &CONFIG, at(seconds * 1000)).next;
    }
    recorded.snapshot.agents[0].gate = breaker.gate();
    recorded.snapshot.breakers.insert(agent(), breaker);
}

fn failed(attempt: u32) -> BreakerEvent {
    BreakerEvent::Failure(run(attempt).to_string(), FailureKind::Error, "no".into())
}

fn asked(attempt: u32) -> BreakerEvent {
    BreakerEvent::Allow(run(attempt).to_string(), Duration::ZERO)
}

#[test]
fn a_breaker_that_opened_and_is_tried_is_counted_and_no_violation() {
    let mut recorded = RecordedRun::working();
    recorded.stored(dispatched(2), None);
    broken(&mut recorded, [failed(1), asked(2)]);
    assert_eq!(recorded.verdict().opened, 1);
    recorded.has_violations(&[Stuck]);
}

#[test]
fn a_permit_of_an_attempt_that_is_over_has_leaked() {
    let mut recorded = RecordedRun::good();
    broken(&mut recorded, [failed(2), asked(1)]);
    recorded.has_violations(&[BreakerWrong]);
}

#[test]
fn more_outcomes_than_attempts_are_wrong() {
    let mut recorded = RecordedRun::good();
    let window = serde_json::json!({ "counted": "s1000 s0" });
    let breaker = serde_json::json!({ "window": window });
    let breaker = serde_json::from_value(breaker).unwrap();
    recorded.snapshot.breakers.insert(agent(), breaker);
    recorded.has_violations(&[BreakerWrong]);
}

#[test]
fn a_record_that_lets_through_something_else_than_the_breaker_is_wrong() {
    let mut recorded = RecordedRun::good();
    broken(&mut recorded, [failed(1)]);
    recorded.has_violations(&[]);
    recorded.snapshot.agents[0].gate = Breaker::default().gate();
    recorded.has_violations(&[BreakerWrong]);
}

fn dispatched(attempt: u32) -> TaskState {
    TaskState::Dispatched {
        attempt: run(attempt).attempt,
        spent: 0,
        dispatched_at: at(1000),
        cancel: None,
    }
}
