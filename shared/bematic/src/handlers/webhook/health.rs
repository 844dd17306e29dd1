//! The command `/bm health`, and operators' orders to breakers.

use std::time::Duration;

use bematic_protocol::{
    ids::{AgentId, UserId},
    time::Timestamp,
};
use tracing::info;

use super::{CommandExecutor, operator::CommandOutcome};
use crate::{
    agent::Agent,
    breaker::{Breaker, BreakerEvent, Mode, Override},
    command::BreakerOrder,
    error::Result,
    ports::BreakerChange,
    slack::{
        CommandReply,
        text::{self, AgentHealth},
    },
};

impl CommandExecutor {
    /// Shows all agents and their breakers.
    pub(super) async fn show_health_overview(&self, now: Timestamp) -> Result<String> {
        let agents = self.ports.agents.list().await?;
        let ids: Vec<_> = agents.iter().map(|agent| agent.id.clone()).collect();
        let breakers = self.ports.breakers.breakers(&ids).await?;
        let breakers: Vec<_> = breakers
            .iter()
            .map(|it| self.breaker_as_of(it, now))
            .collect();
        let health = agents.iter().zip(&breakers);
        let health: Vec<_> = health
            .map(|(agent, breaker)| self.build_agent_health(agent, breaker))
            .collect();
        Ok(text::health_list(&health, now))
    }

    /// Shows one agent's breaker in detail: two reads.
    pub(super) async fn show_agent_health(&self, id: &AgentId, now: Timestamp) -> Result<String> {
        let (agent, breaker) =
            futures::try_join!(self.ports.agents.find(id), self.ports.breakers.breaker(id))?;
        let Some(agent) = agent else {
            return self.unknown_agent_text(id).await;
        };
        let breaker = self.breaker_as_of(&breaker, now);
        Ok(text::health_details(
            &self.build_agent_health(&agent, &breaker),
            now,
        ))
    }

    /// Returns the breaker as of now. The stored state is as of the last event: an operator's order
    /// may have expired since.
    fn breaker_as_of(&self, breaker: &Breaker, now: Timestamp) -> Breaker {
        let step = breaker.after(BreakerEvent::Tick, &self.ports.settings.breaker, now);
        step.next
    }

    /// Returns an agent with its breaker and the breaker's settings, to be rendered.
    fn build_agent_health<'a>(&self, agent: &'a Agent, breaker: &'a Breaker) -> AgentHealth<'a> {
        AgentHealth {
            agent,
            config: *breaker.config(&self.ports.settings.breaker),
            breaker,
        }
    }

    /// Returns the answer about an agent that does not exist; it names those that do. One call.
    pub(super) async fn unknown_agent_text(&self, id: &AgentId) -> Result<String> {
        let agents = self.ports.agents.list().await?.into_iter();
        let known: Vec<_> = agents.map(|agent| agent.id).collect();
        Ok(text::unknown_agent(id, &known))
    }

    /// Executes an order, and has the agent's queue dispatched now and when the order expires: two
    /// reads, a transaction and a message or two. A repeated order is reported as such and sends
    /// the messages again.
    pub(super) async fn execute_breaker_order(
        &self,
        id: &AgentId,
        order: &BreakerOrder,
        by: &UserId,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        if self.ports.agents.find(id).await?.is_none() {
            let text = self.unknown_agent_text(id).await?;
            return Ok(CommandOutcome::refused("NO_AGENT", text));
        }
        let event = breaker_event(order, by, now);
        let Some((before, after)) = self.transitions.change_breaker(id, &event, now).await? else {
            let text = text::breaker_contended(id);
            return Ok(CommandOutcome::refused("BREAKER_CONTENDED", text));
        };
        info!(agent = %id, order = order.name(), state = after.state.name(), "breaker order executed");
        let change = BreakerChange {
            before: &before,
            after: &after,
        };
        futures::try_join!(
            async { Ok(self.ports.request_dispatch(id).await?) },
            self.transitions
                .schedule_dispatch_after_shut(id, change, now),
        )?;
        let text = text::breaker_order_answer(id, order, &after, before != after);
        Ok(CommandOutcome::Done(CommandReply::ephemeral(text)))
    }
}

/// Returns the event of an operator's order to a breaker.
fn breaker_event(order: &BreakerOrder, by: &UserId, now: Timestamp) -> BreakerEvent {
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
