//! TASK_ACK

use std::sync::Arc;

use bematic_protocol::messages::TaskAck;

use super::{
    super::transitions::{Outcome, Transitions},
    Answer, Context, Running, stop,
};
use crate::{
    error::{BematicError, TaskError},
    task::{TaskEvent, Unchanged},
};

/// Notes whether agents take their tasks.
pub struct Acknowledge {
    transitions: Transitions,
    running: Arc<Running>,
}

impl Acknowledge {
    /// On the tasks.
    pub fn new(transitions: Transitions, running: Arc<Running>) -> Self {
        Self {
            transitions,
            running,
        }
    }

    /// A write and a message; a refusal needs a read, a transaction and a message.
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
        let agent = &context.sender.agent_id;
        let (said_at, now) = (context.sent_at, context.now);
        let outcome = if accepted {
            self.transitions
                .begin(agent, task_id, attempt, said_at, now)
                .await?
        } else {
            let event = TaskEvent::Refused {
                attempt,
                reason: reason.unwrap_or_else(|| "the agent did not say why".into()),
                retryable,
                spent,
            };
            self.transitions
                .apply(agent, task_id, &event, None, now)
                .await?
        };
        match outcome {
            Outcome::Unchanged(_, Unchanged::NotHeld) => Err(TaskError::NotHeld {
                task_id,
                agent_id: agent.clone(),
            }
            .into()),
            Outcome::Unchanged(task, _) if accepted => Ok(Answer::messages(stop(&task, agent))),
            Outcome::Changed(task) => {
                // Slack is being told of it, and will be shown what is reported meanwhile.
                self.running.note_task(&task);
                let told_at = if task.is_told_of(now) {
                    task.told_at
                } else {
                    now
                };
                self.running.told(task_id, told_at);
                Ok(Answer::none())
            }
            Outcome::Unchanged(..) => Ok(Answer::none()),
        }
    }
}
