//! `notifier`: keeps one Slack message for each task and each bulk operation, posted once and then
//! updated.

mod breaker;

use std::sync::Arc;

use bematic_protocol::{
    ids::{BatchId, ChannelId, MessageTs, Subject, TaskId},
    time::Timestamp,
};
use tracing::{info, warn};

use crate::{
    error::BematicError,
    ports::{Card, Created, NotifyMessage, Ports},
    slack::{
        Message,
        api::{Destination, SlackApi, SlackError},
        card::{TaskView, batch_card},
    },
    task::{Origin, Task},
};

/// Posts and updates the messages in Slack.
pub struct Notifier {
    ports: Arc<Ports>,
    slack: Arc<dyn SlackApi>,
}

impl Notifier {
    /// Creates a notifier with these ports and this Slack client.
    pub fn new(ports: Arc<Ports>, slack: Arc<dyn SlackApi>) -> Self {
        Self { ports, slack }
    }

    /// Handles one message of the notifier's queue.
    ///
    /// # Errors
    /// The message has to be handled again; after [`SlackError::RateLimited`], at the time that
    /// Slack names.
    pub async fn handle(&self, message: NotifyMessage) -> Result<(), BematicError> {
        match message {
            NotifyMessage::Refresh { task_id } => self.refresh(task_id).await,
            NotifyMessage::Batch { batch_id } => self.refresh_batch(batch_id).await,
            NotifyMessage::Breaker { agent_id } => self.announce_breaker(&agent_id).await,
            NotifyMessage::Reply {
                channel_id,
                thread_ts,
                text,
                ..
            } => self.reply(channel_id, thread_ts, &text).await,
        }
    }

    /// Refreshes a task's card: reads the task and the card's record, and makes at most one call to
    /// Slack.
    async fn refresh(&self, id: TaskId) -> Result<(), BematicError> {
        let Some(task) = self.ports.tasks.find(id).await? else {
            warn!(task = %id, "there is no such task");
            return Ok(());
        };
        let (view, card) = futures::try_join!(
            TaskView::read(&self.ports, task.clone()),
            self.ports.cards.card(Subject::Task(id))
        )?;
        let message = view.render(self.ports.clock.now());
        self.post_or_update(
            Subject::Task(id),
            card,
            &destination(&task.origin),
            &message,
        )
        .await?;
        self.mark_shown(&task).await
    }

    async fn refresh_batch(&self, id: BatchId) -> Result<(), BematicError> {
        let (batch, card) = futures::try_join!(
            self.ports.batches.find(id),
            self.ports.cards.card(Subject::Batch(id))
        )?;
        let Some(batch) = batch else {
            warn!(batch = %id, "there is no such bulk operation");
            return Ok(());
        };
        let to = destination(&batch.origin);
        self.post_or_update(Subject::Batch(id), card, &to, &batch_card(&batch))
            .await?;
        if batch.is_finished() && batch.shown < batch.version {
            self.ports.batches.mark_shown(&batch).await?;
        }
        Ok(())
    }

    /// Posts or updates the message about a subject, unless it shows this content already.
    async fn post_or_update(
        &self,
        about: Subject,
        card: Option<Card>,
        to: &Destination,
        message: &Message,
    ) -> Result<(), BematicError> {
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
                self.update(&to.channel, &ts, message).await?;
                (Some(ts), begun_at)
            }
            begun => self.post(about, begun, to, message).await?,
        };
        info!(%about, "message refreshed in Slack");
        let card = Card {
            ts,
            shows: Some(shows),
            begun_at,
        };
        Ok(self.ports.cards.save_card(about, &card).await?)
    }

    /// Records that Slack shows the task's version. A progress report is no change of the task,
    /// whose version may be recorded already.
    async fn mark_shown(&self, task: &Task) -> Result<(), BematicError> {
        if task.shown < task.version {
            self.ports.deadlines.mark_shown(task).await?;
        }
        Ok(())
    }

    /// Updates a message. A message that was deleted is not posted again: somebody did not want it.
    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), BematicError> {
        match self.slack.update(channel, ts, message).await {
            Err(error @ SlackError::Gone { .. }) => {
                info!(code = error.code(), %error, "the message no longer exists");
                Ok(())
            }
            Err(error) if !error.is_transient() => give_up(&error),
            result => Ok(result?),
        }
    }

    /// Posts a message once. The intent is stored first, so that a later run that finds it without
    /// a message knows that there may be one, and searches for it.
    async fn post(
        &self,
        about: Subject,
        begun: Option<Card>,
        to: &Destination,
        message: &Message,
    ) -> Result<(Option<MessageTs>, Timestamp), BematicError> {
        let now = self.ports.clock.now();
        let intent = Card {
            ts: None,
            shows: None,
            begun_at: now,
        };
        let earlier = match begun {
            Some(card) => Some(card),
            None => match self.ports.cards.begin_card(about, &intent).await? {
                Created::New => None,
                Created::Existing(card) => Some(card),
            },
        };
        if let Some(card) = earlier {
            let found = match card.ts {
                Some(ts) => Some(ts),
                None => self.find(to, about, card.begun_at).await?,
            };
            if let Some(ts) = found {
                self.update(&to.channel, &ts, message).await?;
                return Ok((Some(ts), card.begun_at));
            }
        }
        match self.slack.post(to, message, Some(about)).await {
            Ok(ts) => Ok((Some(ts), now)),
            Err(error) if !error.is_transient() => give_up(&error).map(|()| (None, now)),
            Err(error) => Err(error.into()),
        }
    }

    async fn find(
        &self,
        to: &Destination,
        about: Subject,
        since: Timestamp,
    ) -> Result<Option<MessageTs>, BematicError> {
        match self.slack.find_marked(to, about, since).await {
            Err(error) if !error.is_transient() => give_up(&error).map(|()| None),
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
            Err(error) if !error.is_transient() => give_up(&error),
            result => Ok(result.map(drop)?),
        }
    }
}

fn destination(origin: &Origin) -> Destination {
    Destination {
        channel: origin.channel_id.clone(),
        thread_ts: origin.thread_ts.clone(),
    }
}

/// Gives up on a message. A call that Slack refuses will be refused again: the task itself goes on
/// without being shown.
#[expect(
    clippy::unnecessary_wraps,
    reason = "reads as what becomes of the call"
)]
fn give_up(error: &SlackError) -> Result<(), BematicError> {
    warn!(code = error.code(), %error, "message refused by Slack");
    Ok(())
}
