//! A take-over: a connection from one address replaces one from another that is still alive. It may
//! be the same machine on another network, or somebody who has the agent's key.

use std::net::IpAddr;

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Binding, KeyId, liveness::SILENT_AFTER};

/// The connection that another has replaced as its agent's current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedConnection {
    /// The connection.
    pub binding: Binding,
    /// The agent's last recorded sign of life over it.
    pub last_seen: Option<Timestamp>,
}

/// The take-over of an agent's connection by another address.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakeOver {
    /// The agent.
    pub agent_id: AgentId,
    /// The newer connection, which names the take-over.
    pub connection_id: ConnectionId,
    /// The key of the newer connection.
    pub key_id: Option<KeyId>,
    /// The address of the older connection.
    pub from: IpAddr,
    /// The address of the newer connection.
    pub to: IpAddr,
}

impl TakeOver {
    /// Returns the take-over that a binding is. The older connection counts as alive as long as the
    /// sweeper would not have marked its agent offline. An address that is not known is no other.
    pub(crate) fn detect(
        agent: &AgentId,
        replaced: &ReplacedConnection,
        binding: &Binding,
    ) -> Option<Self> {
        let older = &replaced.binding;
        let (from, to) = (older.address?, binding.address?);
        let seen = replaced.last_seen.unwrap_or(older.bound_at);
        let is_alive = binding.bound_at.since(seen.max(older.bound_at)) < SILENT_AFTER;
        (is_alive && from != to).then(|| Self {
            agent_id: agent.clone(),
            connection_id: binding.id.clone(),
            key_id: binding.key_id.clone(),
            from,
            to,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BEGIN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn binding(name: &str, address: Option<&str>, at: Timestamp) -> Binding {
        Binding {
            address: address.map(|it| it.parse().unwrap()),
            ..Binding::new(name.parse().unwrap(), at, None)
        }
    }

    /// Whether a connection `after` the last sign of life is a take-over.
    fn is_take_over(from: Option<&str>, to: Option<&str>, after: Duration) -> bool {
        let seen = BEGIN + Duration::from_mins(10);
        let replaced = ReplacedConnection {
            binding: binding("old", from, BEGIN),
            last_seen: Some(seen),
        };
        let newer = binding("new", to, seen + after);
        TakeOver::detect(&"box".parse().unwrap(), &replaced, &newer).is_some()
    }

    #[test]
    fn another_address_takes_over_a_connection_that_is_alive() {
        const JUST_ALIVE: Duration = Duration::from_secs(149);
        let (a, b) = (Some("192.0.2.1"), Some("2001:db8::1"));
        assert!(is_take_over(a, b, Duration::ZERO));
        assert!(is_take_over(b, a, JUST_ALIVE));
        assert!(!is_take_over(a, a, Duration::ZERO), "the same address");
        assert!(
            !is_take_over(a, b, JUST_ALIVE + Duration::from_secs(1)),
            "silent"
        );
        for (from, to) in [(a, None), (None, b), (None, None)] {
            assert!(!is_take_over(from, to, Duration::ZERO), "{from:?} {to:?}");
        }
    }
}
