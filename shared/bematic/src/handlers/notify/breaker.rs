//! The notices about breakers in the operations channel.

use bematic_protocol::ids::{AgentId, NoticeId, Subject};

use super::Notifier;
use crate::{
    breaker::Incident,
    error::BematicError,
    ports::Card,
    slack::{
        Message,
        api::Destination,
        card::{closed_notice, opened_notice},
    },
};

impl Notifier {
    /// Posts a notice when a breaker opened, and one when it has closed again; failed probes in
    /// between cause none. Two reads, one or two for each incident that is stored, a write; and for
    /// each notice the calls of a card.
    pub(super) async fn announce_breaker(&self, agent: &AgentId) -> Result<(), BematicError> {
        let breaker = self.ports.breakers.breaker(agent).await?;
        for incident in &breaker.recent {
            self.announce_incident(agent, incident).await?;
        }
        Ok(self
            .ports
            .breakers
            .mark_announced(agent, breaker.generation)
            .await?)
    }

    /// Posts the notices of an incident. The closing notice is the last, so there is nothing left
    /// to do once it is posted.
    async fn announce_incident(
        &self,
        agent: &AgentId,
        incident: &Incident,
    ) -> Result<(), BematicError> {
        let opening = Subject::Notice(NoticeId::opened(agent, incident.number));
        let closing = Subject::Notice(NoticeId::closed(agent, incident.number));
        let Some(closed) = &incident.closed else {
            let card = self.ports.cards.card(opening).await?;
            let message = opened_notice(agent, incident);
            return self.notice(opening, card, &message).await;
        };
        let closing_card = self.ports.cards.card(closing).await?;
        if closing_card
            .as_ref()
            .is_some_and(|card| card.shows.is_some())
        {
            return Ok(());
        }
        let card = self.ports.cards.card(opening).await?;
        self.notice(opening, card, &opened_notice(agent, incident))
            .await?;
        let message = closed_notice(agent, incident, closed);
        self.notice(closing, closing_card, &message).await
    }

    /// Posts a notice. Without an operations channel it is recorded as if Slack had refused it: old
    /// notices are not posted if a channel is configured later.
    async fn notice(
        &self,
        about: Subject,
        card: Option<Card>,
        message: &Message,
    ) -> Result<(), BematicError> {
        if matches!(&card, Some(card) if card.ts.is_none() && card.shows.is_some()) {
            return Ok(());
        }
        match (&self.ports.settings.operations_channel, card) {
            (Some(channel), card) => {
                let to = Destination {
                    channel: channel.clone(),
                    thread_ts: None,
                };
                self.post_or_update(about, card, &to, message).await
            }
            (None, None) => {
                let card = Card {
                    ts: None,
                    shows: Some(message.fingerprint()),
                    begun_at: self.ports.clock.now(),
                };
                Ok(self.ports.cards.save_card(about, &card).await?)
            }
            (None, Some(_)) => Ok(()),
        }
    }
}
