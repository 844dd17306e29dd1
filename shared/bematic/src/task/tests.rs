use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A task that waits for this agent since the beginning of time.
pub(crate) fn new_task(agent: &str) -> Task {
    let spec = TaskSpec {
        project_id: "web".into(),
        bot_name: "Bematic".into(),
        command: "run".into(),
        prompt: "do it".into(),
        system_prompt: String::new(),
        local_path: "/srv/web".into(),
        model: "default".into(),
        max_budget: 5.0,
        allowed_tools: vec![],
        lease_secs: None,
    };
    let origin = Origin {
        channel_id: "C1".parse().unwrap(),
        thread_ts: None,
        user_id: "U1".parse().unwrap(),
    };
    let (id, agent) = (TaskId::new(Uuid::max()), agent.parse().unwrap());
    Task::new(id, agent, &spec, origin, &TaskPolicy::default(), at(0))
}

fn failure() -> Failure {
    Failure::new(FailureCode::AgentError, "it broke", false)
}

const POLICY: TaskPolicy = TaskPolicy {
    max_attempts: 5,
    backoff: Duration::from_secs(5),
    max_backoff: Duration::from_mins(5),
    ack_deadline: Duration::from_secs(30),
    lease: Duration::from_mins(30),
    missing_grace: Duration::from_secs(30),
    cancel_deadline: Duration::from_secs(30),
    wait: Duration::from_hours(24),
    dispatch_limit: 10,
};

const TERMS: TaskTerms<'static> = TaskTerms {
    policy: &POLICY,
    lease: POLICY.lease,
    expires_at: Timestamp::from_millis(86_400_000),
};

#[test]
fn the_default_policy_is_the_one_that_is_tested() {
    assert_eq!(POLICY, TaskPolicy::default());
}

fn after(state: &TaskState, event: TaskEvent) -> Result<TaskState, Unchanged> {
    state.after(event, &TERMS, at(1000))
}

fn secs_after(state: &TaskState, event: TaskEvent, secs: u64) -> Result<TaskState, Unchanged> {
    state.after(event, &TERMS, at(secs * 1000))
}

const ONE: Option<Attempt> = Some(Attempt::FIRST);
const TWO: Option<Attempt> = Some(Attempt::after_attempts(1));

const fn started(attempt: Option<Attempt>) -> TaskEvent {
    TaskEvent::Started {
        attempt,
        said_at: Timestamp::from_millis(500),
    }
}

const fn tick(heard_at: Option<Timestamp>) -> TaskEvent {
    TaskEvent::Tick { heard_at }
}

fn refused(attempt: Option<Attempt>, retryable: bool, spent: bool) -> TaskEvent {
    TaskEvent::Refused {
        attempt,
        reason: "full".into(),
        retryable,
        spent,
    }
}

fn cancel() -> TaskEvent {
    TaskEvent::CancelRequested("U1".parse().unwrap())
}

fn dispatched() -> TaskState {
    after(&TaskState::NEW, TaskEvent::Claimed).unwrap()
}

fn processing() -> TaskState {
    after(&dispatched(), started(None)).unwrap()
}

#[test]
fn a_task_goes_from_pending_to_completed() {
    let state = after(&processing(), TaskEvent::Completed(ONE)).unwrap();
    assert_eq!(state.name(), "completed");
    let again = [TaskEvent::Completed(None), TaskEvent::Completed(ONE)];
    for event in again {
        assert_eq!(after(&state, event), Err(Unchanged::Duplicate));
    }
    // Another ending of the same attempt is no repetition of what is known.
    let other = TaskEvent::Failed(ONE, failure());
    assert_eq!(after(&state, other), Err(Unchanged::Late));
    let claimed = after(&state, TaskEvent::Claimed);
    assert_eq!(claimed, Err(Unchanged::AlreadyClaimed));
}

