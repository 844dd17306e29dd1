//! The message TASK_ACK.

use bematic_protocol::messages::TaskAck;

use super::{
    super::transitions::Outcome,
    MessageRouter,
    context::{Answer, Context, cancel_message},
};
use crate::{
    error::{BematicError, TaskError},
    task::{TaskEvent, Unchanged},
};

impl MessageRouter {
    /// Handles TASK_ACK: at most a read and a write, and a message unless a refresh is under way;
    /// for a refusal a transaction instead, and two messages.
    pub(super) async fn acknowledge(
        &self,
        context: Context<'_>,
        ack: TaskAck,
    ) -> Result<Answer, BematicError> {
        let TaskAck {
            task_id,
            attempt,
            accepted,
            reason,
            retryable,
            spent,
            ..
        } = ack;
        let agent = &context.sender.agent_id;
        let event = if accepted {
            let said_at = context.sent_at;
            TaskEvent::Started { attempt, said_at }
        } else {
            TaskEvent::Refused {
                attempt,
                reason: reason.unwrap_or_else(|| "the agent did not say why".into()),
                retryable,
                spent,
            }
        };
        let outcome = self
            .transitions
            .apply(agent, task_id, &event, None, context.now)
            .await?;
        match outcome {
            Outcome::Unchanged(_, Unchanged::NotHeld) => Err(TaskError::NotHeld {
                task_id,
                agent_id: agent.clone(),
            }
            .into()),
            Outcome::Unchanged(task, _) if accepted => {
                Ok(Answer::messages(cancel_message(&task, agent)))
            }
            Outcome::Changed(_) | Outcome::Unchanged(..) => Ok(Answer::none()),
        }
    }
}
