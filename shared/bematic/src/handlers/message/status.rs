//! The message AGENT_STATUS.

use std::time::Duration;

use bematic_protocol::messages::{AgentStatus, Availability};

use super::{
    MessageRouter,
    context::{Answer, Context},
    heartbeat::check_agent_id,
};
use crate::error::BematicError;

impl MessageRouter {
    /// Records the status: one call, and one that has the queue dispatched if the agent is online;
    /// more where the agent's list of tasks and the stored one differ.
    pub(super) async fn status(
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
            self.report_missing(&agent, named, context).await?;
            let stop = self.cancel_messages(&agent, named.iter()).await?;
            answer = Answer::messages(stop);
        }
        if status.status == Availability::Online {
            self.ports
                .request_dispatch(&status.agent_id, Duration::ZERO)
                .await?;
        }
        Ok(answer)
    }
}
