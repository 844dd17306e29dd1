//! The checks of every task: it is in the store, it is over, and it has one message in Slack that says how.

use bematic::task::{FailureCode, TaskState};
use bematic_protocol::ids::TaskId;
use bematic_test_agent::Run;

use super::evidence::{Charge, Evidence, Offences};
use super::history::Histories;

pub(super) fn check(evidence: &Evidence<'_>, histories: &Histories, offences: &mut Offences) {
    let snapshot = evidence.snapshot;
    for task in &evidence.operators.tasks {
        if !snapshot.tasks.contains_key(task) {
            let why = "an operator was told of it, and the store does not have it";
            offences.add(Charge::Lost, task, why);
        }
    }
    for (id, stored) in &snapshot.tasks {
        let state = &stored.task.state;
        let cards = snapshot.cards.get(id).map_or(&[][..], Vec::as_slice);
        let status = match state {
            TaskState::Completed { .. } => "Completed",
            TaskState::Failed { .. } => "Failed",
            TaskState::Cancelled { .. } => "Cancelled",
            _ => {
                let why = format!("it is {} and nothing more happens", state.name());
                offences.add(Charge::Stuck, id, why);
                continue;
            }
        };
        if !cards.iter().any(|card| says(card, status)) {
            let shown = match cards.first() {
                Some(card) => format!("Slack shows {card:?}"),
                None => "Slack has no message of it".to_owned(),
            };
            let why = format!("it is {}, and {shown}", state.name());
            offences.add(Charge::Lost, id, why);
        }
        if let Some(why) = unfenced(histories, *id, state) {
            offences.add(Charge::RunTwice, id, why);
        }
    }
    for (id, cards) in &snapshot.cards {
        if cards.len() > 1 {
            let why = format!("it has {} messages in Slack", cards.len());
            offences.add(Charge::CardDoubled, id, why);
        }
    }
}

/// Whether the notification of a message, which begins with an emoji and the status, has this status.
fn says(card: &str, status: &str) -> bool {
    let words = card.split_once(' ').map(|(_, words)| words);
    words.is_some_and(|words| words.starts_with(status))
}

/// The task was ended by another attempt than the newest.
fn unfenced(histories: &Histories, task_id: TaskId, state: &TaskState) -> Option<String> {
    let attempt = match state {
        TaskState::Completed { attempt, .. } => *attempt,
        TaskState::Failed {
            attempt, failure, ..
        } if failure.code == FailureCode::AgentError => (*attempt)?,
        _ => return None,
    };
    let since = histories
        .range(Run { task_id, attempt }..)
        .map(|(run, _)| run);
    let newest = since
        .take_while(|run| run.task_id == task_id)
        .last()?
        .attempt;
    (newest > attempt)
        .then(|| format!("attempt {attempt} ended it, though attempt {newest} had been sent"))
}
