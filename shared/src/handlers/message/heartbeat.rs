//! HEARTBEAT_PING and HEARTBEAT_PONG

use std::sync::Arc;

use super::{Answer, Context};
use crate::{
    error::{AuthError, BematicError},
    ids::AgentId,
    ports::Agents,
    protocol::{CloudMessage, Heartbeat, HeartbeatReport},
};

/// Notes signs of life.
pub struct Heartbeats {
    agents: Arc<dyn Agents>,
}

impl Heartbeats {
    /// On the agents' connections.
    pub fn new(agents: Arc<dyn Agents>) -> Self {
        Self { agents }
    }

    /// One call, and the answer.
    pub async fn ping(&self, context: Context<'_>) -> Result<Answer, BematicError> {
        self.seen(context).await?;
        let pong = Heartbeat {
            server_time: Some(context.now),
        };
        Ok(Answer::message(CloudMessage::HeartbeatPong(pong)))
    }

    /// One call.
    pub async fn pong(
        &self,
        context: Context<'_>,
        report: &HeartbeatReport,
    ) -> Result<Answer, BematicError> {
        speaks_for_itself(context, &report.agent_id)?;
        self.seen(context).await?;
        Ok(Answer::none())
    }

    async fn seen(&self, context: Context<'_>) -> Result<(), BematicError> {
        let sender = context.sender;
        self.agents
            .greet(&sender.connection, sender.spelling, context.now)
            .await?;
        Ok(())
    }
}

/// The agent is the connection's, whatever a payload says.
pub(super) fn speaks_for_itself(
    context: Context<'_>,
    claimed: &AgentId,
) -> Result<(), BematicError> {
    let bound = &context.sender.agent_id;
    if claimed == bound {
        return Ok(());
    }
    Err(AuthError::AgentMismatch {
        bound: bound.clone(),
        claimed: claimed.clone(),
    }
    .into())
}
