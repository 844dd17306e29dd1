//! What each change of a task says about its agent.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::Fault,
};
use uuid::Uuid;

use super::*;
use crate::task::{Failure, FailureCode, Origin, Task, TaskEvent, TaskPolicy, TaskSpec};

const ONE: Option<Attempt> = Some(Attempt::FIRST);

fn policy() -> TaskPolicy {
    TaskPolicy::default()
}

fn new() -> Task {
    let spec = TaskSpec {
        project_id: "p".into(),
        bot_name: "b".into(),
        command: "run".into(),
        prompt: "do".into(),
        system_prompt: String::new(),
        local_path: "/".into(),
        model: "m".into(),
        max_budget: 1.0,
        allowed_tools: vec![],
        lease_secs: None,
    };
    let origin = Origin {
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        user_id: "U1".parse().unwrap(),
    };
    let id = TaskId::new(Uuid::from_u128(1));
    Task::new(id, "a".parse().unwrap(), &spec, origin, &policy(), at(0))
}

/// The task after `event`, and what that says.
fn after_event(before: &Task, event: &TaskEvent, secs: u64) -> (Task, Option<BreakerEvent>) {
    let after = before
        .after(event.clone(), &policy(), at(secs * 1000))
        .unwrap();
    let reported = super::super::event_from_task(event, before, &after);
    (after, reported)
}

/// What `event` says.
fn says(before: &Task, event: &TaskEvent, secs: u64) -> Option<BreakerEvent> {
    after_event(before, event, secs).1
}

/// Sent at 0 s.
fn dispatched() -> Task {
    after_event(&new(), &TaskEvent::Claimed, 0).0
}

/// Accepted at 10 s.
fn processing() -> Task {
    after_event(&dispatched(), &started(ONE), 10).0
}

/// Sent for the fifth and last time at the second that is given.
fn dispatched_last() -> (Task, u64) {
    let (mut task, mut secs) = (dispatched(), 0);
    for _ in 1..policy().max_attempts {
        task = after_event(&task, &tick(), secs + 30).0;
        secs += 1000;
        task = after_event(&task, &TaskEvent::Claimed, secs).0;
    }
    (task, secs)
}

fn started(attempt: Option<Attempt>) -> TaskEvent {
    TaskEvent::Started {
        attempt,
        said_at: at(1),
    }
}

const fn tick() -> TaskEvent {
    TaskEvent::Tick { heard_at: None }
}

const fn heard(secs: u64) -> TaskEvent {
    TaskEvent::Tick {
        heard_at: Some(Timestamp::from_millis(secs * 1000)),
    }
}

fn cancel() -> TaskEvent {
    TaskEvent::CancelRequested("U1".parse().unwrap())
}

fn failed(fault: Fault) -> TaskEvent {
    let failure = Failure {
        fault,
        ..Failure::new(FailureCode::AgentError, "it broke", true)
    };
    TaskEvent::Failed(ONE, failure)
}

fn refused(retryable: bool, spent: bool) -> TaskEvent {
    TaskEvent::Refused {
        attempt: ONE,
        reason: "full".into(),
        retryable,
        spent,
    }
}

fn id(attempt: u32) -> String {
    format!("00000000-0000-0000-0000-000000000001#{attempt}")
}

#[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
fn ignored(because: IgnoredBecause) -> Option<BreakerEvent> {
    Some(BreakerEvent::Ignore(id(1), because))
}

#[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
fn failure_of(attempt: u32, kind: FailureKind, message: &str) -> Option<BreakerEvent> {
    Some(BreakerEvent::Failure(id(attempt), kind, message.into()))
}

#[test]
fn a_completed_task_is_a_success_that_took_as_long_as_it_ran() {
    let success = |secs| Some(BreakerEvent::Success(id(1), Duration::from_secs(secs)));
    let done = TaskEvent::Completed(ONE);
    assert_eq!(says(&processing(), &done, 25), success(15));
    assert_eq!(
        says(&dispatched(), &done, 25),
        success(25),
        "never seen to be accepted"
    );
    let stopping = after_event(&processing(), &cancel(), 20).0;
    assert_eq!(says(&stopping, &done, 25), success(15), "it won the race");
    let unsent = after_event(&dispatched(), &TaskEvent::Undelivered(Attempt::FIRST), 1).0;
    assert_eq!(
        says(&unsent, &done, 25),
        success(0),
        "it had arrived all the same"
    );
}

#[test]
fn a_failed_task_is_a_failure_unless_the_task_is_at_fault() {
    for task in [dispatched(), processing()] {
        let error = failure_of(1, FailureKind::Error, "it broke");
        assert_eq!(says(&task, &failed(Fault::Agent), 20), error);
        let task_s_own = ignored(IgnoredBecause::TaskFault);
        assert_eq!(says(&task, &failed(Fault::Task), 20), task_s_own);
    }
}

