use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn failure() -> Failure {
    Failure::new(FailureCode::AgentError, "it broke", false)
}

fn after(state: &TaskState, event: TaskEvent) -> Result<TaskState, Unchanged> {
    state.after(event, &TaskPolicy::default(), at(1000))
}

const ONE: Option<Attempt> = Some(Attempt::FIRST);
const TWO: Option<Attempt> = Some(Attempt::after(1));

fn dispatched() -> TaskState {
    TaskState::Dispatched {
        attempt: Attempt::FIRST,
        dispatched_at: at(1),
    }
}

fn processing() -> TaskState {
    TaskState::Processing {
        attempt: Attempt::FIRST,
        started_at: at(2),
    }
}

#[test]
fn a_task_goes_from_pending_to_completed() {
    let state = after(&TaskState::NEW, TaskEvent::Claimed).unwrap();
    let state = after(&state, TaskEvent::Started(None)).unwrap();
    let state = after(&state, TaskEvent::Completed(ONE)).unwrap();
    assert_eq!(state.name(), "completed");
    assert_eq!(
        after(&state, TaskEvent::Completed(None)),
        Err(Unchanged::Duplicate)
    );
    assert_eq!(
        after(&state, TaskEvent::Failed(ONE, failure())),
        Err(Unchanged::Duplicate)
    );
    assert_eq!(
        after(&state, TaskEvent::Claimed),
        Err(Unchanged::AlreadyClaimed)
    );
}

#[test]
fn a_completion_may_come_before_the_acknowledgement() {
    let state = after(&dispatched(), TaskEvent::Completed(None)).unwrap();
    assert_eq!(state.name(), "completed");
    assert_eq!(
        after(&state, TaskEvent::Started(ONE)),
        Err(Unchanged::Duplicate)
    );
}

#[test]
fn a_refused_task_waits_longer_each_time_and_fails_in_the_end() {
    let policy = TaskPolicy::default();
    let refused = |retryable| TaskEvent::Refused {
        attempt: None,
        reason: "full".into(),
        retryable,
    };
    let mut state = TaskState::NEW;
    let mut waits = Vec::new();
    let mut now = at(0);
    for _ in 1..policy.max_attempts {
        state = state.after(TaskEvent::Claimed, &policy, now).unwrap();
        state = state.after(refused(true), &policy, now).unwrap();
        let TaskState::Pending {
            not_before: Some(due),
            ..
        } = state
        else {
            panic!("{state:?}")
        };
        assert_eq!(
            state.after(TaskEvent::Claimed, &policy, now),
            Err(Unchanged::NotDue)
        );
        waits.push(due.since(now).as_secs());
        now = due;
    }
    assert_eq!(waits, [5, 10, 20, 40]);
    state = state.after(TaskEvent::Claimed, &policy, now).unwrap();
    let TaskState::Failed { failure, .. } = state.after(refused(true), &policy, now).unwrap()
    else {
        panic!("not failed")
    };
    assert_eq!(
        (failure.code, &*failure.message),
        (FailureCode::AttemptsExhausted, "full")
    );
    let for_good = after(&dispatched(), refused(false)).unwrap();
    assert!(
        matches!(for_good, TaskState::Failed { failure, .. } if failure.code == FailureCode::Refused)
    );
}

#[test]
fn a_task_that_was_accepted_cannot_be_refused_any_more() {
    let refused = TaskEvent::Refused {
        attempt: ONE,
        reason: "no".into(),
        retryable: true,
    };
    assert_eq!(after(&processing(), refused), Err(Unchanged::Late));
}

#[test]
fn what_could_not_be_sent_goes_back_without_spending_the_attempt() {
    let state = after(&dispatched(), TaskEvent::Undelivered(Attempt::FIRST)).unwrap();
    assert_eq!((state.name(), state.last_attempt()), ("pending", None));
    let again = after(&state, TaskEvent::Claimed).unwrap();
    assert_eq!(again.held(), ONE, "under the same number");
    // It arrived all the same, and the agent is done with it.
    for attempt in [ONE, None] {
        assert_eq!(
            after(&state, TaskEvent::Completed(attempt)).unwrap().name(),
            "completed"
        );
    }
    assert_eq!(
        after(&state, TaskEvent::Completed(TWO)),
        Err(Unchanged::NotHeld)
    );
    let started = after(&processing(), TaskEvent::Undelivered(Attempt::FIRST));
    assert_eq!(started, Err(Unchanged::Late));
}

