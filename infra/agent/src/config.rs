//! The configuration of an agent.

use std::time::Duration;

use bematic_protocol::ids::AgentId;
use secrecy::SecretString;
use url::Url;

use crate::{run::CommandLine, workdir::Workdirs};

/// The configuration of an agent.
pub struct Config {
    /// The cloud's WebSocket.
    pub url: Url,
    /// The agent's id.
    pub agent_id: AgentId,
    /// The agent's API key.
    pub api_key: SecretString,
    /// The command that every task runs.
    pub command: CommandLine,
    /// The folders in which tasks may work.
    pub workdirs: Workdirs,
    /// The number of tasks that run at once; as many may wait.
    pub concurrency: u32,
    /// Waits and limits of time.
    pub timings: Timings,
}

/// Returns an address as it may be shown: user, password, query and fragment might be secrets.
pub(crate) fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for an address without a host, which has neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Waits and limits of time.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a connection counts as dead: three heartbeats.
    pub silence: Duration,
    /// Time that output may wait for more, to go in one message.
    pub flush: Duration,
    /// Time between asking a command to end and forcing it.
    pub grace: Duration,
    /// Time that running tasks may take to finish when the agent is asked to stop.
    pub drain: Duration,
    /// Time that the agent waits for the cloud to confirm messages, at its end and before it
    /// replaces a connection.
    pub settle: Duration,
    /// Time until an unconfirmed terminal message is sent again; doubles each time.
    pub resend: Duration,
    /// Time until a message that the cloud could not handle is sent again; doubles each time, up to
    /// a minute.
    pub retry: Duration,
    /// The longest wait before the first reconnection; doubles each time, up to a minute.
    pub reconnect: Duration,
    /// Age at which a connection is replaced by a new one, up to a tenth later at random: API
    /// Gateway ends it at 2 h.
    pub renew: Duration,
    /// Time that a replaced connection is still read, unless the cloud closes it before.
    pub linger: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_mins(1),
            flush: Duration::from_millis(300),
            grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            settle: Duration::from_secs(5),
            resend: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            reconnect: Duration::from_secs(1),
            renew: Duration::from_mins(105),
            linger: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_secrets() {
        for (address, shown) in [
            ("wss://user:pass@host:8443/ws?key=1#x", "wss://host:8443/ws"),
            ("wss://host/ws", "wss://host/ws"),
            ("mailto:me@host?subject=x", "mailto:me@host"),
        ] {
            assert_eq!(without_secrets(&address.parse().unwrap()), shown);
        }
    }
}
