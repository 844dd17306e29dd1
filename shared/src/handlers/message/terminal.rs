//! TASK_COMPLETE, TASK_ERROR and TASK_CANCELLED: confirmed once their effect is durable.

use super::{
    super::transitions::{Outcome, Transitions},
    Answer, Context,
};
use crate::{
    error::{BematicError, TaskError},
    ids::{Attempt, TaskId},
    protocol::{TaskCancelled, TaskComplete, TaskFailure},
    task::{Completion, Failure, FailureCode, TaskEvent, Unchanged},
};

/// Ends tasks.
pub struct Endings {
    transitions: Transitions,
}

impl Endings {
    /// On the tasks.
    pub fn new(transitions: Transitions) -> Self {
        Self { transitions }
    }

    /// A read, a transaction and two messages.
    pub async fn complete(
        &self,
        context: Context<'_>,
        message: TaskComplete,
    ) -> Result<Answer, BematicError> {
        let (task_id, attempt) = (message.task_id, message.attempt);
        let completion = Completion::from(message);
        self.end(
            context,
            task_id,
            TaskEvent::Completed(attempt),
            Some(&completion),
        )
        .await
    }

    /// A read, a transaction and two messages.
    pub async fn error(
        &self,
        context: Context<'_>,
        message: TaskFailure,
    ) -> Result<Answer, BematicError> {
        let failure = Failure::new(FailureCode::AgentError, &message.error, message.recoverable);
        let event = TaskEvent::Failed(message.attempt, failure);
        self.end(context, message.task_id, event, None).await
    }

    /// A read, a transaction and two messages.
    pub async fn cancelled(
        &self,
        context: Context<'_>,
        message: TaskCancelled,
    ) -> Result<Answer, BematicError> {
        let attempt: Option<Attempt> = message.attempt;
        let event = TaskEvent::Cancelled(attempt, message.reason);
        self.end(context, message.task_id, event, None).await
    }

    /// What changes nothing is confirmed too, or the agent would send it for ever; where it speaks
    /// of what is not the agent's, it is told so.
    async fn end(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        event: TaskEvent,
        completion: Option<&Completion>,
    ) -> Result<Answer, BematicError> {
        let agent = &context.sender.agent_id;
        let result = self
            .transitions
            .apply(agent, task_id, &event, completion, context.now)
            .await;
        let error = match result {
            Ok(Outcome::Unchanged(_, Unchanged::NotHeld)) => Some(
                TaskError::NotHeld {
                    task_id,
                    agent_id: agent.clone(),
                }
                .into(),
            ),
            Ok(_) => None,
            Err(
                error @ BematicError::Task(TaskError::Unknown { .. } | TaskError::NotYours { .. }),
            ) => Some(error),
            Err(error) => return Err(error),
        };
        Ok(Answer {
            confirm: true,
            error,
            message: None,
        })
    }
}
