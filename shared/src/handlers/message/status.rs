//! AGENT_STATUS

use std::{sync::Arc, time::Duration};

use super::{Answer, Context, heartbeat::speaks_for_itself};
use crate::{
    error::BematicError,
    ports::{Agents, DispatchMessage, DispatchQueue},
    protocol::{AgentStatus, Availability},
};

/// Notes what agents say of themselves.
pub struct StatusReports {
    agents: Arc<dyn Agents>,
    dispatch: Arc<dyn DispatchQueue>,
}

impl StatusReports {
    /// On the agents and the dispatcher's queue.
    pub fn new(agents: Arc<dyn Agents>, dispatch: Arc<dyn DispatchQueue>) -> Self {
        Self { agents, dispatch }
    }

    /// One call, and one that has the queue drained if the agent takes work.
    pub async fn handle(
        &self,
        context: Context<'_>,
        status: &AgentStatus,
    ) -> Result<Answer, BematicError> {
        speaks_for_itself(context, &status.agent_id)?;
        self.agents
            .report(status, &context.sender.connection, context.sent_at)
            .await?;
        if status.status == Availability::Online {
            let drain = DispatchMessage::Drain {
                agent_id: status.agent_id.clone(),
            };
            self.dispatch.send(&drain, Duration::ZERO).await?;
        }
        Ok(Answer::none())
    }
}
