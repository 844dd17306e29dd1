//! Whom to connect to.

use std::time::Duration;

use bematic_protocol::ids::AgentId;
use secrecy::SecretString;
use url::Url;

/// Whom to connect to, and as whom.
pub struct Endpoint {
    /// The WebSocket.
    pub url: Url,
    /// The agent.
    pub agent_id: AgentId,
    /// Its key.
    pub api_key: SecretString,
    /// The longest wait before the first reconnection.
    pub reconnect: Duration,
    /// When a connection is to be replaced, at the earliest.
    pub renew: Duration,
    /// How long a replaced connection is still read.
    pub linger: Duration,
}
