//! `notifier`: keeps one Slack message a task, posted once and then updated.

use std::sync::Arc;

use tracing::{info, warn};

use super::view::Snapshot;
use crate::{
    error::BematicError,
    ids::{ChannelId, MessageTs, TaskId},
    ports::{Card, Created, NotifyMessage, Tasks},
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
    clock: Arc<dyn Clock>,
}

impl Notifier {
    /// On the tasks and Slack.
    pub fn new(tasks: Arc<dyn Tasks>, slack: Arc<dyn SlackApi>, clock: Arc<dyn Clock>) -> Self {
        Self {
            tasks,
            slack,
            clock,
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
            return self.mark_shown(&task).await;
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
        self.tasks.save_card(id, &card).await?;
        self.mark_shown(&task).await
    }

    /// A report is no change of the task: it may be shown already.
    async fn mark_shown(&self, task: &Task) -> Result<(), BematicError> {
        if task.shown < task.version {
            self.tasks.mark_shown(task).await?;
        }
        Ok(())
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
