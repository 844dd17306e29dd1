//! The signs of life of agents, and the tasks that they name.

use std::time::Duration;

use bematic_protocol::{ids::TaskId, messages::CloudMessage};
use futures::future::try_join_all;
use tracing::{info, warn};

use super::{
    super::transitions::Outcome,
    MessageRouter,
    context::{Context, cancel_message},
};
use crate::{
    agent::{Agent, is_recorded},
    error::{BematicError, TaskError},
    ports::SignOfLife,
    task::TaskEvent,
};

/// The time for which a sign of life that was recorded here is not recorded again.
const RECORDED_LATELY: Duration = Duration::from_secs(40);

impl MessageRouter {
    /// Whether a sign of life has to be recorded: one that may be the first message of its
    /// connection, and after that one a minute.
    fn is_due(&self, context: Context<'_>) -> bool {
        let Context { sender, now, .. } = context;
        match self.signs_of_life.get(&sender.connection) {
            Some(at) if now.since(at) < RECORDED_LATELY => false,
            None if context.is_early => true,
            _ => is_recorded(&sender.agent_id, now),
        }
    }

    /// Records a sign of life, unless another one of the minute is recorded; the echo of a ping is
    /// always recorded. A connection that is no longer its agent's current one is closed: its agent
    /// opens another. Returns TASK_CANCEL for the tasks that the agent has to stop.
    pub(super) async fn record_sign_of_life(
        &self,
        context: Context<'_>,
        sign: SignOfLife,
    ) -> Result<Vec<CloudMessage>, BematicError> {
        let sender = context.sender;
        if sign.echoes.is_none() && !self.is_due(context) {
            return Ok(Vec::new());
        }
        let recorded = self
            .ports
            .presence
            .record_heartbeat(&sender.agent_id, &sender.connection, &sign, context.now)
            .await?;
        let Some(agent) = recorded else {
            info!("message over a connection that is not the agent's current one: closed");
            self.ports.gateway.close(&sender.connection).await?;
            return Ok(Vec::new());
        };
        if sign.echoes.is_some() {
            self.leave_doubt(&agent).await?;
        }
        let mut stop = Vec::new();
        if let Some(named) = &sign.tasks {
            self.report_missing(&agent, named, context).await?;
            // The agent is sent TASK_CANCEL for tasks that it still holds when they are cancelled.
            let held: Vec<_> = agent.held_tasks().collect();
            let other = named.iter().filter(|task| !held.contains(task));
            stop = self.cancel_messages(&agent, other).await?;
        }
        self.signs_of_life
            .insert(sender.connection.clone(), context.now);
        Ok(stop)
    }

    /// Has the queue dispatched of an agent that was in doubt, and was sent no tasks until now.
    async fn leave_doubt(&self, agent: &Agent) -> Result<(), BematicError> {
        let binding = agent.connection.as_ref();
        if binding.is_some_and(|binding| binding.doubted_at.is_some()) {
            self.ports
                .request_dispatch(&agent.id, Duration::ZERO)
                .await?;
        }
        Ok(())
    }

    /// Returns TASK_CANCEL for those of the agent's tasks that it has to stop: the first one may
    /// have been lost. One call for each task.
    pub(super) async fn cancel_messages(
        &self,
        agent: &Agent,
        named: impl Iterator<Item = &TaskId>,
    ) -> Result<Vec<CloudMessage>, BematicError> {
        let tasks = try_join_all(named.map(|task| self.ports.tasks.find(*task))).await?;
        let own = tasks.iter().flatten();
        let own = own.filter(|task| task.is_known_to(&agent.id));
        Ok(own
            .filter_map(|task| cancel_message(task, &agent.id))
            .collect())
    }

    /// Shortens the leases of the tasks that the agent holds and does not name.
    pub(super) async fn report_missing(
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
                Ok(Outcome::Changed(_)) => info!(%task, "agent does not name a task that it holds"),
                Ok(Outcome::Unchanged(..)) => {}
                Err(BematicError::Task(error @ TaskError::Unknown { .. })) => {
                    warn!(%task, %error, "a slot is occupied by an unknown task");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
