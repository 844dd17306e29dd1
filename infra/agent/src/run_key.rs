//! The identity of a run.

use std::fmt;

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::TaskSubmit,
};
use serde::Serialize;

/// The identity of a run: an attempt of a task. Clouds older than attempts name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct RunKey {
    /// The task.
    #[serde(rename = "taskId")]
    pub task: TaskId,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

impl RunKey {
    pub(crate) const fn of(submit: &TaskSubmit) -> Self {
        Self {
            task: submit.task_id,
            attempt: submit.attempt,
        }
    }
}

impl fmt::Display for RunKey {
    /// Writes the random end of the task's id: ids made in the same minute begin alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.task.to_string();
        f.write_str(id.get(id.len().saturating_sub(8)..).unwrap_or(&id))
    }
}
