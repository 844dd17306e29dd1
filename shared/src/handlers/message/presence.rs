//! What agents say of being there, and of the tasks that they have.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tracing::{info, warn};

use super::{
    super::transitions::{Outcome, Transitions},
    Context,
};
use crate::{
    agent::{Agent, NAMED_EVERY, SEEN_EVERY},
    error::{BematicError, TaskError},
    ids::{ConnectionId, TaskId},
    ports::{Agents, Gateway, SignOfLife},
    task::TaskEvent,
    time::Timestamp,
};

/// Connections whose last sign of life is remembered.
const REMEMBERED: usize = 4096;

/// Keeps track of who is there.
#[derive(Clone)]
pub struct Presence {
    agents: Arc<dyn Agents>,
    gateway: Arc<dyn Gateway>,
    transitions: Transitions,
    /// When a sign of life was last written down.
    seen: Arc<Cache<ConnectionId, Timestamp>>,
}

impl Presence {
    /// On the agents and their tasks.
    pub fn new(
        agents: Arc<dyn Agents>,
        gateway: Arc<dyn Gateway>,
        transitions: Transitions,
    ) -> Self {
        Self {
            agents,
            gateway,
            transitions,
            seen: Arc::new(Cache::new(REMEMBERED)),
        }
    }

    /// Notes a sign of life, unless one was a moment ago; an answer to a ping always. A connection
    /// that is not its agent's any more, or was given up, is closed: its agent opens another.
    pub(super) async fn seen(
        &self,
        context: Context<'_>,
        sign: SignOfLife,
    ) -> Result<(), BematicError> {
        let sender = context.sender;
        let last = self.seen.get(&sender.connection);
        let names_tasks = sign.tasks.as_ref().is_some_and(|tasks| !tasks.is_empty());
        let every = if names_tasks { NAMED_EVERY } else { SEEN_EVERY };
        let lately = last.is_some_and(|at| context.now.since(at) < every);
        if lately && sign.echoes.is_none() {
            return Ok(());
        }
        let noted = self
            .agents
            .alive(&sender.agent_id, &sender.connection, &sign, context.now)
            .await?;
        let Some(agent) = noted else {
            info!("a connection that is not its agent's speaks: closed");
            return Ok(self.gateway.close(&sender.connection).await?);
        };
        if let Some(named) = &sign.tasks {
            self.miss(&agent, named, context).await?;
        }
        self.seen.insert(sender.connection.clone(), context.now);
        Ok(())
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
