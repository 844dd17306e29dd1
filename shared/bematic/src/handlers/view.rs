//! The data of a task's card.

use crate::{
    error::StoreResult,
    ports::Ports,
    slack::card::{CardAction, TaskView},
    task::{Progress, Task, TaskState},
};

/// The number of bytes of output that are read for a card: as much as fits in its section, and some
/// more for characters that are not shown.
const OUTPUT_TAIL_BYTES: usize = 8 * 1024;

/// The number of progress reports that are read for a card: many carry a percentage only.
const MAX_PROGRESS_REPORTS: usize = 40;

impl TaskView {
    /// Reads the records of a task in parallel: none before its first attempt, then two calls, or
    /// three once it is completed; one more, for its agent, while it waits.
    pub(super) async fn read(ports: &Ports, task: Task) -> StoreResult<Self> {
        let Ports {
            tasks,
            reports,
            agents,
            ..
        } = ports;
        let id = task.id;
        let completed = matches!(task.state, TaskState::Completed { .. });
        let waits = matches!(task.state, TaskState::Pending { .. });
        let reported = async {
            match task.state.last_attempt() {
                Some(attempt) => futures::try_join!(
                    reports.progress_reports(id, attempt, MAX_PROGRESS_REPORTS),
                    reports.output(id, attempt, OUTPUT_TAIL_BYTES)
                ),
                None => Ok(Default::default()),
            }
        };
        let ((steps, output), completion, late, agent) = futures::try_join!(
            reported,
            read_if(completed, tasks.completion(id)),
            read_if(task.late, tasks.late_reports(id)),
            read_if(waits, agents.find(&task.agent_id)),
        )?;
        Ok(Self {
            buttons: buttons(&task.state),
            task,
            progress: Progress::from_newest(&steps),
            output,
            completion,
            late,
            offline: agent.is_some_and(|agent| agent.connection.is_none()),
        })
    }
}

/// Returns the result of `call` if it is wanted, or else the default.
async fn read_if<T: Default>(
    wanted: bool,
    call: impl Future<Output = StoreResult<T>>,
) -> StoreResult<T> {
    if wanted { call.await } else { Ok(T::default()) }
}

/// Returns the buttons for a state.
const fn buttons(state: &TaskState) -> &'static [CardAction] {
    match state {
        TaskState::Pending { .. } => &[CardAction::Cancel],
        TaskState::Dispatched { cancel: None, .. } | TaskState::Processing { cancel: None, .. } => {
            &[CardAction::Cancel]
        }
        TaskState::Failed { .. } | TaskState::Cancelled { .. } => &[CardAction::Retry],
        _ => &[],
    }
}