#[test]
fn an_earlier_attempt_changes_nothing() {
    let second = TaskState::Processing {
        attempt: Attempt::after(1),
        started_at: at(5),
    };
    assert_eq!(
        after(&second, TaskEvent::Completed(ONE)),
        Err(Unchanged::Late)
    );
    assert_eq!(
        after(&second, TaskEvent::Started(ONE)),
        Err(Unchanged::Late)
    );
    assert_eq!(
        after(&processing(), TaskEvent::Completed(TWO)),
        Err(Unchanged::NotHeld)
    );
    assert_eq!(
        after(&TaskState::NEW, TaskEvent::Completed(None)),
        Err(Unchanged::NotHeld)
    );
}

#[test]
fn a_title_is_the_first_line_cut_to_size() {
    assert_eq!(title("\n  fix it  \nplease"), "fix it");
    let long = title(&"ä".repeat(500));
    assert_eq!(
        (long.chars().count(), long.ends_with('…')),
        (Task::TITLE_CHARS, true)
    );
}

#[test]
fn the_newest_steps_are_shown_oldest_first() {
    let step = |n: u64, lines: &[&str], percent| Step {
        message_id: format!("m{n}").parse().unwrap(),
        at: at(n),
        percent,
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
        kind: crate::protocol::StepKind::Info,
    };
    let newest = [
        step(3, &["e"], None),
        step(2, &["b", "c", "d"], Some(40.0)),
        step(1, &["a"], Some(10.0)),
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
        (0..4_u32).prop_map(|spent| Some(Attempt::after(spent)))
    ]
}

fn events() -> impl Strategy<Value = TaskEvent> {
    prop_oneof![
        Just(TaskEvent::Claimed),
        Just(TaskEvent::Claimed),
        attempts().prop_map(TaskEvent::Started),
        (attempts(), any::<bool>()).prop_map(|(attempt, retryable)| TaskEvent::Refused {
            attempt,
            reason: "no".into(),
            retryable
        }),
        (0..4_u32).prop_map(|spent| TaskEvent::Undelivered(Attempt::after(spent))),
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
    ("dispatched", "pending"),
    ("dispatched", "processing"),
    ("dispatched", "completed"),
    ("dispatched", "failed"),
    ("dispatched", "cancelled"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "cancelled"),
];

proptest! {
    #[test]
    fn only_legal_transitions_take_place(events in prop::collection::vec(events(), 0..40)) {
        let mut state = TaskState::NEW;
        let mut now = at(0);
        for event in events {
            now = now + std::time::Duration::from_mins(10);
            let before = state.clone();
            let Ok(next) = state.after(event.clone(), &TaskPolicy::default(), now) else { continue };
            prop_assert!(LEGAL.contains(&(before.name(), next.name())), "{before:?} -> {next:?}");
            prop_assert!(!before.is_terminal());
            prop_assert!(next.last_attempt().map_or(0, Attempt::number) + 1
                >= before.last_attempt().map_or(0, Attempt::number));
            // Heard twice, a report that changed something changes nothing more.
            if !matches!(event, TaskEvent::Claimed) {
                prop_assert!(next.after(event, &TaskPolicy::default(), now).is_err());
            }
            state = next;
        }
    }

    #[test]
    fn reports_of_one_attempt_end_alike_in_any_order(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle()
    ) {
        let reports = [
            TaskEvent::Started(ONE),
            TaskEvent::Started(None),
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
            model: "m".into(), max_budget: 1.0, allowed_tools: vec![],
        };
        let origin = Origin {
            channel_id: "C1".parse().unwrap(), thread_ts: None, user_id: "U1".parse().unwrap(),
        };
        let id = TaskId::new(Uuid::from_u128(1));
        let mut task = Task::new(id, "a".parse().unwrap(), &spec, origin, at(1));
        for event in events {
            task = task.after(event, &TaskPolicy::default(), at(9)).unwrap_or(task);
        }
        let json = serde_json::to_value(&task).unwrap();
        prop_assert_eq!(json["status"].as_str(), Some(task.state.name()));
        prop_assert_eq!(serde_json::from_value::<Task>(json).unwrap(), task);
    }
}
