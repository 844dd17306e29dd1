//! What agents say of being there, and of the tasks that they have.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{ConnectionId, TaskId},
    messages::CloudMessage,
    time::Timestamp,
};
use futures::future::try_join_all;
use quick_cache::sync::Cache;
use tracing::{info, warn};

use super::{
    super::transitions::{Outcome, Transitions},
    context::{Context, stop},
};
use crate::{
    agent::{Agent, is_written_down},
    error::{BematicError, TaskError},
    ports::{DispatchMessage, Ports, SignOfLife},
    task::TaskEvent,
};

/// Connections whose last sign of life is remembered.
const REMEMBERED: usize = 4096;
/// What was written down here so lately is not again, whenever agents beat.
const SEEN_LATELY: Duration = Duration::from_secs(40);

/// Keeps track of who is there.
#[derive(Clone)]
pub(super) struct Presence {
    ports: Arc<Ports>,
    transitions: Transitions,
    /// When a sign of life was last written down.
    seen: Arc<Cache<ConnectionId, Timestamp>>,
}

impl Presence {
    /// On the agents and their tasks.
    pub(super) fn new(ports: Arc<Ports>, transitions: Transitions) -> Self {
        Self {
            ports,
            transitions,
            seen: Arc::new(Cache::new(REMEMBERED)),
        }
    }

    /// Whether a sign of life is to be written down: what may be the first word of its connection,
    /// and then one a minute.
    fn is_due(&self, context: Context<'_>) -> bool {
        let Context { sender, now, .. } = context;
        match self.seen.get(&sender.connection) {
            Some(at) if now.since(at) < SEEN_LATELY => false,
            None if context.is_early => true,
            _ => is_written_down(&sender.agent_id, now),
        }
    }

    /// Notes a sign of life, unless another of the minute is; an answer to a ping always. A connection
    /// that is not its agent's any more, or was given up, is closed: its agent opens another. What
    /// is to be answered: that it should stop what was cancelled.
    pub(super) async fn seen(
        &self,
        context: Context<'_>,
        sign: SignOfLife,
    ) -> Result<Vec<CloudMessage>, BematicError> {
        let sender = context.sender;
        if sign.echoes.is_none() && !self.is_due(context) {
            return Ok(Vec::new());
        }
        let noted = self
            .ports
            .presence
            .alive(&sender.agent_id, &sender.connection, &sign, context.now)
            .await?;
        let Some(agent) = noted else {
            info!("a connection that is not its agent's speaks: closed");
            self.ports.gateway.close(&sender.connection).await?;
            return Ok(Vec::new());
        };
        if sign.echoes.is_some() {
            self.hears(&agent).await?;
        }
        let mut stop = Vec::new();
        if let Some(named) = &sign.tasks {
            self.miss(&agent, named, context).await?;
            // Those that it still holds are told of when they are cancelled.
            let held: Vec<_> = agent.held_tasks().collect();
            let other = named.iter().filter(|task| !held.contains(task));
            stop = self.stop(&agent, other).await?;
        }
        self.seen.insert(sender.connection.clone(), context.now);
        Ok(stop)
    }

    /// An agent that was in doubt got no work until now.
    async fn hears(&self, agent: &Agent) -> Result<(), BematicError> {
        let binding = agent.connection.as_ref();
        if binding.is_some_and(|binding| binding.doubted_at.is_some()) {
            let agent_id = agent.id.clone();
            let drain = DispatchMessage::drain(agent_id);
            self.ports.dispatch.send(&drain, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Which of the agent's tasks it should stop: the first word may have been lost. A call each.
    pub(super) async fn stop(
        &self,
        agent: &Agent,
        named: impl Iterator<Item = &TaskId>,
    ) -> Result<Vec<CloudMessage>, BematicError> {
        let tasks = try_join_all(named.map(|task| self.ports.tasks.find(*task))).await?;
        let own = tasks.iter().flatten();
        let own = own.filter(|task| task.is_known_to(&agent.id));
        Ok(own.filter_map(|task| stop(task, &agent.id)).collect())
    }

    /// Ends, after a while, the tasks that the agent should have and does not name.
    pub(super) async fn miss(
        &self,
        agent: &Agent,
        named: &[TaskId],
        context: Context<'_>,
    ) -> Result<(), BematicError> {
        let event = TaskEvent::Missing {
            said_at: context.sent_at,
        };
        for task in agent.held_tasks().filter(|task| !named.contains(task)) {
            let outcome = self
                .transitions
                .apply(&agent.id, task, &event, None, context.now)
                .await;
            match outcome {
                Ok(Outcome::Changed(_)) => info!(%task, "the agent does not name a task of its"),
                Ok(Outcome::Unchanged(..)) => {}
                Err(BematicError::Task(error @ TaskError::Unknown { .. })) => {
                    warn!(%task, %error, "a slot is taken by no task");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
