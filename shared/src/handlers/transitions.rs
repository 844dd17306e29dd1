//! Applying an event to a stored task: read, decide, write on condition, then tell.

use std::{sync::Arc, time::Duration};

use tracing::info;

use crate::{
    error::{BematicError, TaskError},
    ids::{AgentId, TaskId},
    ports::{DispatchMessage, DispatchQueue, Notifications, Tasks, Written},
    task::{Completion, Task, TaskEvent, TaskPolicy, TaskState, Unchanged},
    time::Timestamp,
};

/// Lost races in a row before giving up; the sender repeats.
const TRIES: u32 = 8;

/// What an event did to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The task is now this.
    Changed(Task),
    /// The task is this and stays so.
    Unchanged(Task, Unchanged),
}

/// Applies events to stored tasks.
#[derive(Clone)]
pub struct Transitions {
    tasks: Arc<dyn Tasks>,
    dispatch: Arc<dyn DispatchQueue>,
    notifications: Arc<dyn Notifications>,
    policy: TaskPolicy,
}

impl Transitions {
    /// With what it reads, writes and tells.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        dispatch: Arc<dyn DispatchQueue>,
        notifications: Arc<dyn Notifications>,
        policy: TaskPolicy,
    ) -> Self {
        Self {
            tasks,
            dispatch,
            notifications,
            policy,
        }
    }

    /// The task, if it is the agent's.
    ///
    /// # Errors
    /// [`TaskError::Unknown`] and [`TaskError::NotYours`].
    pub async fn task_of(&self, agent: &AgentId, id: TaskId) -> Result<Task, BematicError> {
        let task = self
            .tasks
            .find(id)
            .await?
            .ok_or(TaskError::Unknown { task_id: id })?;
        if task.agent_id == *agent {
            Ok(task)
        } else {
            Err(TaskError::NotYours {
                task_id: id,
                agent_id: agent.clone(),
            }
            .into())
        }
    }

    /// Applies `event` to the agent's task: a read, a write, and a message to the notifier; where
    /// the agent has room again, one to the dispatcher. Repeated, it only sends again.
    ///
    /// # Errors
    /// As [`Self::task_of`], and [`TaskError::Contended`] after too many lost races.
    pub async fn apply(
        &self,
        agent: &AgentId,
        id: TaskId,
        event: &TaskEvent,
        completion: Option<&Completion>,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        let mut task = self.task_of(agent, id).await?;
        for _ in 0..TRIES {
            let next = match task.after(event.clone(), &self.policy, now) {
                Ok(next) => next,
                Err(why) => return self.unchanged(task, why, now).await,
            };
            match self.tasks.transition(&task, &next, completion).await? {
                Written::Done => {
                    info!(task = %id, %agent, from = task.state.name(), to = next.state.name(), "task changed");
                    self.tell(&next, now).await?;
                    return Ok(Outcome::Changed(next));
                }
                Written::Conflict => task = self.task_of(agent, id).await?,
            }
        }
        Err(TaskError::Contended { task_id: id }.into())
    }

    /// A repeated event may come of a failure between the write and the send.
    async fn unchanged(
        &self,
        task: Task,
        why: Unchanged,
        now: Timestamp,
    ) -> Result<Outcome, BematicError> {
        info!(task = %task.id, state = task.state.name(), why = <&str>::from(why), "task unchanged");
        if why == Unchanged::Duplicate {
            self.tell(&task, now).await?;
        }
        Ok(Outcome::Unchanged(task, why))
    }

    /// Tells whoever may have something to do now.
    pub(super) async fn tell(&self, task: &Task, now: Timestamp) -> Result<(), BematicError> {
        let drain = async {
            match drain_after(&task.state, now) {
                Some(delay) => {
                    let drain = DispatchMessage::Drain {
                        agent_id: task.agent_id.clone(),
                    };
                    self.dispatch.send(&drain, delay).await
                }
                None => Ok(()),
            }
        };
        futures::try_join!(self.notifications.changed(task), drain)?;
        Ok(())
    }
}

/// When the agent's queue should be looked at: a slot is free, or a refused task is due again.
fn drain_after(state: &TaskState, now: Timestamp) -> Option<Duration> {
    match state {
        TaskState::Pending { not_before, .. } => not_before.map(|due| due.since(now)),
        state if state.is_terminal() => Some(Duration::ZERO),
        _ => None,
    }
}
