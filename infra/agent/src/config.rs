//! What an agent is told at its start.

use std::time::Duration;

use bematic_protocol::ids::AgentId;
use secrecy::SecretString;
use url::Url;

use crate::{run::CommandLine, workdir::Workdirs};

/// What an agent is told at its start.
pub struct Config {
    /// The cloud's WebSocket.
    pub url: Url,
    /// Who the agent is.
    pub agent_id: AgentId,
    /// What proves it.
    pub api_key: SecretString,
    /// What every task runs.
    pub command: CommandLine,
    /// Where tasks may work.
    pub workdirs: Workdirs,
    /// How many tasks run at once; as many may wait.
    pub concurrency: u32,
    /// How long everything takes.
    pub timings: Timings,
}

/// How long everything takes.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// How long a connection may be silent before it counts as dead: three heartbeats.
    pub silence: Duration,
    /// How long output may wait for more, to go in one message.
    pub flush: Duration,
    /// Between asking a command to end and forcing it.
    pub grace: Duration,
    /// How long running tasks may take to finish when the agent is asked to stop.
    pub drain: Duration,
    /// How long the agent waits for the cloud to confirm what was sent, at its end and before it
    /// replaces a connection.
    pub settle: Duration,
    /// Until an unconfirmed result is sent again; doubles each time.
    pub resend: Duration,
    /// Until what the cloud could not handle is sent again; doubles each time, up to a minute.
    pub retry: Duration,
    /// The longest wait before the first reconnection; doubles each time, up to a minute.
    pub reconnect: Duration,
    /// Age at which a connection is replaced by a new one, up to a tenth later at random: API
    /// Gateway ends it at 2 h.
    pub renew: Duration,
    /// How long a replaced connection is still read, unless the cloud closes it before.
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
