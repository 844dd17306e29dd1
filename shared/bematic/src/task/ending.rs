//! How an attempt ended, as its agent says.

use bematic_protocol::ids::Attempt;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Completion, Failure, TaskEvent};

/// How an attempt ended. Its name is that of the state that it takes its task to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Ending {
    /// With this.
    Completed(Box<Completion>),
    /// With this.
    Failed(Failure),
    /// Stopped, for this reason.
    Cancelled(Option<String>),
}

impl Ending {
    /// The event that it is to the task.
    pub fn event(&self, attempt: Option<Attempt>) -> TaskEvent {
        match self {
            Self::Completed(_) => TaskEvent::Completed(attempt),
            Self::Failed(failure) => TaskEvent::Failed(attempt, failure.clone()),
            Self::Cancelled(reason) => TaskEvent::Cancelled(attempt, reason.clone()),
        }
    }

    /// What came of it.
    pub fn completion(&self) -> Option<&Completion> {
        match self {
            Self::Completed(completion) => Some(completion),
            Self::Failed(_) | Self::Cancelled(_) => None,
        }
    }
}
