//! A task with all that Slack shows of it.

use crate::{
    error::StoreError,
    ports::{Output, Tasks},
    slack::{
        Message,
        card::{CardAction, OutputTail, TaskView, card},
    },
    task::{Completion, LateReport, Progress, Task, TaskState},
    time::Timestamp,
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
}

impl Snapshot {
    /// Reads what hangs on the task: nothing before its first attempt, then two calls side by
    /// side, or three once it is completed.
    pub(super) async fn read(tasks: &dyn Tasks, task: Task) -> Result<Self, StoreError> {
        let completed = matches!(task.state, TaskState::Completed { .. });
        let Some(attempt) = task.state.last_attempt() else {
            return Ok(Self {
                task,
                progress: Progress::default(),
                output: Output::default(),
                completion: None,
                late: Vec::new(),
            });
        };
        let completion = async {
            if completed {
                tasks.completion(task.id).await
            } else {
                Ok(None)
            }
        };
        let late = async {
            if task.late {
                tasks.late_reports(task.id).await
            } else {
                Ok(Vec::new())
            }
        };
        let (steps, output, completion, late) = futures::try_join!(
            tasks.steps(task.id, attempt, REPORTS),
            tasks.output(task.id, attempt, TAIL_BYTES),
            completion,
            late,
        )?;
        Ok(Self {
            task,
            progress: Progress::from_newest(&steps),
            output,
            completion,
            late,
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
            actions: actions(&self.task.state),
            now,
        })
    }
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
