//! The execution of operators' commands.

use std::sync::Arc;

use bematic_protocol::{
    ids::{ChannelId, TaskId},
    time::Timestamp,
};

use super::super::transitions::{Outcome, Transitions};
use crate::{
    command::Command,
    error::BematicError,
    ports::Ports,
    slack::{Reply, card::TaskView, text},
    task::{Origin, TaskEvent},
};

/// The number of tasks in a list.
const LISTED: usize = 10;

/// Executes the commands of operators.
pub struct Operator {
    pub(super) ports: Arc<Ports>,
    pub(super) transitions: Transitions,
}

impl Operator {
    /// Creates an operator handler with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Executes a command and returns the answer. `request` is Slack's id of the operator's
    /// request.
    ///
    /// # Errors
    /// Internal errors only; an operator's error is in the answer.
    pub async fn execute(
        &self,
        command: Command,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<Reply, BematicError> {
        match command {
            Command::Run {
                agent,
                priority,
                prompt,
            } => {
                let outcome = self
                    .run(agent, priority, prompt, origin, request, now)
                    .await?;
                Ok(Reply::ephemeral(outcome.unwrap_or_else(|refusal| refusal)))
            }
            Command::Status(task) => self.status(task, &origin.channel_id, now).await,
            Command::Cancel(task) => {
                let event = TaskEvent::CancelRequested(origin.user_id);
                self.change(task, &origin.channel_id, event, now).await
            }
            Command::Retry(task) => {
                self.change(task, &origin.channel_id, TaskEvent::Retried, now)
                    .await
            }
            Command::Bulk(kind) => self.bulk(kind, origin, request, now).await,
            Command::DeadLetters => self.dead_letters(now).await,
            Command::Redrive => self.redrive().await,
            Command::Tasks => self.list_tasks(&origin.channel_id, now).await,
            Command::Agents => self.list_agents(now).await,
            Command::Health(None) => self.health(now).await,
            Command::Health(Some(id)) => self.health_of(&id, now).await,
            Command::Breaker(agent, order) => {
                let outcome = self.order(&agent, &order, &origin.user_id, now).await?;
                Ok(Reply::ephemeral(outcome.unwrap_or_else(|refusal| refusal)))
            }
            Command::Help => Ok(Reply::ephemeral(text::help())),
        }
    }

    /// Shows the task's card to the operator alone. A task of another channel is not shown.
    async fn status(
        &self,
        id: TaskId,
        channel: &ChannelId,
        now: Timestamp,
    ) -> Result<Reply, BematicError> {
        match self.ports.tasks.find(id).await? {
            Some(task) if task.origin.channel_id == *channel => {
                let view = TaskView::read(&self.ports, task).await?;
                Ok(Reply {
                    message: view.render(now),
                })
            }
            _ => Ok(Reply::ephemeral(text::unknown_task(id))),
        }
    }

    /// Cancels or retries a task of the channel: a read, a write, and a message or two.
    ///
    /// # Errors
    /// Internal errors only; an operator's error is in the answer.
    pub(super) async fn change(
        &self,
        id: TaskId,
        channel: &ChannelId,
        event: TaskEvent,
        now: Timestamp,
    ) -> Result<Reply, BematicError> {
        let found = self.ports.tasks.find(id).await?;
        let Some(task) = found.filter(|task| task.origin.channel_id == *channel) else {
            return Ok(Reply::ephemeral(text::unknown_task(id)));
        };
        let outcome = self.transitions.apply_to(task, &event, None, now).await?;
        Ok(Reply::ephemeral(match outcome {
            Outcome::Changed(task) => text::changed(&task),
            Outcome::Unchanged(task, _) => text::unchanged(&task),
        }))
    }

    async fn list_tasks(&self, channel: &ChannelId, now: Timestamp) -> Result<Reply, BematicError> {
        let page = self.ports.lists.in_channel(channel, LISTED, None).await?;
        Ok(Reply::ephemeral(text::tasks(&page.items, now)))
    }

    async fn list_agents(&self, now: Timestamp) -> Result<Reply, BematicError> {
        let agents = self.ports.agents.list().await?;
        Ok(Reply::ephemeral(text::agents(&agents, now)))
    }
}
