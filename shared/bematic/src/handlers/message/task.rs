//! The messages about a task: TASK_ACK; TASK_PROGRESS and TASK_STREAM, the hot path; and the
//! terminal messages, which are confirmed once their effect is durable.

use bematic_protocol::{
    ids::{AgentId, Attempt, TaskId},
    messages::{CloudMessage, MessageAck, TaskAck, TaskCancel, TaskProgress, TaskStream},
};

use super::{super::transitions::TransitionOutcome, Context, MessageRouter, logged_system_error};
use crate::{
    error::{BematicError, Result, TaskError},
    task::{
        LateReport, OutputChunk, ProgressReport, Task, TaskEvent, TaskState, TerminalMessage,
        Unchanged,
    },
};

impl MessageRouter {
    /// Handles TASK_ACK: at most a read and a write, and a message unless a refresh is under way;
    /// for a refusal a transaction instead, and two messages.
    pub(super) async fn handle_task_ack(
        &self,
        context: Context<'_>,
        ack: TaskAck,
    ) -> Result<Vec<CloudMessage>> {
        let TaskAck {
            task_id,
            attempt,
            accepted,
            reason,
            retryable,
            spent,
            ..
        } = ack;
        let (agent, key) = (&context.sender.agent_id, context.sender.key_id.as_ref());
        let event = if accepted {
            TaskEvent::Started {
                attempt,
                said_at: context.sent_at,
            }
        } else {
            let reason = reason.unwrap_or_else(|| "the agent did not say why".into());
            TaskEvent::Refused {
                attempt,
                reason,
                retryable,
                spent,
            }
        };
        match self
            .transitions
            .apply_for_agent(agent, key, task_id, &event, None, context.now)
            .await?
        {
            TransitionOutcome::Unchanged(_, Unchanged::NotHeld) => {
                Err(TaskError::TaskNotHeld(task_id, agent.clone()).into())
            }
            TransitionOutcome::Unchanged(task, _) if accepted => {
                Ok(cancel_message(&task, agent).into_iter().collect())
            }
            TransitionOutcome::Changed(_) | TransitionOutcome::Unchanged(..) => Ok(Vec::new()),
        }
    }

    /// Handles TASK_PROGRESS: once the task is known to run, one write, and one message to the
    /// notifier for each flush interval.
    pub(super) async fn handle_task_progress(
        &self,
        context: Context<'_>,
        message: TaskProgress,
    ) -> Result<Vec<CloudMessage>> {
        let task_id = message.task_id;
        let (attempt, answers) = self
            .check_or_start_attempt(context, task_id, message.attempt)
            .await?;
        let Some(attempt) = attempt else {
            return Ok(answers);
        };
        let report = ProgressReport::new(context.message_id.clone(), context.sent_at, message);
        self.ports
            .reports
            .add_progress_report(task_id, attempt, &report, context.now)
            .await?;
        self.enqueue_card_refresh(task_id).await?;
        Ok(answers)
    }

    /// Handles TASK_STREAM, with the calls of [`Self::handle_task_progress`].
    pub(super) async fn handle_task_stream(
        &self,
        context: Context<'_>,
        message: TaskStream,
    ) -> Result<Vec<CloudMessage>> {
        let task_id = message.task_id;
        let (attempt, answers) = self
            .check_or_start_attempt(context, task_id, message.attempt)
            .await?;
        let Some(attempt) = attempt else {
            return Ok(answers);
        };
        let chunk = OutputChunk::new(
            context.message_id.clone(),
            context.sent_at,
            attempt,
            message,
        );
        self.ports.reports.add_chunk(&chunk, context.now).await?;
        self.enqueue_card_refresh(task_id).await?;
        Ok(answers)
    }

