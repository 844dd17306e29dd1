//! API Gateway's WebSocket events in the form that the handlers need. Fields that are not used are
//! ignored, so that AWS can add more of them.

use std::collections::HashMap;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::BematicError;

/// A WebSocket route's event, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSocketEvent")]
pub struct SocketEvent {
    /// The connection's id.
    pub connection_id: ConnectionId,
    /// The agent that the authorizer found; `None` on a connection that authenticates in band.
    pub agent_id: Option<AgentId>,
    /// The time at which API Gateway opened the connection: the newer of two wins, whichever is
    /// handled first.
    pub connected_at: Option<Timestamp>,
    /// The message; empty on `$connect` and `$disconnect`.
    pub body: String,
}

/// The authorizer's context key for the agent id: API Gateway passes it on with every message.
const AGENT_ID: &str = "agentId";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSocketEvent {
    request_context: RawContext,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContext {
    connection_id: ConnectionId,
    #[serde(default)]
    connected_at: Option<Timestamp>,
    /// The authorizer's context, and numbers that API Gateway adds.
    #[serde(default)]
    authorizer: Option<HashMap<String, Value>>,
}

impl TryFrom<RawSocketEvent> for SocketEvent {
    type Error = BematicError;

    fn try_from(raw: RawSocketEvent) -> Result<Self, BematicError> {
        let context = raw.request_context;
        let agent_id = context
            .authorizer
            .as_ref()
            .and_then(|authorizer| authorizer.get(AGENT_ID)?.as_str())
            .map(str::parse)
            .transpose()
            .map_err(|_| BematicError::Message {
                reason: "the authorizer's agent id is not valid".into(),
            })?;
        let body = raw.body.unwrap_or_default();
        Ok(Self {
            connection_id: context.connection_id,
            agent_id,
            connected_at: context.connected_at,
            body,
        })
    }
}

/// The headers of a handshake that identify the agent.
#[derive(Debug, Default, Clone, Copy)]
pub struct Credentials<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The header `X-Agent-Id`.
    pub agent_id: Option<&'a str>,
}

/// A handshake, as the authorizer receives it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The ARN of the method that is requested.
    pub method_arn: String,
    #[serde(default)]
    headers: HashMap<String, String>,
}

impl Handshake {
    /// Returns the headers that identify the agent, whatever the case of their names.
    pub fn credentials(&self) -> Credentials<'_> {
        let header = |name: &str| {
            self.headers
                .iter()
                .find(|(given, _)| given.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str())
        };
        Credentials {
            authorization: header("authorization"),
            agent_id: header("x-agent-id"),
        }
    }

    /// Returns the policy that allows the handshake, with the agent's id if it has authenticated.
    pub fn allow(&self, agent_id: Option<&AgentId>) -> Value {
        let context = agent_id.map_or_else(|| json!({}), |id| json!({ (AGENT_ID): id }));
        json!({
            "principalId": agent_id.map_or("unauthenticated", AgentId::as_str),
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": self.method_arn,
                }],
            },
            "context": context,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_comes_from_the_authorizer_among_api_gateways_own_numbers() {
        let event = json!({
            "requestContext": {
                "routeKey": "$default", "connectionId": "L0SM9cOFvHcCIhw=", "connectedAt": 1,
                "authorizer": { "agentId": "box", "principalId": "box", "integrationLatency": 12 },
            },
            "body": "{}", "isBase64Encoded": false,
        });
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        assert_eq!(event.connection_id.as_str(), "L0SM9cOFvHcCIhw=");
        assert_eq!(event.agent_id, Some("box".parse().unwrap()));
        let without = json!({ "requestContext": { "connectionId": "c=" } });
        assert_eq!(
            serde_json::from_value::<SocketEvent>(without)
                .unwrap()
                .agent_id,
            None
        );
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let event = json!({
            "type": "REQUEST", "methodArn": "arn:x/$connect",
            "headers": { "AUTHORIZATION": "Bearer k", "x-agent-id": "a", "Host": "h" },
        });
        let handshake: Handshake = serde_json::from_value(event).unwrap();
        let credentials = handshake.credentials();
        assert_eq!(credentials.authorization, Some("Bearer k"));
        assert_eq!(credentials.agent_id, Some("a"));
        let bare: Handshake = serde_json::from_value(json!({ "methodArn": "arn:x" })).unwrap();
        assert_eq!(bare.credentials().authorization, None);
        assert!(bare.allow(None)["context"].get(AGENT_ID).is_none());
    }
}