#[test]
fn a_completion_may_come_before_the_acknowledgement() {
    let state = after(&dispatched(), TaskEvent::Completed(None)).unwrap();
    assert_eq!(state.name(), "completed");
    assert_eq!(after(&state, started(ONE)), Err(Unchanged::Duplicate));
}

#[test]
fn a_refused_task_waits_longer_each_time_and_fails_in_the_end() {
    let mut state = TaskState::NEW;
    let mut waits = Vec::new();
    let mut now = at(0);
    for _ in 1..POLICY.max_attempts {
        state = state.after(TaskEvent::Claimed, &TERMS, now).unwrap();
        state = state.after(refused(None, true, true), &TERMS, now).unwrap();
        let TaskState::Pending {
            not_before: Some(due),
            ..
        } = state
        else {
            panic!("{state:?}")
        };
        let early = state.after(TaskEvent::Claimed, &TERMS, now);
        assert_eq!(early, Err(Unchanged::NotDue));
        waits.push(due.since(now).as_secs());
        now = due;
    }
    assert_eq!(waits, [5, 10, 20, 40]);
    state = state.after(TaskEvent::Claimed, &TERMS, now).unwrap();
    let failed = state.after(refused(None, true, true), &TERMS, now);
    let Ok(TaskState::Failed { failure, .. }) = failed else {
        panic!("not failed")
    };
    assert_eq!(
        (failure.code, &*failure.message),
        (FailureCode::AttemptsExhausted, "full")
    );
    let for_good = after(&dispatched(), refused(None, false, true)).unwrap();
    assert!(
        matches!(for_good, TaskState::Failed { failure, .. } if failure.code == FailureCode::Refused)
    );
}

#[test]
fn a_task_that_was_accepted_can_only_be_handed_back() {
    assert_eq!(
        after(&processing(), refused(ONE, true, true)),
        Err(Unchanged::Late)
    );
    let mut state = processing();
    for _ in 0..2 * POLICY.max_attempts {
        let held = state.held_attempt();
        state = after(&state, refused(held, true, false)).unwrap();
        assert_eq!(state.name(), "pending", "as often as an agent stops");
        assert_eq!(
            state.last_attempt(),
            held,
            "and never under the same number"
        );
        let due = TaskEvent::Claimed;
        state = secs_after(&state, due, 1000).unwrap();
    }
}

#[test]
fn what_could_not_be_sent_goes_back_without_spending_the_attempt() {
    let state = after(&dispatched(), TaskEvent::Undelivered(Attempt::FIRST)).unwrap();
    assert_eq!((state.name(), state.last_attempt()), ("pending", ONE));
    let again = after(&state, TaskEvent::Claimed).unwrap();
    assert_eq!(again.held_attempt(), ONE, "under the same number");
    // It arrived all the same, and the agent runs it or is done with it.
    for attempt in [ONE, None] {
        let completed = after(&state, TaskEvent::Completed(attempt)).unwrap();
        assert_eq!(completed.name(), "completed");
        let runs = after(&state, started(attempt)).unwrap();
        assert_eq!((runs.name(), runs.held_attempt()), ("processing", ONE));
    }
    let second = after(&state, TaskEvent::Completed(TWO));
    assert_eq!(second, Err(Unchanged::NotHeld));
    let running = after(&processing(), TaskEvent::Undelivered(Attempt::FIRST));
    assert_eq!(running, Err(Unchanged::Late));
}

#[test]
fn a_delivery_that_fails_is_tried_again_later_until_it_has_failed_too_often() {
    let mut state = TaskState::NEW;
    let mut now = at(0);
    for n in 1..=POLICY.max_attempts {
        state = state.after(TaskEvent::Claimed, &TERMS, now).unwrap();
        assert_eq!(
            state.held_attempt(),
            ONE,
            "it may have arrived: the same number"
        );
        let error = format!("error {n}");
        let event = TaskEvent::DeliveryFailed(Attempt::FIRST, error);
        state = state.after(event, &TERMS, now).unwrap();
        now = now + POLICY.max_backoff;
    }
    let TaskState::Failed { failure, .. } = state else {
        panic!("{state:?}")
    };
    assert_eq!(failure.message, "error 5", "the last error");
}

