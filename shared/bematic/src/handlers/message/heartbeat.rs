//! The messages HEARTBEAT_PING and HEARTBEAT_PONG.

use bematic_protocol::{
    ids::AgentId,
    messages::{CloudMessage, Heartbeat, HeartbeatReport, HeartbeatSignal},
};

use super::{
    MessageRouter,
    context::{Answer, Context},
};
use crate::{
    error::{AuthError, BematicError},
    ports::SignOfLife,
};

impl MessageRouter {
    /// Handles HEARTBEAT_PING: answers, and makes at most one write a minute.
    pub(super) async fn ping(
        &self,
        context: Context<'_>,
        ping: HeartbeatSignal,
    ) -> Result<Answer, BematicError> {
        let sign = SignOfLife {
            tasks: ping.tasks,
            echoes: None,
            spelling: context.sender.spelling,
        };
        let stop = self.record_sign_of_life(context, sign).await?;
        let answer = CloudMessage::HeartbeatPong(Heartbeat {
            server_time: Some(context.now),
        });
        Ok(Answer::messages([answer].into_iter().chain(stop)))
    }

    /// Handles HEARTBEAT_PONG: one call, since it echoes a ping, of which there are few.
    pub(super) async fn pong(
        &self,
        context: Context<'_>,
        report: HeartbeatReport,
    ) -> Result<Answer, BematicError> {
        check_agent_id(context, &report.agent_id)?;
        let sign = SignOfLife {
            tasks: report.tasks,
            echoes: Some(report.server_time),
            spelling: context.sender.spelling,
        };
        Ok(Answer::messages(
            self.record_sign_of_life(context, sign).await?,
        ))
    }
}

/// Checks that the agent in a payload is the one that the connection is bound to.
pub(super) fn check_agent_id(context: Context<'_>, claimed: &AgentId) -> Result<(), BematicError> {
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
