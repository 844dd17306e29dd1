//! API Gateway's WebSocket events in the form that the handlers need. Fields that are not used are
//! ignored, so that AWS can add more of them.

use std::{collections::HashMap, net::IpAddr};

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_with::skip_serializing_none;

use crate::agent::KeyId;

/// A WebSocket route's event, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSocketEvent")]
pub struct SocketEvent {
    /// The connection's id.
    pub connection_id: ConnectionId,
    /// The agent that the authorizer found; `None` on a connection that authenticates in band.
    pub agent_id: Option<AgentId>,
    /// The key with which the agent authenticated in the handshake.
    pub key_id: Option<KeyId>,
    /// The address that the connection comes from.
    pub address: Option<IpAddr>,
    /// The time at which API Gateway opened the connection: the newer of two wins, whichever is
    /// handled first.
    pub connected_at: Option<Timestamp>,
    /// The message; empty on `$connect` and `$disconnect`.
    pub body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSocketEvent {
    request_context: RequestContext,
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    connection_id: ConnectionId,
    connected_at: Option<Timestamp>,
    authorizer: Option<AuthorizerContext>,
    identity: Option<CallerIdentity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallerIdentity {
    source_ip: Option<String>,
}

/// The context that the authorizer returns and API Gateway passes on with every message. API
/// Gateway adds fields of its own.
#[skip_serializing_none]
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizerContext {
    agent_id: Option<AgentId>,
    key_id: Option<KeyId>,
}

/// An agent that has authenticated in the handshake, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedAgent {
    /// The agent.
    pub agent_id: AgentId,
    /// The id of the agent's key.
    pub key_id: KeyId,
}

impl From<RawSocketEvent> for SocketEvent {
    fn from(raw: RawSocketEvent) -> Self {
        let context = raw.request_context;
        let authorizer = context.authorizer.unwrap_or_default();
        Self {
            connection_id: context.connection_id,
            agent_id: authorizer.agent_id,
            key_id: authorizer.key_id,
            // The address only serves a notice: one that is not understood keeps no agent away.
            address: context
                .identity
                .and_then(|identity| identity.source_ip?.parse().ok()),
            connected_at: context.connected_at,
            body: raw.body.unwrap_or_default(),
        }
    }
}

/// A handshake, as the authorizer receives it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The ARN of the method that is requested.
    method_arn: String,
    #[serde(default)]
    headers: HashMap<String, String>,
}

impl Handshake {
    /// Returns the value of a header, whatever the case of its name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the policy that allows the handshake, with the ids of the agent and of its key if it
    /// has authenticated.
    pub(super) fn allow_policy(&self, authenticated: Option<AuthenticatedAgent>) -> Value {
        let (agent_id, key_id) = authenticated.map(|it| (it.agent_id, it.key_id)).unzip();
        json!({
            "principalId": agent_id.as_ref().map_or("unauthenticated", AgentId::as_str),
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": self.method_arn,
                }],
            },
            "context": AuthorizerContext { agent_id, key_id },
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
                "authorizer": {
                    "agentId": "box", "keyId": "12345678", "principalId": "box",
                    "integrationLatency": 12,
                },
                "identity": { "sourceIp": "192.0.2.1", "userAgent": null },
            },
            "body": "{}", "isBase64Encoded": false,
        });
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        assert_eq!(event.connection_id.as_str(), "L0SM9cOFvHcCIhw=");
        assert_eq!(event.agent_id, Some("box".parse().unwrap()));
        assert_eq!(event.key_id.unwrap().as_str(), "12345678");
        assert_eq!(event.address, Some([192, 0, 2, 1].into()));
        let without = json!({
            "requestContext": { "connectionId": "c=", "identity": { "sourceIp": "test-source" } },
        });
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
        assert_eq!(handshake.header("authorization"), Some("Bearer k"));
        assert_eq!(handshake.header("x-agent-id"), Some("a"));
        let bare: Handshake = serde_json::from_value(json!({ "methodArn": "arn:x" })).unwrap();
        assert_eq!(bare.header("authorization"), None);
        assert!(bare.allow_policy(None)["context"].get("agentId").is_none());
    }
}