#[test]
fn an_unacknowledged_attempt_is_over_after_30_s() {
    let state = TaskState::NEW
        .after(TaskEvent::Claimed, &TERMS, at(0))
        .unwrap();
    assert_eq!(secs_after(&state, tick(None), 29), Err(Unchanged::NotDue));
    let back = secs_after(&state, tick(None), 30).unwrap();
    assert_eq!(back.name(), "pending");
    let again = secs_after(&back, TaskEvent::Claimed, 35).unwrap();
    assert_eq!(again.held_attempt(), TWO, "the next attempt");
    assert_eq!(after(&again, started(ONE)), Err(Unchanged::Late));
    assert_eq!(
        after(&again, TaskEvent::Completed(ONE)),
        Err(Unchanged::Late)
    );
}

#[test]
fn a_lease_is_renewed_by_what_was_heard_and_ends_otherwise() {
    let state = processing();
    let early = secs_after(&state, tick(None), 1800);
    assert_eq!(early, Err(Unchanged::NotDue));
    let renewed = secs_after(&state, tick(Some(at(1_000_000))), 1801).unwrap();
    assert_eq!(
        renewed.timer_ends_at(&TERMS),
        Some(at(1_000_000 + 1_800_000))
    );
    // What was heard before the lease was given says nothing.
    for heard in [None, Some(at(1000))] {
        let lost = secs_after(&state, tick(heard), 1801).unwrap();
        let TaskState::Failed { failure, .. } = &lost else {
            panic!("{lost:?}")
        };
        assert_eq!(failure.code, FailureCode::AgentLost);
        let late = secs_after(&lost, TaskEvent::Completed(ONE), 1802);
        assert_eq!(late, Err(Unchanged::Late));
    }
}

#[test]
fn a_task_that_its_agent_no_longer_names_ends_unless_it_is_heard_of() {
    let missing = |millis| TaskEvent::Missing {
        said_at: at(millis),
    };
    let state = processing();
    // Said before the agent took the task, and only handled after.
    assert_eq!(after(&state, missing(500)), Err(Unchanged::Late));
    let missed = after(&state, missing(501)).unwrap();
    assert_eq!(missed.timer_ends_at(&TERMS), Some(at(31_000)));
    assert_eq!(after(&missed, missing(502)), Err(Unchanged::Duplicate));
    let lost = secs_after(&missed, tick(Some(at(900))), 31).unwrap();
    assert_eq!(lost.name(), "failed");
    let heard = secs_after(&missed, tick(Some(at(2000))), 31).unwrap();
    assert_eq!(heard.name(), "processing");
    // Its result was under way.
    let done = after(&missed, TaskEvent::Completed(None)).unwrap();
    assert_eq!(done.name(), "completed");
    assert_eq!(after(&dispatched(), missing(501)), Err(Unchanged::NotHeld));
}

#[test]
fn a_task_expires_in_the_queue_and_only_there() {
    let day = 86_400;
    assert_eq!(
        secs_after(&TaskState::NEW, tick(None), day - 1),
        Err(Unchanged::NotDue)
    );
    let expired = secs_after(&TaskState::NEW, tick(None), day).unwrap();
    let TaskState::Failed { failure, .. } = expired else {
        panic!("{expired:?}")
    };
    assert_eq!(failure.code, FailureCode::Expired);
    let running = secs_after(&TaskState::NEW, TaskEvent::Claimed, day).unwrap();
    assert_eq!(
        secs_after(&running, tick(None), day),
        Err(Unchanged::NotDue)
    );
}

