//! The message AGENT_STATUS.

use std::{sync::Arc, time::Duration};

use bematic_protocol::messages::{AgentStatus, Availability};

use super::{
    context::{Answer, Context},
    heartbeat::check_agent_id,
    presence::Presence,
};
use crate::{
    error::BematicError,
    ports::{DispatchMessage, Ports},
};

/// Handles the status of agents.
pub(super) struct StatusReports {
    ports: Arc<Ports>,
    presence: Presence,
}

impl StatusReports {
    /// Creates a handler with these ports.
    pub(super) fn new(ports: Arc<Ports>, presence: Presence) -> Self {
        Self { ports, presence }
    }

    /// Records the status: one call, and one that has the queue dispatched if the agent is online;
    /// more where the agent's list of tasks and the stored one differ.
    pub(super) async fn handle(
        &self,
        context: Context<'_>,
        status: &AgentStatus,
    ) -> Result<Answer, BematicError> {
        check_agent_id(context, &status.agent_id)?;
        let connection = &context.sender.connection;
        let reported = self
            .ports
            .presence
            .report(
                status,
                connection,
                context.sender.spelling,
                context.sent_at,
                context.now,
            )
            .await?;
        let mut answer = Answer::none();
        if let Some(agent) = reported {
            let named = &status.active_tasks;
            self.presence.report_missing(&agent, named, context).await?;
            let stop = self.presence.cancel_messages(&agent, named.iter()).await?;
            answer = Answer::messages(stop);
        }
        if status.status == Availability::Online {
            let message = DispatchMessage::agent_queue(status.agent_id.clone());
            self.ports.dispatch.send(&message, Duration::ZERO).await?;
        }
        Ok(answer)
    }
}
