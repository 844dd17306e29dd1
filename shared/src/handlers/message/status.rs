//! AGENT_STATUS

use std::{sync::Arc, time::Duration};

use super::{Answer, Context, heartbeat::speaks_for_itself, presence::Presence, stop_if_cancelled};
use crate::{
    agent::Agent,
    error::BematicError,
    ports::{Agents, DispatchMessage, DispatchQueue, Tasks},
    protocol::{AgentStatus, Availability},
};

/// Notes what agents say of themselves.
pub struct StatusReports {
    tasks: Arc<dyn Tasks>,
    agents: Arc<dyn Agents>,
    dispatch: Arc<dyn DispatchQueue>,
    presence: Presence,
}

impl StatusReports {
    /// On the agents, their tasks and the dispatcher's queue.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        agents: Arc<dyn Agents>,
        dispatch: Arc<dyn DispatchQueue>,
        presence: Presence,
    ) -> Self {
        Self {
            tasks,
            agents,
            dispatch,
            presence,
        }
    }

    /// One call, and one that has the queue drained if the agent takes work; more where the agent
    /// and we are not of one mind about the tasks that it has.
    pub async fn handle(
        &self,
        context: Context<'_>,
        status: &AgentStatus,
    ) -> Result<Answer, BematicError> {
        speaks_for_itself(context, &status.agent_id)?;
        let connection = &context.sender.connection;
        let reported = self
            .agents
            .report(status, connection, context.sent_at, context.now)
            .await?;
        let mut answer = Answer::none();
        if let Some(agent) = reported {
            self.presence
                .miss(&agent, &status.active_tasks, context)
                .await?;
            answer = self.stop_cancelled(&agent, status).await?;
        }
        if status.status == Availability::Online {
            let drain = DispatchMessage::Drain {
                agent_id: status.agent_id.clone(),
            };
            self.dispatch.send(&drain, Duration::ZERO).await?;
        }
        Ok(answer)
    }

    /// Tells an agent that still has a cancelled task to stop it: one at a time, as it reports
    /// again.
    async fn stop_cancelled(
        &self,
        agent: &Agent,
        status: &AgentStatus,
    ) -> Result<Answer, BematicError> {
        let held: Vec<_> = agent.held_tasks().collect();
        let unknown = status.active_tasks.iter().filter(|id| !held.contains(id));
        for id in unknown {
            if let Some(task) = self.tasks.find(*id).await?
                && task.agent_id == agent.id
            {
                let answer = stop_if_cancelled(&task);
                if answer.message.is_some() {
                    return Ok(answer);
                }
            }
        }
        Ok(Answer::none())
    }
}
