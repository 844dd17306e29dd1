//! API Gateway's WebSocket events as what the handlers need of them.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;

use crate::{
    error::BematicError,
    ids::{AgentId, ConnectionId},
};

/// A WebSocket route's event, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketEvent {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The agent that the authorizer found; none on a connection that authenticates in band.
    pub agent_id: Option<AgentId>,
    /// The message; empty on `$connect` and `$disconnect`.
    pub body: String,
}

/// The authorizer's context key for the agent id.
pub const AGENT_ID: &str = "agentId";

impl TryFrom<ApiGatewayWebsocketProxyRequest> for SocketEvent {
    type Error = BematicError;

    fn try_from(event: ApiGatewayWebsocketProxyRequest) -> Result<Self, BematicError> {
        let unreadable = |reason: &str| BematicError::Message {
            reason: reason.to_owned(),
        };
        let context = event.request_context;
        let connection_id = context
            .connection_id
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| unreadable("the event has no connection id"))?;
        let agent_id = context
            .authorizer
            .fields
            .get(AGENT_ID)
            .and_then(|id| id.as_str())
            .filter(|id| !id.is_empty())
            .map(|id| {
                id.parse()
                    .map_err(|_| unreadable("the authorizer's agent id is not valid"))
            })
            .transpose()?;
        Ok(Self {
            connection_id,
            agent_id,
            body: event.body.unwrap_or_default(),
        })
    }
}
