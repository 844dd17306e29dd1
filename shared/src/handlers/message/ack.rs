//! TASK_ACK

use super::{
    super::transitions::{Outcome, Transitions},
    Answer, Context, stop,
};
use crate::{
    error::{BematicError, TaskError},
    protocol::TaskAck,
    task::{TaskEvent, Unchanged},
};

/// Notes whether agents take their tasks.
pub struct Acknowledge {
    transitions: Transitions,
}

impl Acknowledge {
    /// On the tasks.
    pub fn new(transitions: Transitions) -> Self {
        Self { transitions }
    }

    /// A read, a write and a message; a refusal needs a transaction and a message more.
    pub async fn handle(&self, context: Context<'_>, ack: TaskAck) -> Result<Answer, BematicError> {
        let TaskAck {
            task_id,
            attempt,
            accepted,
            reason,
            retryable,
            spent,
            ..
        } = ack;
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
        let agent = &context.sender.agent_id;
        match self
            .transitions
            .apply(agent, task_id, &event, None, context.now)
            .await?
        {
            Outcome::Unchanged(_, Unchanged::NotHeld) => Err(TaskError::NotHeld {
                task_id,
                agent_id: agent.clone(),
            }
            .into()),
            Outcome::Unchanged(task, _) if accepted => Ok(Answer::messages(stop(&task, agent))),
            Outcome::Changed(_) | Outcome::Unchanged(..) => Ok(Answer::none()),
        }
    }
}
