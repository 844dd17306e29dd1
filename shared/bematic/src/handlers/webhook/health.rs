//! The command `/bm health`, and operators' orders to breakers.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, UserId},
    time::Timestamp,
};
use tracing::info;

use super::{super::transitions::pauses, Operator};
use crate::{
    breaker::{Breaker, BreakerEvent, Mode, Override},
    command::BreakerOrder,
    error::BematicError,
    ports::{BreakerChange, Written},
    slack::{
        Reply,
        text::{self, AgentHealth},
    },
};

/// The number of version conflicts in a row after which an order is given up.
const TRIES: usize = 10;

impl Operator {
    /// Shows all agents and their breakers.
    pub(super) async fn health(&self, now: Timestamp) -> Result<Reply, BematicError> {
        let agents = self.ports.agents.list().await?;
        let ids: Vec<_> = agents.iter().map(|agent| agent.id.clone()).collect();
        let breakers = self.ports.breakers.breakers(&ids).await?;
        let breakers: Vec<_> = breakers.iter().map(|it| self.as_of(it, now)).collect();
        let health: Vec<_> = agents
            .iter()
            .zip(&breakers)
            .map(|(agent, breaker)| self.of(agent, breaker))
            .collect();
        Ok(Reply::ephemeral(text::health(&health, now)))
    }

    /// Shows one agent's breaker in detail: two reads.
    pub(super) async fn health_of(
        &self,
        id: &AgentId,
        now: Timestamp,
    ) -> Result<Reply, BematicError> {
        let (agent, breaker) =
            futures::try_join!(self.ports.agents.find(id), self.ports.breakers.breaker(id))?;
        let Some(agent) = agent else {
            return Ok(Reply::ephemeral(self.unknown_agent(id).await?));
        };
        let breaker = self.as_of(&breaker, now);
        let text = text::health_of(&self.of(&agent, &breaker), now);
        Ok(Reply::ephemeral(text))
    }

    /// Returns the breaker as of now. The stored state is as of the last event: an operator's order
    /// may have expired since.
    fn as_of(&self, breaker: &Breaker, now: Timestamp) -> Breaker {
        let step = breaker.after(BreakerEvent::Tick, &self.ports.settings.breaker, now);
        step.next
    }

    fn of<'a>(&self, agent: &'a crate::agent::Agent, breaker: &'a Breaker) -> AgentHealth<'a> {
        AgentHealth {
            agent,
            config: *breaker.config(&self.ports.settings.breaker),
            breaker,
        }
    }

    pub(super) async fn unknown_agent(&self, id: &AgentId) -> Result<String, BematicError> {
        let agents = self.ports.agents.list().await?.into_iter();
        let known: Vec<_> = agents.map(|agent| agent.id).collect();
        Ok(text::unknown_agent(id, &known))
    }

    /// Executes an order, and has the agent's queue dispatched now and when the order expires: two
    /// reads, a transaction and a message or two. A repeated order is reported as such and sends
    /// the messages again. Returns the text for the operator; as an error if the order was not
    /// executed because the breaker kept changing.
    pub(super) async fn order(
        &self,
        id: &AgentId,
        order: &BreakerOrder,
        by: &UserId,
        now: Timestamp,
    ) -> Result<Result<String, String>, BematicError> {
        if self.ports.agents.find(id).await?.is_none() {
            return Ok(Ok(self.unknown_agent(id).await?));
        }
        for pause in pauses().take(TRIES) {
            let before = self.ports.breakers.breaker(id).await?;
            let after = before
                .after(event(order, by, now), &self.ports.settings.breaker, now)
                .next;
            let change = BreakerChange {
                before: &before,
                after: &after,
            };
            if self.ports.breakers.change(id, change).await? == Written::Conflict {
                tokio::time::sleep(pause).await;
                continue;
            }
            info!(agent = %id, %by, order = order.name(), state = after.state.name(), "breaker order executed");
            futures::try_join!(
                self.ports.request_dispatch(id, Duration::ZERO),
                self.transitions.announce_gate_change(id, change, now)
            )?;
            let changed = before != after;
            return Ok(Ok(text::order_executed(id, order, &after, changed)));
        }
        Ok(Err(text::breaker_contended(id)))
    }
}

fn event(order: &BreakerOrder, by: &UserId, now: Timestamp) -> BreakerEvent {
    let expiring = |lasts: Duration, note: &str| Override {
        by: by.to_string(),
        at: now,
        until: now + lasts,
        note: note.to_owned(),
    };
    match order {
        BreakerOrder::Reset => BreakerEvent::Reset,
        BreakerOrder::Drain { lasts, note } => {
            BreakerEvent::Force(Mode::Drained(expiring(*lasts, note)))
        }
        BreakerOrder::Disable { lasts, note } => {
            BreakerEvent::Force(Mode::Disabled(expiring(*lasts, note)))
        }
        BreakerOrder::Resume => BreakerEvent::Resume,
    }
}
