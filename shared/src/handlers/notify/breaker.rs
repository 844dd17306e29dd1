//! What the operations channel is told of a breaker.

use tracing::info;

use super::Notifier;
use crate::{
    breaker::State,
    error::BematicError,
    ids::{AgentId, NoticeId, Subject},
    slack::{
        Message,
        api::Destination,
        card::{closed_notice, opened_notice},
    },
};

impl Notifier {
    /// A message when it opened, one when it has closed again; what is between, trying and failing
    /// again, is no news. Three reads, and for a message what a card takes.
    pub(super) async fn tell_of_breaker(&self, agent: &AgentId) -> Result<(), BematicError> {
        let breaker = self.breakers.breaker(agent).await?;
        if let (Some(channel), Some(opened)) = (&self.operations_channel, &breaker.opened) {
            let to = Destination {
                channel: channel.clone(),
                thread_ts: None,
            };
            let n = breaker.incidents;
            let message = opened_notice(agent, opened, &breaker);
            self.notice(NoticeId::opened(agent, n).into(), &to, &message)
                .await?;
            if breaker.state == State::Closed {
                let message = closed_notice(agent, opened, &breaker);
                self.notice(NoticeId::closed(agent, n).into(), &to, &message)
                    .await?;
            }
        } else {
            info!(%agent, "no operations channel is told of the breaker");
        }
        Ok(self.breakers.announced(agent, breaker.generation).await?)
    }

    async fn notice(
        &self,
        about: Subject,
        to: &Destination,
        message: &Message,
    ) -> Result<(), BematicError> {
        let card = self.cards.card(about).await?;
        // Slack has refused it: it would refuse it again.
        if matches!(&card, Some(card) if card.ts.is_none() && card.shows.is_some()) {
            return Ok(());
        }
        self.show(about, card, to, message).await
    }
}
