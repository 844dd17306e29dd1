//! The messages TASK_COMPLETE, TASK_ERROR and TASK_CANCELLED: confirmed once their effect is
//! durable.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::{TaskCancelled, TaskComplete, TaskFailure},
};

use super::{
    super::transitions::Outcome,
    MessageRouter,
    context::{Answer, Context},
};
use crate::{
    error::{BematicError, TaskError},
    task::{Failure, FailureCode, LateReport, Task, TerminalMessage, Unchanged},
};

impl MessageRouter {
    /// Handles TASK_COMPLETE: a transaction and a message; one more read where this environment has
    /// not cached the task.
    pub(super) async fn complete(
        &self,
        context: Context<'_>,
        message: TaskComplete,
    ) -> Result<Answer, BematicError> {
        let (task_id, attempt) = (message.task_id, message.attempt);
        let terminal = TerminalMessage::Completed(Box::new(message.into()));
        self.apply_terminal(context, task_id, attempt, terminal)
            .await
    }

    /// Handles TASK_ERROR, with the calls of [`Self::complete`].
    pub(super) async fn error(
        &self,
        context: Context<'_>,
        message: TaskFailure,
    ) -> Result<Answer, BematicError> {
        let failure = Failure {
            fault: message.fault,
            ..Failure::new(FailureCode::AgentError, &message.error, message.recoverable)
        };
        let (task_id, attempt) = (message.task_id, message.attempt);
        self.apply_terminal(context, task_id, attempt, TerminalMessage::Failed(failure))
            .await
    }

    /// Handles TASK_CANCELLED, with the calls of [`Self::complete`]; the read, too, where the
    /// request to cancel is not cached.
    pub(super) async fn cancelled(
        &self,
        context: Context<'_>,
        message: TaskCancelled,
    ) -> Result<Answer, BematicError> {
        let (task_id, attempt) = (message.task_id, message.attempt);
        let terminal = TerminalMessage::Cancelled(message.reason);
        self.apply_terminal(context, task_id, attempt, terminal)
            .await
    }

    /// Applies a terminal message. A message that changes nothing is confirmed too, or the agent
    /// would repeat it for ever; one about a task that the agent does not hold is also answered
    /// with an error.
    async fn apply_terminal(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        attempt: Option<Attempt>,
        terminal: TerminalMessage,
    ) -> Result<Answer, BematicError> {
        let (agent, now) = (&context.sender.agent_id, context.now);
        let result = self
            .transitions
            .apply(
                agent,
                task_id,
                &terminal.event(attempt),
                terminal.completion(),
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
            // The message counted when it arrived first.
            Ok(Outcome::Unchanged(task, Unchanged::Late))
                if attempt.is_some() && attempt == task.reported =>
            {
                None
            }
            Ok(Outcome::Unchanged(task, Unchanged::Late)) => {
                self.store_late_report(task, attempt, terminal, context)
                    .await?;
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

    /// Stores a terminal message of an attempt that is over; the card shows it as late.
    async fn store_late_report(
        &self,
        task: Task,
        attempt: Option<Attempt>,
        outcome: TerminalMessage,
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
        self.transitions
            .store_late_report(task, &report, context.now)
            .await
    }
}
