//! The event that a change of a task is for the breaker of its agent.

use bematic_protocol::messages::Fault;

use super::{BreakerEvent, FailureKind, IgnoredBecause};
use crate::task::{FailureCode, Slot, Task, TaskEvent, TaskState};

/// Returns the event that `event`, which changed the task from `before` to `after`, is for the
/// agent's breaker: `None` unless an attempt is over by it, or a probe goes on.
pub fn event_from_task(event: &TaskEvent, before: &Task, after: &Task) -> Option<BreakerEvent> {
    let attempt = match &after.state {
        TaskState::Completed { attempt, .. } => Some(*attempt),
        _ => before
            .state
            .held_attempt()
            .or_else(|| after.state.last_attempt()),
    };
    let (task_id, attempt) = (after.id, attempt?);
    let id = Slot { task_id, attempt }.to_string();
    let ignore = |because| Some(BreakerEvent::Ignore(id.clone(), because));
    let fail =
        |kind, message: &str| Some(BreakerEvent::Failure(id.clone(), kind, message.to_owned()));
    if after.state.held_attempt().is_some() {
        // Only a renewed lease counts: a probe that runs under it goes on.
        let renewed = matches!(event, TaskEvent::Tick { .. }) && before.slot() == after.slot();
        let lease = after.timer.filter(|_| renewed)?.since(after.updated_at);
        return Some(BreakerEvent::Running(id, lease * 2));
    }
    match (event, &after.state) {
        (
            _,
            TaskState::Completed {
                started_at,
                finished_at,
                ..
            },
        ) => Some(BreakerEvent::Success(id, finished_at.since(*started_at))),
        (TaskEvent::Retried | TaskEvent::CancelRequested(_), _) => None,
        (_, TaskState::Cancelled { .. }) => ignore(IgnoredBecause::Cancelled),
        // The attempt was to be cancelled, and ended: it does not matter with which message.
        (TaskEvent::Failed(..), _) if before.state.cancel_request().is_some() => {
            ignore(IgnoredBecause::Cancelled)
        }
        (TaskEvent::Failed(_, failure), _) if failure.fault == Fault::Task => {
            ignore(IgnoredBecause::TaskFault)
        }
        (TaskEvent::Failed(_, failure), _) => fail(FailureKind::Error, &failure.message),
        (TaskEvent::Undelivered(_) | TaskEvent::DeliveryFailed(..), _) => {
            ignore(IgnoredBecause::Undelivered)
        }
        // An agent that has no room for a task offers to run it later.
        (
            TaskEvent::Refused {
                retryable: true, ..
            },
            _,
        ) => ignore(IgnoredBecause::Refused),
        (TaskEvent::Refused { reason, .. }, _) => fail(FailureKind::Refused, reason),
        (TaskEvent::Tick { .. }, TaskState::Failed { failure, .. }) => match failure.code {
            FailureCode::AgentLost => fail(FailureKind::Lost, &failure.message),
            FailureCode::AttemptsExhausted => fail(FailureKind::AckMissed, &failure.message),
            _ => None,
        },
        (TaskEvent::Tick { .. }, TaskState::Pending { last_error, .. }) => fail(
            FailureKind::AckMissed,
            last_error.as_deref().unwrap_or_default(),
        ),
        _ => None,
    }
}