#[test]
fn a_pending_task_is_cancelled_at_once_and_one_at_an_agent_within_its_deadline() {
    let cancelled = after(&TaskState::NEW, cancel()).unwrap();
    assert_eq!(cancelled.name(), "cancelled");
    assert_eq!(after(&cancelled, cancel()), Err(Unchanged::Duplicate));
    for state in [dispatched(), processing()] {
        let stopping = after(&state, cancel()).unwrap();
        assert_eq!(stopping.name(), state.name());
        assert_eq!(after(&stopping, cancel()), Err(Unchanged::Duplicate));
        let done = after(&stopping, TaskEvent::Completed(ONE)).unwrap();
        assert_eq!(done.name(), "completed", "it won the race");
        assert_eq!(after(&done, cancel()), Err(Unchanged::Ended));
        let stopped = after(&stopping, TaskEvent::Cancelled(ONE, None)).unwrap();
        let TaskState::Cancelled { by, .. } = stopped else {
            panic!("{stopped:?}")
        };
        assert_eq!(by.unwrap().as_str(), "U1");
        assert_eq!(
            secs_after(&stopping, tick(None), 30),
            Err(Unchanged::NotDue)
        );
        let anyway = secs_after(&stopping, tick(None), 31).unwrap();
        assert_eq!(anyway.name(), "cancelled");
        let late = after(&anyway, TaskEvent::Completed(ONE));
        assert_eq!(late, Err(Unchanged::Late));
    }
    // Nothing that brings it back to the queue does so once it is to be cancelled.
    let stopping = after(&dispatched(), cancel()).unwrap();
    for event in [
        refused(ONE, true, true),
        TaskEvent::Undelivered(Attempt::FIRST),
        TaskEvent::DeliveryFailed(Attempt::FIRST, "gone".into()),
    ] {
        assert_eq!(after(&stopping, event).unwrap().name(), "cancelled");
    }
}

#[test]
fn what_failed_or_was_cancelled_can_be_tried_again_under_the_next_number() {
    let failed = after(&processing(), TaskEvent::Failed(ONE, failure())).unwrap();
    let again = after(&failed, TaskEvent::Retried).unwrap();
    assert_eq!(after(&again, TaskEvent::Retried), Err(Unchanged::Duplicate));
    assert_eq!(
        after(&again, TaskEvent::Claimed).unwrap().held_attempt(),
        TWO
    );
    let repeated = TaskEvent::Failed(ONE, failure());
    assert_eq!(after(&again, repeated), Err(Unchanged::Late));
    let completed = after(&processing(), TaskEvent::Completed(ONE)).unwrap();
    assert_eq!(after(&completed, TaskEvent::Retried), Err(Unchanged::Ended));
}

#[test]
fn an_earlier_attempt_changes_nothing() {
    let back = after(&dispatched(), refused(ONE, true, true)).unwrap();
    let second = secs_after(&back, TaskEvent::Claimed, 10).unwrap();
    let second = secs_after(&second, started(TWO), 10).unwrap();
    let late = after(&second, TaskEvent::Completed(ONE));
    assert_eq!(late, Err(Unchanged::Late));
    assert_eq!(after(&second, started(ONE)), Err(Unchanged::Late));
    let next = after(&processing(), TaskEvent::Completed(TWO));
    assert_eq!(next, Err(Unchanged::NotHeld));
    // Of an agent that does not number its attempts.
    let unnumbered = after(&back, TaskEvent::Completed(None));
    assert_eq!(unnumbered, Err(Unchanged::Late));
    let nobodys = after(&TaskState::NEW, TaskEvent::Completed(None));
    assert_eq!(nobodys, Err(Unchanged::NotHeld));
}

