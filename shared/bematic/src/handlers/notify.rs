//! `notifier`: keeps one Slack message for each task, bulk operation and notice, posted once and then
//! updated.

use std::sync::Arc;

use bematic_protocol::{
    ids::{AgentId, BatchId, CardSubject, ChannelId, MessageTs, NoticeId, TaskId},
    time::Timestamp,
};
use tracing::{info, warn};

use crate::{
    agent::TakeOver,
    breaker::Incident,
    error::{BematicError, Result},
    ports::{CardRecord, Created, NotifyMessage, Ports},
    slack::{
        Message,
        api::{Destination, SlackApi, SlackError},
        card::{
            TaskView, batch_card, breaker_closed_notice, breaker_opened_notice, take_over_notice,
        },
    },
    task::Origin,
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

    /// Handles one message of the notifier's queue. After an error the message has to be handled
    /// again; after [`SlackError::RateLimited`], at the time that Slack names.
    pub async fn handle(&self, message: NotifyMessage) -> Result<()> {
        match message {
            NotifyMessage::Refresh { task_id } => self.refresh_task_card(task_id).await,
            NotifyMessage::Batch { batch_id } => self.refresh_batch_card(batch_id).await,
            NotifyMessage::Breaker { agent_id } => self.announce_breaker(&agent_id).await,
            NotifyMessage::TakeOver(take_over) => self.announce_take_over(&take_over).await,
            NotifyMessage::Reply(reply) => {
                let to = Destination {
                    channel: reply.channel_id,
                    thread_ts: reply.thread_ts,
                };
                let message = Message::plain(reply.text);
                let posted = match &reply.only_for {
                    Some(user) => self.slack.post_ephemeral(&to, user, &message).await,
                    None => self.slack.post(&to, &message, None).await.map(drop),
                };
                none_if_refused(posted).map(drop)
            }
            NotifyMessage::Unknown => Err(BematicError::UnknownMessageKind),
        }
    }

    /// Refreshes a task's card: reads the task and the card's record, and makes at most one call to
    /// Slack.
    async fn refresh_task_card(&self, id: TaskId) -> Result<()> {
        let Some(task) = self.ports.tasks.find(id).await? else {
            warn!(task = %id, "there is no such task");
            return Ok(());
        };
        let (about, to) = (CardSubject::Task(id), destination(&task.origin));
        let card = self.ports.cards.find(about);
        let view = TaskView::read(&self.ports, task);
        let (view, card) = futures::try_join!(view, card)?;
        let message = view.render(self.ports.clock.now());
        self.post_or_update(about, card, &to, &message).await?;
        // A progress report is no change of the task, whose version may be recorded already.
        if view.task.shown < view.task.version {
            self.ports.deadlines.mark_shown(&view.task).await?;
        }
        Ok(())
    }

    async fn refresh_batch_card(&self, id: BatchId) -> Result<()> {
        let (batch, card) = futures::try_join!(
            self.ports.batches.find(id),
            self.ports.cards.find(CardSubject::Batch(id))
        )?;
        let Some(batch) = batch else {
            warn!(batch = %id, "there is no such bulk operation");
            return Ok(());
        };
        let to = destination(&batch.origin);
        self.post_or_update(CardSubject::Batch(id), card, &to, &batch_card(&batch))
            .await?;
        if batch.is_finished() && batch.shown < batch.version {
            self.ports.batches.mark_shown(&batch).await?;
        }
        Ok(())
    }

    /// Posts a notice in the operations channel when a breaker opened, and one when it has closed
    /// again; failed probes in between cause none. A read, one or two for each incident that is
    /// stored, a write; and for each notice the calls of a card.
    async fn announce_breaker(&self, agent: &AgentId) -> Result<()> {
        let breaker = self.ports.breakers.breaker(agent).await?;
        for incident in &breaker.recent {
            self.announce_incident(agent, incident).await?;
        }
        Ok(self
            .ports
            .breakers
            .mark_breaker_announced(agent, breaker.generation)
            .await?)
    }

    /// Posts a notice in the operations channel that another address has taken over an agent's
    /// connection: a read, and the calls of a card.
    async fn announce_take_over(&self, take_over: &TakeOver) -> Result<()> {
        let id = NoticeId::take_over(&take_over.agent_id, &take_over.connection_id);
        let about = CardSubject::Notice(id);
        let card = self.ports.cards.find(about).await?;
        self.post_or_update_notice(about, card, &take_over_notice(take_over))
            .await
    }

    /// Posts the notices of an incident. The closing notice is the last, so there is nothing left
    /// to do once it is posted.
    async fn announce_incident(&self, agent: &AgentId, incident: &Incident) -> Result<()> {
        let cards = &self.ports.cards;
        let closing = CardSubject::Notice(NoticeId::closed(agent, incident.number));
        let closing_card = match &incident.closed {
            Some(_) => cards.find(closing).await?,
            None => None,
        };
        if closing_card
            .as_ref()
            .is_some_and(|card| card.shows.is_some())
        {
            return Ok(());
        }
        let opening = CardSubject::Notice(NoticeId::opened(agent, incident.number));
        let card = cards.find(opening).await?;
        self.post_or_update_notice(opening, card, &breaker_opened_notice(agent, incident))
            .await?;
        if let Some(closed) = &incident.closed {
            let message = breaker_closed_notice(agent, incident, closed);
            self.post_or_update_notice(closing, closing_card, &message)
                .await?;
        }
        Ok(())
    }

    /// Posts a notice. Without an operations channel it is recorded as if Slack had refused it: old
    /// notices are not posted if a channel is configured later.
    async fn post_or_update_notice(
        &self,
        about: CardSubject,
        card: Option<CardRecord>,
        message: &Message,
    ) -> Result<()> {
        let is_refused = |card: &CardRecord| card.ts.is_none() && card.shows.is_some();
        match (&self.ports.settings.operations_channel, card) {
            (_, Some(card)) if is_refused(&card) => Ok(()),
            (Some(channel), card) => {
                let to = Destination {
                    channel: channel.clone(),
                    thread_ts: None,
                };
                self.post_or_update(about, card, &to, message).await
            }
            (None, None) => {
                let card = CardRecord {
                    ts: None,
                    shows: Some(message.fingerprint()),
                    begun_at: self.ports.clock.now(),
                };
                Ok(self.ports.cards.save(about, &card).await?)
            }
            (None, Some(_)) => Ok(()),
        }
    }

    /// Posts or updates the message about a subject, unless it shows this content already.
    async fn post_or_update(
        &self,
        about: CardSubject,
        card: Option<CardRecord>,
        to: &Destination,
        message: &Message,
    ) -> Result<()> {
        let shows = Some(message.fingerprint());
        let (ts, begun_at) = match card {
            Some(card) if card.shows == shows => return Ok(()),
            Some(CardRecord {
                ts: Some(ts),
                begun_at,
                ..
            }) => {
                self.update(&to.channel, &ts, message).await?;
                (Some(ts), begun_at)
            }
            begun => self.post_once(about, begun, to, message).await?,
        };
        info!(%about, "message refreshed in Slack");
        let card = CardRecord {
            ts,
            shows,
            begun_at,
        };
        Ok(self.ports.cards.save(about, &card).await?)
    }

    /// Updates a message. A message that was deleted is not posted again: somebody did not want it.
    async fn update(&self, channel: &ChannelId, ts: &MessageTs, message: &Message) -> Result<()> {
        none_if_refused(self.slack.update(channel, ts, message).await).map(drop)
    }

    /// Posts a message once. The intent is stored first, so that a later run that finds it without
    /// a message knows that there may be one, and searches for it.
    async fn post_once(
        &self,
        about: CardSubject,
        begun: Option<CardRecord>,
        to: &Destination,
        message: &Message,
    ) -> Result<(Option<MessageTs>, Timestamp)> {
        let now = self.ports.clock.now();
        let intent = CardRecord {
            ts: None,
            shows: None,
            begun_at: now,
        };
        let earlier = if begun.is_some() {
            begun
        } else if let Created::Existing(card) = self.ports.cards.begin_post(about, &intent).await? {
            Some(card)
        } else {
            None
        };
        if let Some(CardRecord { ts, begun_at, .. }) = earlier {
            let found = if ts.is_some() {
                ts
            } else {
                none_if_refused(self.slack.find_marked_message(to, about, begun_at).await)?
                    .flatten()
            };
            if let Some(ts) = found {
                self.update(&to.channel, &ts, message).await?;
                return Ok((Some(ts), begun_at));
            }
        }
        let posted = self.slack.post(to, message, Some(about)).await;
        Ok((none_if_refused(posted)?, now))
    }
}

/// Returns the channel and the thread in which a card is posted.
fn destination(origin: &Origin) -> Destination {
    Destination {
        channel: origin.channel_id.clone(),
        thread_ts: origin.thread_ts.clone(),
    }
}

/// Returns the result of a call to Slack, or `None` if Slack refuses it: it will be refused again,
/// and the task itself goes on without being shown.
fn none_if_refused<T>(result: Result<T, SlackError>) -> Result<Option<T>> {
    match result {
        // Somebody deleted the message on purpose.
        Err(error @ SlackError::Gone { .. }) => {
            info!(%error, "message is gone: not updated");
            Ok(None)
        }
        Err(error) if !error.is_transient() => {
            warn!(code = error.code(), %error, "message refused by Slack");
            Ok(None)
        }
        result => Ok(Some(result?)),
    }
}
