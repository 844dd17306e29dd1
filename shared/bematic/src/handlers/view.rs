//! A task with all that Slack shows of it.

use bematic_protocol::time::Timestamp;

use crate::{
    error::StoreError,
    ports::{Output, Ports},
    slack::{
        Message,
        card::{CardAction, OutputTail, TaskView, card},
    },
    task::{Completion, LateReport, Progress, Task, TaskState},
};

/// Output that is read for a card: what fits in its section, and some for what is not shown.
const TAIL_BYTES: usize = 8 * 1024;

/// Reports that are read for a card: many carry a percentage only.
const REPORTS: usize = 40;

/// What a card is rendered from.
pub(super) struct Snapshot {
    task: Task,
    progress: Progress,
    output: Output,
    completion: Option<Completion>,
    late: Vec<LateReport>,
    offline: bool,
}

impl Snapshot {
    /// Reads what hangs on the task, side by side: nothing before its first attempt, then two
    /// calls, or three once it is completed; one more, its agent, while it waits.
    pub(super) async fn read(ports: &Ports, task: Task) -> Result<Self, StoreError> {
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
                    reports.steps(id, attempt, REPORTS),
                    reports.output(id, attempt, TAIL_BYTES)
                ),
                None => Ok(Default::default()),
            }
        };
        let ((steps, output), completion, late, agent) = futures::try_join!(
            reported,
            only_if(completed, tasks.completion(id)),
            only_if(task.late, tasks.late_reports(id)),
            only_if(waits, agents.find(&task.agent_id)),
        )?;
        Ok(Self {
            task,
            progress: Progress::from_newest(&steps),
            output,
            completion,
            late,
            offline: agent.is_some_and(|agent| agent.connection.is_none()),
        })
    }

    /// As Slack shows it.
    pub(super) fn render(&self, now: Timestamp) -> Message {
        card(&TaskView {
            task: &self.task,
            progress: &self.progress,
            output: OutputTail {
                text: &self.output.text,
                cut: self.output.cut,
            },
            completion: self.completion.as_ref(),
            late: &self.late,
            offline: self.offline,
            actions: actions(&self.task.state),
            now,
        })
    }
}

/// What `call` reads, if that is wanted.
async fn only_if<T: Default>(
    wanted: bool,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if wanted { call.await } else { Ok(T::default()) }
}

/// What an operator can do about it.
const fn actions(state: &TaskState) -> &'static [CardAction] {
    match state {
        TaskState::Pending { .. } => &[CardAction::Cancel],
        TaskState::Dispatched { cancel: None, .. } | TaskState::Processing { cancel: None, .. } => {
            &[CardAction::Cancel]
        }
        TaskState::Failed { .. } | TaskState::Cancelled { .. } => &[CardAction::Retry],
        _ => &[],
    }
}
