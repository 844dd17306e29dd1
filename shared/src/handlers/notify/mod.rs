//! `notifier`: keeps one Slack message a task, posted once and then updated.

use std::{sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use tracing::{info, warn};

use super::{sqs, view::Snapshot};
use crate::{
    error::BematicError,
    ids::{ChannelId, MessageTs, TaskId},
    ports::{Card, Created, NotifyMessage, Tasks, Visibility},
    slack::{
        Message,
        api::{Destination, SlackApi, SlackError},
    },
    task::Task,
    time::{Clock, Timestamp},
};

/// Renders tasks into Slack.
pub struct Notifier {
    tasks: Arc<dyn Tasks>,
    slack: Arc<dyn SlackApi>,
    visibility: Arc<dyn Visibility>,
    clock: Arc<dyn Clock>,
}

impl Notifier {
    /// On the tasks and Slack.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        slack: Arc<dyn SlackApi>,
        visibility: Arc<dyn Visibility>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            tasks,
            slack,
            visibility,
            clock,
        }
    }

    /// Handles a batch: tasks side by side, the messages of one in order. What Slack has no time
    /// for comes back when Slack says, and what failed otherwise soon: a task's message is not to
    /// stand still for the queue's visibility timeout. Only the rest of its own task waits with it.
    pub async fn batch(&self, event: SqsEvent) -> SqsBatchResponse {
        sqs::each_or(
            event,
            |message| self.handle(message),
            async |cause, records| self.postpone(cause, records).await,
        )
        .await
    }

    /// All of them: one that stayed invisible would hold back its whole group.
    async fn postpone(&self, cause: &BematicError, records: &[SqsMessage]) {
        let Some(wait) = records.first().and_then(|record| wait(cause, record)) else {
            return;
        };
        for receipt in records.iter().filter_map(|it| it.receipt_handle.as_ref()) {
            if let Err(error) = self.visibility.retry_after(receipt, wait).await {
                warn!(code = "QUEUE_UNAVAILABLE", %error, "comes back only when the queue says");
            }
        }
    }

    /// Does what the state calls for.
    ///
    /// # Errors
    /// The message is to be given again; after [`SlackError::RateLimited`], when Slack says.
    pub async fn handle(&self, message: NotifyMessage) -> Result<(), BematicError> {
        match message {
            NotifyMessage::Refresh { task_id } => self.refresh(task_id).await,
            NotifyMessage::Reply {
                channel_id,
                thread_ts,
                text,
                ..
            } => self.reply(channel_id, thread_ts, &text).await,
        }
    }

    /// The task as it is now, the message as it is now, and at most one call to Slack.
    async fn refresh(&self, id: TaskId) -> Result<(), BematicError> {
        let Some(task) = self.tasks.find(id).await? else {
            warn!(task = %id, "there is no such task to show");
            return Ok(());
        };
        let now = self.clock.now();
        let origin = task.origin.clone();
        let to = Destination {
            channel: origin.channel_id,
            thread_ts: origin.thread_ts,
        };
        let (snapshot, card) = futures::try_join!(
            Snapshot::read(&*self.tasks, task.clone()),
            self.tasks.card(id)
        )?;
        let message = snapshot.render(now);
        let shows = message.fingerprint();
        if card
            .as_ref()
            .is_some_and(|card| card.shows.as_ref() == Some(&shows))
        {
            return Ok(());
        }
        let (ts, begun_at) = match card {
            Some(Card {
                ts: Some(ts),
                begun_at,
                ..
            }) => {
                self.update(&to.channel, &ts, &message).await?;
                (Some(ts), begun_at)
            }
            begun => self.post(&task, begun, &to, &message, now).await?,
        };
        info!(task = %id, state = task.state.name(), "task shown in Slack");
        let card = Card {
            ts,
            shows: Some(shows),
            begun_at,
        };
        Ok(self.tasks.save_card(id, &card).await?)
    }

    /// A message that was deleted is not posted again: somebody did not want it.
    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), BematicError> {
        match self.slack.update(channel, ts, message).await {
            Err(error @ SlackError::Gone { .. }) => {
                info!(code = error.code(), %error, "the task's message is gone");
                Ok(())
            }
            Err(error) if !error.is_transient() => given_up(&error),
            result => Ok(result?),
        }
    }

    /// Posts once: the intent is stored first, so that whoever finds it without a message knows
    /// that there may be one, and looks.
    async fn post(
        &self,
        task: &Task,
        begun: Option<Card>,
        to: &Destination,
        message: &Message,
        now: Timestamp,
    ) -> Result<(Option<MessageTs>, Timestamp), BematicError> {
        let intent = Card {
            ts: None,
            shows: None,
            begun_at: now,
        };
        let earlier = match begun {
            Some(card) => Some(card),
            None => match self.tasks.begin_card(task.id, &intent).await? {
                Created::New => None,
                Created::Existing(card) => Some(card),
            },
        };
        if let Some(card) = earlier {
            let found = match card.ts {
                Some(ts) => Some(ts),
                None => self.find(to, task.id, card.begun_at).await?,
            };
            if let Some(ts) = found {
                self.update(&to.channel, &ts, message).await?;
                return Ok((Some(ts), card.begun_at));
            }
        }
        match self.slack.post(to, message, Some(task.id)).await {
            Ok(ts) => Ok((Some(ts), now)),
            Err(error) if !error.is_transient() => given_up(&error).map(|()| (None, now)),
            Err(error) => Err(error.into()),
        }
    }

    async fn find(
        &self,
        to: &Destination,
        task: TaskId,
        since: Timestamp,
    ) -> Result<Option<MessageTs>, BematicError> {
        match self.slack.find_marked(to, task, since).await {
            Err(error) if !error.is_transient() => given_up(&error).map(|()| None),
            result => Ok(result?),
        }
    }

    async fn reply(
        &self,
        channel: ChannelId,
        thread_ts: MessageTs,
        text: &str,
    ) -> Result<(), BematicError> {
        let to = Destination {
            channel,
            thread_ts: Some(thread_ts),
        };
        match self.slack.post(&to, &Message::plain(text), None).await {
            Err(error) if !error.is_transient() => given_up(&error),
            result => Ok(result.map(drop)?),
        }
    }
}

/// How long a failed message waits: as long as Slack says, or 2 s, and twice as long after each
/// further failure, up to the queue's own visibility timeout. Nothing where waiting is no help.
fn wait(error: &BematicError, record: &SqsMessage) -> Option<Duration> {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_mins(3);
    match error {
        BematicError::Slack(SlackError::RateLimited { retry_after, .. }) => Some(*retry_after),
        error if error.is_transient() => {
            let received = record.attributes.get("ApproximateReceiveCount");
            let received: u32 = received.and_then(|count| count.parse().ok()).unwrap_or(1);
            let doublings = received.saturating_sub(1).min(16);
            Some(FIRST.saturating_mul(1 << doublings).min(LONGEST))
        }
        _ => None,
    }
}

/// What Slack refuses it will refuse again: the task itself goes on without being shown.
#[expect(
    clippy::unnecessary_wraps,
    reason = "reads as what becomes of the call"
)]
fn given_up(error: &SlackError) -> Result<(), BematicError> {
    warn!(code = error.code(), %error, "Slack does not show this task");
    Ok(())
}

#[cfg(test)]
mod tests;
