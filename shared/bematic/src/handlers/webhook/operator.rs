//! The execution of operators' commands.

use std::sync::Arc;

use bematic_protocol::{
    ids::{ChannelId, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use strum::IntoEnumIterator as _;
use tracing::info;

use super::super::transitions::{Outcome, Transitions};
use crate::{
    batch::{Batch, BatchKind},
    command::Command,
    dead_letter::QueueName,
    error::Result,
    ports::{Created, Ports},
    slack::{Reply, card::TaskView, text},
    task::{Origin, TaskEvent},
};

/// The number of tasks in a list.
const LISTED: usize = 10;
/// The number of messages of a queue that are redriven at once: as many as fit into Slack's 3 s.
const REDRIVEN: usize = 30;

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
    /// request. Only internal errors are errors: an operator's error is in the answer.
    pub async fn execute(
        &self,
        command: Command,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<Reply> {
        let channel = &origin.channel_id;
        let text = match command {
            Command::Run {
                agent,
                priority,
                prompt,
            } => {
                let run = self.run(agent, priority, prompt, origin, request, now);
                run.await?.unwrap_or_else(|refusal| refusal)
            }
            Command::Status(id) => {
                // A task of another channel is not shown.
                match self.ports.tasks.find(id).await? {
                    Some(task) if task.origin.channel_id == *channel => {
                        let view = TaskView::read(&self.ports, task).await?;
                        return Ok(Reply {
                            message: view.render(now),
                        });
                    }
                    _ => text::unknown_task(id),
                }
            }
            Command::Cancel(task) => {
                let event = TaskEvent::CancelRequested(origin.user_id);
                self.change(task, channel, event, now).await?
            }
            Command::Retry(task) => self.change(task, channel, TaskEvent::Retried, now).await?,
            Command::Bulk(kind) => self.bulk(kind, origin, request, now).await?,
            Command::DeadLetters => {
                let lists = QueueName::iter().map(|queue| self.ports.dead_letters.list(queue));
                text::dead_letters(&try_join_all(lists).await?, now)
            }
            Command::Redrive => self.redrive().await?,
            Command::Tasks => {
                let page = self.ports.lists.in_channel(channel, LISTED, None).await?;
                text::tasks(&page.items, now)
            }
            Command::Agents => {
                let agents = self.ports.agents.list().await?;
                text::agents(&agents, now)
            }
            Command::Health(None) => self.health(now).await?,
            Command::Health(Some(id)) => self.health_of(&id, now).await?,
            Command::Breaker(agent, order) => {
                let executed = self.order(&agent, &order, &origin.user_id, now).await?;
                executed.unwrap_or_else(|| text::breaker_contended(&agent))
            }
            Command::Help => text::help(),
        };
        Ok(Reply::ephemeral(text))
    }

    /// Cancels or retries a task of the channel: a read, a write, and a message or two.
    pub(super) async fn change(
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
        Ok(match self.transitions.apply_to(task, &event, now).await? {
            Outcome::Changed(task) => text::changed(&task),
            Outcome::Unchanged(task, _) => text::unchanged(&task),
        })
    }

    /// Stores a bulk operation, and enqueues its beginning and the refresh of its card: a
    /// transaction and two messages. A repeated request only sends the messages again.
    async fn bulk(
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
            self.ports.notifications.batch_changed(&batch),
        )?;
        Ok(text::bulk_accepted(kind))
    }

    async fn redrive(&self) -> Result<String> {
        let queues =
            QueueName::iter().map(|queue| self.ports.dead_letters.redrive(queue, REDRIVEN));
        let redriven = try_join_all(queues).await?.into_iter().sum();
        info!(redriven, "dead letters redriven");
        Ok(text::redriven(redriven))
    }
}
