//! What the operations channel is told of a breaker.

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
    /// A message when it opened, one when it has closed again; what is between, trying and failing
    /// again, is no news. Two reads, one or two for each incident that is remembered, a write; and
    /// for a message what a card takes.
    pub(super) async fn tell_of_breaker(&self, agent: &AgentId) -> Result<(), BematicError> {
        let breaker = self.ports.breakers.breaker(agent).await?;
        for incident in &breaker.recent {
            self.tell_of_incident(agent, incident).await?;
        }
        Ok(self
            .ports
            .breakers
            .announced(agent, breaker.generation)
            .await?)
    }

    /// That it closed is told last, and once that is done there is nothing to look at any more.
    async fn tell_of_incident(
        &self,
        agent: &AgentId,
        incident: &Incident,
    ) -> Result<(), BematicError> {
        let opening = NoticeId::opened(agent, incident.number).into();
        let closing = NoticeId::closed(agent, incident.number).into();
        let Some(closed) = &incident.closed else {
            let card = self.ports.cards.card(opening).await?;
            let message = opened_notice(agent, incident);
            return self.notice(opening, card, &message).await;
        };
        let told = self.ports.cards.card(closing).await?;
        if told.as_ref().is_some_and(|card| card.shows.is_some()) {
            return Ok(());
        }
        let card = self.ports.cards.card(opening).await?;
        self.notice(opening, card, &opened_notice(agent, incident))
            .await?;
        let message = closed_notice(agent, incident, closed);
        self.notice(closing, told, &message).await
    }

    /// Without a channel it is noted as if Slack had refused it: whoever gives us one later does not
    /// want to read what is long over.
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
                self.show(about, card, &to, message).await
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