#[test]
fn what_happens_within_a_flush_interval_is_shown_by_one_refresh() {
    let task = new_task("a");
    assert_eq!(task.refresh_at, at(0));
    let after = |task: &Task, event: TaskEvent, millis: u64| {
        task.after(event, &TaskPolicy::default(), at(millis))
            .unwrap()
    };
    assert!(
        !task.refresh_is_under_way(at(0)),
        "its own is yet to be enqueued"
    );
    let sent = after(&task, TaskEvent::Claimed, 500);
    assert!(sent.refresh_is_under_way(at(500)), "that of the new task");
    let begun = after(&sent, started(None), 2999);
    assert!(begun.refresh_is_under_way(at(2999)));
    assert!(
        !begun.refresh_is_under_way(at(3000)),
        "it took long to write"
    );
    let late = after(&sent, started(None), 3000);
    assert!(
        !late.refresh_is_under_way(at(3000)),
        "that refresh may be over"
    );
    assert_eq!(late.refresh_at, late.updated_at);
}

#[test]
fn a_slot_is_read_back() {
    let slot = Slot {
        task_id: TaskId::new(Uuid::from_u128(7)),
        attempt: Attempt::after_attempts(2),
    };
    assert_eq!(slot.to_string().parse(), Ok(slot));
    assert!("7#1".parse::<Slot>().is_err() && "x".parse::<Slot>().is_err());
}

#[test]
fn a_title_is_the_first_line_cut_to_size() {
    assert_eq!(title_from_prompt("\n  fix it  \nplease"), "fix it");
    let long = title_from_prompt(&"ä".repeat(500));
    assert_eq!(
        (long.chars().count(), long.ends_with('…')),
        (Task::TITLE_CHARS, true)
    );
}

#[test]
fn the_newest_steps_are_shown_oldest_first() {
    let report = |n: u64, lines: &[&str], percent| ProgressReport {
        message_id: format!("m{n}").parse().unwrap(),
        at: at(n),
        percent,
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
        kind: bematic_protocol::messages::StepKind::Info,
    };
    let newest = [
        report(3, &["e"], None),
        report(2, &["b", "c", "d"], Some(40.0)),
        report(1, &["a"], Some(10.0)),
    ];
    let progress = Progress::from_newest(&newest);
    assert_eq!(progress.percent, Some(40.0));
    let lines: Vec<_> = progress
        .steps
        .iter()
        .map(|(_, line)| line.as_str())
        .collect();
    assert_eq!(lines, ["a", "b", "c", "d", "e"]);
}

fn attempts() -> impl Strategy<Value = Option<Attempt>> {
    prop_oneof![
        Just(None),
        (0..4_u32).prop_map(|attempts| Some(Attempt::after_attempts(attempts)))
    ]
}

fn events() -> impl Strategy<Value = TaskEvent> {
    prop_oneof![
        Just(TaskEvent::Claimed),
        Just(TaskEvent::Claimed),
        attempts().prop_map(started),
        (attempts(), any::<bool>(), any::<bool>())
            .prop_map(|(attempt, retryable, spent)| refused(attempt, retryable, spent)),
        (0..4_u32).prop_map(|n| TaskEvent::DeliveryFailed(Attempt::after_attempts(n), "no".into())),
        (0..9_000_u64).prop_map(|mins| tick(Some(at(mins * 60_000)))),
        Just(tick(None)),
        Just(TaskEvent::Missing { said_at: at(600) }),
        Just(cancel()),
        Just(TaskEvent::Retried),
        (0..4_u32).prop_map(|n| TaskEvent::Undelivered(Attempt::after_attempts(n))),
        attempts().prop_map(TaskEvent::Completed),
        attempts().prop_map(|attempt| TaskEvent::Failed(attempt, failure())),
        attempts().prop_map(|attempt| TaskEvent::Cancelled(attempt, None)),
    ]
}

