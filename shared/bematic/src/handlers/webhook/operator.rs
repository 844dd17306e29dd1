//! The execution of operators' commands.

use std::sync::Arc;

use bematic_protocol::{
    ids::{ChannelId, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use strum::IntoEnumIterator as _;
use tracing::info;

use super::super::transitions::{TransitionOutcome, Transitions};
use crate::{
    batch::{Batch, BatchKind},
    command::Command,
    dead_letter::QueueName,
    error::Result,
    ports::{Created, Ports},
    slack::{CommandReply, card::TaskView, text},
    task::{Origin, TaskEvent},
};

/// The number of tasks in a list.
const MAX_LISTED_TASKS: usize = 10;
/// The number of messages of a queue that are redriven at once: as many as fit into Slack's 3 s.
const MAX_REDRIVEN_PER_QUEUE: usize = 30;

/// Executes the commands of operators.
pub struct CommandExecutor {
    pub(super) ports: Arc<Ports>,
    pub(super) transitions: Transitions,
}

impl CommandExecutor {
    /// Creates an executor with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Executes a command and returns the answer. `request` is Slack's id of the operator's
    /// request. Only internal errors are errors: an operator's error is in the answer.
    pub async fn execute(
        &self,
        command: Command,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<CommandReply> {
        let channel = &origin.channel_id;
        let text = match command {
            Command::Run {
                agent,
                priority,
                prompt,
            } => {
                let run = self.create_task(agent, priority, prompt, origin, request, now);
                run.await?.unwrap_or_else(|refusal| refusal)
            }
            Command::Status(id) => {
                // A task of another channel is not shown.
                match self.ports.tasks.find(id).await? {
                    Some(task) if task.origin.channel_id == *channel => {
                        let view = TaskView::read(&self.ports, task).await?;
                        return Ok(CommandReply {
                            message: view.render(now),
                        });
                    }
                    _ => text::unknown_task(id),
                }
            }
            Command::Cancel(task) => {
                let event = TaskEvent::CancelRequested(origin.user_id);
                self.cancel_or_retry_task(task, channel, event, now).await?
            }
            Command::Retry(task) => {
                self.cancel_or_retry_task(task, channel, TaskEvent::Retried, now)
                    .await?
            }
            Command::Bulk(kind) => {
                self.create_bulk_operation(kind, origin, request, now)
                    .await?
            }
            Command::DeadLetters => {
                let lists = QueueName::iter().map(|queue| self.ports.dead_letters.list(queue));
                text::dead_letters(&try_join_all(lists).await?, now)
            }
            Command::Redrive => self.redrive().await?,
            Command::Tasks => {
                let page = self
                    .ports
                    .lists
                    .in_channel(channel, MAX_LISTED_TASKS, None)
                    .await?;
                text::tasks(&page.items, now)
            }
            Command::Agents => {
                let agents = self.ports.agents.list().await?;
                text::agents(&agents, now)
            }
            Command::Health(None) => self.show_health_overview(now).await?,
            Command::Health(Some(id)) => self.show_agent_health(&id, now).await?,
            Command::Breaker(agent, order) => {
                let executed = self
                    .execute_breaker_order(&agent, &order, &origin.user_id, now)
                    .await?;
                executed.unwrap_or_else(|| text::breaker_contended(&agent))
            }
            Command::Help => text::help(),
        };
        Ok(CommandReply::ephemeral(text))
    }

    /// Cancels or retries a task of the channel: a read, a write, and a message or two.
    pub(super) async fn cancel_or_retry_task(
        &self,
        id: TaskId,
        channel: &ChannelId,
        event: TaskEvent,
        now: Timestamp,
    ) -> Result<String> {
        let found = self.ports.tasks.find(id).await?;
        let Some(task) = found.filter(|task| task.origin.channel_id == *channel) else {
            return Ok(text::unknown_task(id));
        };
        Ok(
            match self
                .transitions
                .apply_to_loaded_task(task, &event, now)
                .await?
            {
                TransitionOutcome::Changed(task) => text::cancel_or_retry_accepted(&task),
                TransitionOutcome::Unchanged(task, _) => text::task_unchanged(&task),
            },
        )
    }

    /// Stores a bulk operation, and enqueues its beginning and the refresh of its card: a
    /// transaction and two messages. A repeated request only sends the messages again.
    async fn create_bulk_operation(
        &self,
        kind: BatchKind,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<String> {
        let mut batch = Batch::new(self.ports.ids.batch(), kind, origin, now);
        match self.ports.batches.create(&batch, request).await? {
            Created::New => info!(batch = %batch.id, ?kind, "bulk operation created"),
            Created::Existing(first) => {
                info!(batch = %first, "request repeated");
                batch = self.ports.batches.find(first).await?.unwrap_or(batch);
            }
        }
        futures::try_join!(
            self.ports.batch_queue.enqueue(batch.id),
            self.ports.notifications.enqueue_batch_refresh(&batch),
        )?;
        Ok(text::bulk_accepted(batch.kind))
    }

    /// Redrives some dead letters of each queue. Returns the text for the operator.
    async fn redrive(&self) -> Result<String> {
        let queues = QueueName::iter().map(|queue| {
            self.ports
                .dead_letters
                .redrive(queue, MAX_REDRIVEN_PER_QUEUE)
        });
        let redriven = try_join_all(queues).await?.into_iter().sum();
        info!(redriven, "dead letters redriven");
        Ok(text::dead_letters_redriven(redriven))
    }
}