#[test]
fn a_cancelled_task_says_nothing_however_that_ends() {
    for task in [dispatched(), processing()] {
        let cancelled = ignored(IgnoredBecause::Cancelled);
        let by_agent = TaskEvent::Cancelled(ONE, None);
        assert_eq!(says(&task, &by_agent, 20), cancelled);
        let (stopping, reported) = after_event(&task, &cancel(), 20);
        assert_eq!(reported, None, "it still runs");
        assert_eq!(says(&stopping, &by_agent, 21), cancelled);
        assert_eq!(
            says(&stopping, &tick(), 50),
            cancelled,
            "not confirmed in time"
        );
    }
    let stopping = after_event(&dispatched(), &cancel(), 1).0;
    for event in [
        refused(true, true),
        TaskEvent::Undelivered(Attempt::FIRST),
        TaskEvent::DeliveryFailed(Attempt::FIRST, "gone".into()),
    ] {
        assert_eq!(
            says(&stopping, &event, 2),
            ignored(IgnoredBecause::Cancelled)
        );
    }
    assert_eq!(says(&new(), &cancel(), 1), None, "no agent had it");
    let back = after_event(&dispatched(), &refused(true, true), 1).0;
    assert_eq!(
        says(&back, &cancel(), 2),
        None,
        "that was told when it came back"
    );
}

#[test]
fn a_refusal_for_want_of_room_says_nothing_and_one_for_good_is_a_failure() {
    let reported = ignored(IgnoredBecause::Refused);
    assert_eq!(says(&dispatched(), &refused(true, true), 1), reported);
    assert_eq!(
        says(&dispatched(), &refused(false, true), 1),
        failure_of(1, FailureKind::Refused, "full"),
        "for good"
    );
    assert_eq!(
        says(&processing(), &refused(true, false), 20),
        reported,
        "handed back"
    );
    let (last, secs) = dispatched_last();
    let attempt = last.state.held_attempt();
    let event = TaskEvent::Refused {
        attempt,
        reason: "full".into(),
        retryable: true,
        spent: true,
    };
    let (over, reported) = after_event(&last, &event, secs + 1);
    assert_eq!(over.state.name(), "failed");
    assert_eq!(
        reported,
        Some(BreakerEvent::Ignore(id(5), IgnoredBecause::Refused))
    );
}

#[test]
fn a_missed_acknowledgement_is_a_failure_of_its_own_kind_the_last_included() {
    let why = "the agent did not acknowledge it within 30 s";
    let (back, reported) = after_event(&dispatched(), &tick(), 30);
    assert_eq!(back.state.name(), "pending");
    assert_eq!(reported, failure_of(1, FailureKind::AckMissed, why));
    let (last, secs) = dispatched_last();
    let (over, reported) = after_event(&last, &tick(), secs + 30);
    assert_eq!(over.state.name(), "failed");
    assert_eq!(reported, failure_of(5, FailureKind::AckMissed, why));
}

#[test]
fn an_agent_that_is_not_heard_of_again_has_failed() {
    let (lost, reported) = after_event(&processing(), &tick(), 10 + 1800);
    assert_eq!(lost.state.name(), "failed");
    let Some(BreakerEvent::Failure(of, FailureKind::Lost, message)) = reported else {
        panic!("{reported:?}")
    };
    assert_eq!(of, id(1));
    assert!(!message.is_empty());
    let missing = TaskEvent::Missing { said_at: at(5000) };
    let (missed, reported) = after_event(&processing(), &missing, 20);
    assert_eq!(reported, None, "its result may be under way");
    assert!(matches!(
        says(&missed, &tick(), 50),
        Some(BreakerEvent::Failure(_, FailureKind::Lost, _))
    ));
}

#[test]
fn an_agent_that_is_heard_of_keeps_its_probe() {
    let lease = Duration::from_mins(30);
    let (renewed, reported) = after_event(&processing(), &heard(1810), 1810);
    assert_eq!(renewed.state.name(), "processing");
    assert_eq!(reported, Some(BreakerEvent::Running(id(1), lease * 2)));
    let (found, reported) = after_event(&dispatched(), &heard(30), 30);
    assert_eq!(
        found.state.name(),
        "processing",
        "its acknowledgement was lost"
    );
    assert_eq!(reported, Some(BreakerEvent::Running(id(1), lease * 2)));
}

#[test]
fn what_could_not_be_sent_says_nothing() {
    let undelivered = ignored(IgnoredBecause::Undelivered);
    let gone = TaskEvent::Undelivered(Attempt::FIRST);
    assert_eq!(says(&dispatched(), &gone, 1), undelivered);
    let error = TaskEvent::DeliveryFailed(Attempt::FIRST, "throttled".into());
    assert_eq!(says(&dispatched(), &error, 1), undelivered);
    let (last, secs) = dispatched_last();
    let error = TaskEvent::DeliveryFailed(last.state.held_attempt().unwrap(), "throttled".into());
    let (over, reported) = after_event(&last, &error, secs + 1);
    assert_eq!(over.state.name(), "failed");
    assert_eq!(
        reported,
        Some(BreakerEvent::Ignore(id(5), IgnoredBecause::Undelivered))
    );
}

#[test]
fn what_ends_no_attempt_says_nothing() {
    let day = 86_400;
    assert_eq!(says(&new(), &TaskEvent::Claimed, 1), None);
    assert_eq!(says(&dispatched(), &started(ONE), 1), None);
    assert_eq!(says(&new(), &tick(), day), None, "expired in the queue");
    let back = after_event(&dispatched(), &tick(), 30).0;
    let (expired, reported) = after_event(&back, &tick(), day);
    assert_eq!(
        (expired.state.name(), reported),
        ("failed", None),
        "each attempt was told of"
    );
    let over = after_event(&processing(), &failed(Fault::Agent), 20).0;
    assert_eq!(says(&over, &TaskEvent::Retried, 21), None);
}