    /// Returns the attempt of a report, after checking that the agent holds it: a report shows as
    /// well as an acknowledgement that the agent has accepted the task. The answer is TASK_CANCEL
    /// if the task was cancelled or moved. `None` if the attempt ended some time ago, so that the
    /// report is not to be stored.
    async fn check_or_start_attempt(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        claimed: Option<Attempt>,
    ) -> Result<(Option<Attempt>, Vec<CloudMessage>)> {
        let (agent, now) = (&context.sender.agent_id, context.now);
        let key = context.sender.key_id.as_ref();
        if let Some(attempt) = claimed
            && self
                .transitions
                .is_known_running(task_id, attempt, agent, now)
        {
            return Ok((Some(attempt), Vec::new()));
        }
        let event = TaskEvent::Started {
            attempt: claimed,
            said_at: context.sent_at,
        };
        let decide = self.transitions.decision_function(Some(agent), &event, now);
        let task = self
            .transitions
            .read_agent_task(agent, key, task_id)
            .await?;
        // A report has the card refreshed anyway: if it changes nothing in the task, it calls for
        // no other message.
        let outcome = match decide(&task) {
            Err(why) => TransitionOutcome::Unchanged(task, why),
            Ok(_) => {
                self.transitions
                    .change_task(task, decide, None, key, now)
                    .await?
            }
        };
        let not_held = || TaskError::TaskNotHeld(task_id, agent.clone());
        let task = match outcome {
            TransitionOutcome::Unchanged(_, Unchanged::NotHeld) => return Err(not_held().into()),
            TransitionOutcome::Unchanged(task, _) | TransitionOutcome::Changed(task) => task,
        };
        let attempt = claimed
            .or_else(|| task.last_attempt_of(agent))
            .ok_or_else(not_held)?;
        let cancel = cancel_message(&task, agent);
        if task.takes_reports_of(attempt, now) {
            Ok((Some(attempt), cancel.into_iter().collect()))
        } else if let Some(cancel) = cancel {
            Ok((None, vec![cancel]))
        } else {
            Err(not_held().into())
        }
    }

    /// Enqueues a refresh of the card, with the time after the report was written.
    async fn enqueue_card_refresh(&self, task: TaskId) -> Result<()> {
        self.transitions
            .enqueue_refresh(task, self.ports.clock.now())
            .await
    }

    /// Handles a terminal message: a transaction and a message to the dispatcher; one more read
    /// where this environment has not cached the task, or the request to cancel that TASK_CANCELLED
    /// answers. A message that changes nothing is confirmed too, or the agent would repeat it for
    /// ever; one about a task that the agent does not hold is also answered with an error. A
    /// message of an attempt that is over is stored, and the card shows it as late.
    pub(super) async fn handle_terminal_message(
        &self,
        context: Context<'_>,
        task_id: TaskId,
        attempt: Option<Attempt>,
        terminal: TerminalMessage,
    ) -> Result<Vec<CloudMessage>> {
        let Context {
            sender,
            message_id,
            now,
            ..
        } = context;
        let (agent, event) = (&sender.agent_id, terminal.event(attempt));
        let key = sender.key_id.as_ref();
        let completion = terminal.completion();
        let applied = self
            .transitions
            .apply_for_agent(agent, key, task_id, &event, completion, now);
        let error = match applied.await {
            Ok(TransitionOutcome::Unchanged(_, Unchanged::NotHeld)) => {
                Some(TaskError::TaskNotHeld(task_id, agent.clone()).into())
            }
            // Unless the message counted when it arrived first.
            Ok(TransitionOutcome::Unchanged(task, Unchanged::Late))
                if attempt.is_none() || attempt != task.reported =>
            {
                if let Some(attempt) = attempt.or_else(|| task.last_attempt_of(agent)) {
                    let report = LateReport {
                        attempt,
                        at: now,
                        outcome: terminal,
                    };
                    self.transitions
                        .store_late_report(task, &report, now)
                        .await?;
                }
                None
            }
            Ok(_) => None,
            Err(
                error @ BematicError::Task(TaskError::UnknownTask(_) | TaskError::NotYourTask(..)),
            ) => Some(error),
            Err(error) => return Err(error),
        };
        let message_id = message_id.clone();
        let error = error.map(|error| logged_system_error(Some(message_id.clone()), &error));
        let confirmation = CloudMessage::MessageAck(MessageAck { message_id });
        Ok([confirmation].into_iter().chain(error).collect())
    }
}

/// Returns TASK_CANCEL for an agent that reports on a task that was cancelled, since the first one
/// may have been lost, or on a task that was moved to another agent.
pub(super) fn cancel_message(task: &Task, sender: &AgentId) -> Option<CloudMessage> {
    let cancelled = matches!(task.state, TaskState::Cancelled { .. });
    let reason = if cancelled || task.state.cancel_request().is_some() {
        "the task is cancelled"
    } else if task.was_taken_over_from(sender) {
        "the task was moved to another agent"
    } else {
        return None;
    };
    let reason = reason.into();
    Some(CloudMessage::TaskCancel(TaskCancel {
        task_id: task.id,
        reason,
    }))
}
