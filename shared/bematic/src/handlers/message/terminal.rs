//! TASK_COMPLETE, TASK_ERROR and TASK_CANCELLED: confirmed once their effect is durable.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::{TaskCancelled, TaskComplete, TaskFailure},
};

use super::{
    super::transitions::{Outcome, Transitions},
    context::{Answer, Context},
};
use crate::{
    error::{BematicError, TaskError},
    task::{Ending, Failure, FailureCode, LateReport, Task, Unchanged},
};

/// Handles terminal messages.
pub(super) struct TerminalMessages {
    transitions: Transitions,
}

impl TerminalMessages {
    /// On the tasks.
    pub(super) fn new(transitions: Transitions) -> Self {
        Self { transitions }
    }

    /// A transaction and a message; a read more where this environment has not seen the attempt.
    pub(super) async fn complete(
        &self,
        context: Context<'_>,
        message: TaskComplete,
    ) -> Result<Answer, BematicError> {
        let (task_id, attempt) = (message.task_id, message.attempt);
        let ending = Ending::Completed(Box::new(message.into()));
        self.end(context, task_id, attempt, ending).await
    }

    /// The same.
    pub(super) async fn error(
        &self,
        context: Context<'_>,
        message: TaskFailure,
    ) -> Result<Answer, BematicError> {
        let failure = Failure::new(FailureCode::AgentError, &message.error, message.recoverable)
            .with_fault(message.fault);
        let (task_id, attempt) = (message.task_id, message.attempt);
        self.end(context, task_id, attempt, Ending::Failed(failure))
            .await
    }

    /// The same.
    pub(super) async fn cancelled(
        &self,
        context: Context<'_>,
        message: TaskCancelled,
    ) -> Result<Answer, BematicError> {
        let (task_id, attempt) = (message.task_id, message.attempt);
        self.end(context, task_id, attempt, Ending::Cancelled(message.reason))
            .await
    }

    /// What changes nothing is confirmed too, or the agent would send it for ever; where it speaks
    /// of what is not the agent's, it is told so.
    async fn end(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        attempt: Option<Attempt>,
        ending: Ending,
    ) -> Result<Answer, BematicError> {
        let (agent, now) = (&context.sender.agent_id, context.now);
        let result = self
            .transitions
            .apply(
                agent,
                task_id,
                &ending.event(attempt),
                ending.completion(),
                now,
            )
            .await;
        let error = match result {
            Ok(Outcome::Unchanged(_, Unchanged::NotHeld)) => Some(
                TaskError::NotHeld {
                    task_id,
                    agent_id: agent.clone(),
                }
                .into(),
            ),
            // It counted when it came first.
            Ok(Outcome::Unchanged(task, Unchanged::Late))
                if attempt.is_some() && attempt == task.reported =>
            {
                None
            }
            Ok(Outcome::Unchanged(task, Unchanged::Late)) => {
                self.keep_late(task, attempt, ending, context).await?;
                None
            }
            Ok(_) => None,
            Err(
                error @ BematicError::Task(TaskError::Unknown { .. } | TaskError::NotYours { .. }),
            ) => Some(error),
            Err(error) => return Err(error),
        };
        Ok(Answer {
            confirm: true,
            error,
            messages: Vec::new(),
        })
    }

    /// Of an attempt that is over: kept, shown as late, and nothing else.
    async fn keep_late(
        &self,
        task: Task,
        attempt: Option<Attempt>,
        outcome: Ending,
        context: Context<'_>,
    ) -> Result<(), BematicError> {
        let Some(attempt) = attempt.or_else(|| task.last_attempt_of(&context.sender.agent_id))
        else {
            return Ok(());
        };
        let report = LateReport {
            attempt,
            at: context.now,
            outcome,
        };
        self.transitions.keep_late(task, &report, context.now).await
    }
}