/// The transitions of the design, by name.
const LEGAL: &[(&str, &str)] = &[
    ("pending", "dispatched"),
    // Undelivered, as was said; but it had arrived.
    ("pending", "completed"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("pending", "processing"),
    ("dispatched", "pending"),
    // To be cancelled.
    ("dispatched", "dispatched"),
    ("dispatched", "processing"),
    ("dispatched", "completed"),
    ("dispatched", "failed"),
    ("dispatched", "cancelled"),
    // Handed back.
    ("processing", "pending"),
    // To be cancelled, or its lease is another.
    ("processing", "processing"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "cancelled"),
    ("failed", "pending"),
    ("cancelled", "pending"),
];

#[test]
fn a_timer_that_a_deployment_has_made_longer_is_set_anew() {
    let longer = TaskPolicy {
        lease: POLICY.lease * 2,
        ..POLICY
    };
    let (ends, then) = (at(2) + POLICY.lease, at(2) + longer.lease);
    let sent = new_task("a").after(TaskEvent::Claimed, &POLICY, at(1));
    let task = sent.unwrap().after(started(ONE), &POLICY, at(2)).unwrap();
    assert_eq!(task.timer, Some(ends));
    let next = task.after(tick(None), &longer, ends).unwrap();
    assert_eq!((next.timer, &next.state), (Some(then), &task.state));
    let early = next.after(tick(None), &longer, ends);
    assert_eq!(early, Err(Unchanged::NotDue));
    let next = next.after(tick(None), &longer, then).unwrap();
    assert_eq!(next.state.name(), "failed");
}

proptest! {
    #[test]
    fn only_legal_transitions_take_place(events in prop::collection::vec(events(), 0..40)) {
        let mut state = TaskState::NEW;
        let mut now = at(0);
        for event in events {
            now = now + std::time::Duration::from_mins(10);
            let before = state.clone();
            let Ok(next) = state.after(event.clone(), &TERMS, now) else { continue };
            prop_assert!(LEGAL.contains(&(before.name(), next.name())), "{before:?} -> {next:?}");
            prop_assert!(!before.is_terminal() || event == TaskEvent::Retried);
            prop_assert!(next.last_attempt().map_or(0, Attempt::number) + 1
                >= before.last_attempt().map_or(0, Attempt::number));
            // Heard twice, a report that changed something changes nothing more.
            let expired = matches!(event, TaskEvent::Tick { .. }) && next.name() == "pending";
            if event != TaskEvent::Claimed && !expired {
                prop_assert!(next.after(event, &TERMS, now).is_err());
            }
            // Whatever is not over ends by itself.
            prop_assert_eq!(next.timer_ends_at(&TERMS).is_none(), next.is_terminal());
            state = next;
        }
    }

    #[test]
    fn reports_of_one_attempt_end_alike_in_any_order(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle()
    ) {
        let reports = [
            started(ONE),
            started(None),
            TaskEvent::Completed(ONE),
            TaskEvent::Completed(None),
        ];
        let mut state = dispatched();
        for index in order {
            if let Ok(next) = after(&state, reports[index].clone()) {
                state = next;
            }
        }
        prop_assert_eq!(state.name(), "completed");
    }

    #[test]
    fn a_stored_task_is_read_back(events in prop::collection::vec(events(), 0..12)) {
        let spec = TaskSpec {
            project_id: "p".into(), bot_name: "b".into(), command: "run".into(),
            prompt: "do".into(), system_prompt: String::new(), local_path: "/".into(),
            model: "m".into(), max_budget: 1.0, allowed_tools: vec![], lease_secs: None,
        };
        let origin = Origin {
            channel_id: "C1".parse().unwrap(), thread_ts: None, user_id: "U1".parse().unwrap(),
        };
        let id = TaskId::new(Uuid::from_u128(1));
        let mut task = Task::new(id, "a".parse().unwrap(), &spec, origin, &POLICY, at(1));
        for event in events {
            task = task.after(event, &POLICY, at(9)).unwrap_or(task);
        }
        let json = serde_json::to_value(&task).unwrap();
        prop_assert_eq!(json["status"].as_str(), Some(task.state.name()));
        prop_assert_eq!(serde_json::from_value::<Task>(json).unwrap(), task);
    }
}
