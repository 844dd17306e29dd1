//! The messages TASK_PROGRESS and TASK_STREAM, the hot path. Once a task is known to run, a report
//! costs one write, and one message to the notifier for each flush interval.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::{TaskProgress, TaskStream},
};

use super::{
    super::transitions::Outcome,
    MessageRouter,
    context::{Answer, Context, cancel_message},
};
use crate::{
    error::{BematicError, TaskError},
    task::{OutputChunk, Step, TaskEvent, Unchanged},
};

impl MessageRouter {
    /// Stores a step.
    pub(super) async fn progress(
        &self,
        context: Context<'_>,
        message: TaskProgress,
    ) -> Result<Answer, BematicError> {
        let task_id = message.task_id;
        let (attempt, answer) = self.attempt(context, task_id, message.attempt).await?;
        let step = Step::new(context.message_id.clone(), context.sent_at, message);
        self.ports
            .reports
            .add_step(task_id, attempt, &step, context.now)
            .await?;
        self.refresh_card(task_id).await?;
        Ok(answer)
    }

    /// Stores a chunk of output.
    pub(super) async fn stream(
        &self,
        context: Context<'_>,
        message: TaskStream,
    ) -> Result<Answer, BematicError> {
        let task_id = message.task_id;
        let (attempt, answer) = self.attempt(context, task_id, message.attempt).await?;
        let chunk = OutputChunk::new(
            context.message_id.clone(),
            context.sent_at,
            attempt,
            message,
        );
        self.ports.reports.add_chunk(&chunk, context.now).await?;
        self.refresh_card(task_id).await?;
        Ok(answer)
    }

    /// Returns the attempt of a report, after checking that the agent holds it: a report shows as
    /// well as an acknowledgement that the agent has accepted the task. The answer has TASK_CANCEL
    /// if the task was cancelled or moved.
    async fn attempt(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        claimed: Option<Attempt>,
    ) -> Result<(Attempt, Answer), BematicError> {
        let agent = &context.sender.agent_id;
        if let Some(attempt) = claimed
            && self.transitions.runs(task_id, attempt, agent)
        {
            return Ok((attempt, Answer::none()));
        }
        let event = TaskEvent::Started {
            attempt: claimed,
            said_at: context.sent_at,
        };
        // A report has the card refreshed anyway: if it changes nothing in the task, it calls for
        // no other message.
        let task = self.transitions.task_of(agent, task_id).await?;
        let outcome = match self
            .transitions
            .why_unchanged(agent, &task, &event, context.now)
        {
            Some(why) => Outcome::Unchanged(task, why),
            None => {
                self.transitions
                    .apply_report(agent, task, &event, None, context.now)
                    .await?
            }
        };
        let (task, is_held) = match outcome {
            Outcome::Unchanged(task, why) => (task, why != Unchanged::NotHeld),
            Outcome::Changed(task) => (task, true),
        };
        let attempt = claimed.or_else(|| task.last_attempt_of(agent));
        let attempt = attempt.filter(|_| is_held);
        let attempt = attempt.ok_or_else(|| TaskError::NotHeld {
            task_id,
            agent_id: agent.clone(),
        })?;
        let answer = Answer::messages(cancel_message(&task, agent));
        Ok((attempt, answer))
    }

    /// Enqueues a refresh of the card, with the time after the report was written.
    async fn refresh_card(&self, task: TaskId) -> Result<(), BematicError> {
        self.transitions.refresh(task, self.ports.clock.now()).await
    }
}
