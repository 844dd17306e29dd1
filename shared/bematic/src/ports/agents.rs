//! Ports to the stored agents, their connections, keys and circuit breakers, and the projects.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, ChannelId, ConnectionId, TaskId},
    messages::{AgentStatus, TypeSpelling},
    time::Timestamp,
};

use super::{Created, Page, Written};
use crate::{
    agent::{
        Agent, Binding, DispatchLease, InBandConnection, KeyHash, Project, ReplacedConnection,
    },
    breaker::Breaker,
    error::StoreResult,
};

/// The outcome of acquiring the lease to dispatch an agent's queue.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAcquisition {
    /// The lease is acquired; this is the agent.
    Acquired(Box<Agent>),
    /// Another dispatcher holds the lease; a request was recorded that makes it look again before
    /// it releases the lease.
    Requested,
    /// There is no such agent.
    NoAgent,
}

/// The outcome of releasing the lease to dispatch an agent's queue.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseRelease {
    /// The lease is released, or had passed to another dispatcher before.
    Done,
    /// A dispatch was requested meanwhile: the lease is still held; this is the agent.
    RequestedAgain(Box<Agent>),
}

/// The agents.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Returns the agent.
    async fn find(&self, id: &AgentId) -> StoreResult<Option<Agent>>;
    /// Returns all agents, sorted by name. Several calls.
    async fn list(&self) -> StoreResult<Vec<Agent>>;
    /// Creates an agent without a key, unless it exists.
    async fn create(&self, agent: &Agent) -> StoreResult<Created<()>>;
}

/// The keys of agents, as the authorizer and authentication in band use them. No other function can
/// reach the keys, and only the administration command writes them.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Whether the key is the agent's, and valid at `now`.
    async fn has_valid_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> StoreResult<bool>;
    /// Returns the record of a connection that authenticates in band, and the agent that it claims
    /// to be if the key is that agent's, and valid at `now`. One call.
    async fn find_with_agent(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> StoreResult<(Option<InBandConnection>, Option<Agent>)>;
    /// Binds an unbound connection to an agent that has no connection, if the key is the agent's,
    /// and valid when the connection is bound, and stores the agent in the connection's record. One
    /// transaction, without a read before it. Returns false, and changes nothing, if one of the
    /// conditions does not hold.
    async fn bind_unread(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> StoreResult<bool>;
}

/// The connections of agents.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Returns the record of a connection that authenticates in band.
    async fn find_in_band(&self, id: &ConnectionId) -> StoreResult<Option<InBandConnection>>;
    /// Stores a connection that has not authenticated yet.
    async fn add_unbound(&self, id: &ConnectionId, now: Timestamp) -> StoreResult<()>;
    /// Does the same as [`Self::bind`] for an agent that was just read, and stores the agent in the
    /// connection's record. One transaction.
    async fn bind_in_band(&self, agent: &Agent, binding: &Binding) -> StoreResult<BindOutcome>;
    /// Removes the record of a connection that did not authenticate; returns false if it has
    /// authenticated meanwhile.
    async fn remove_unbound(&self, id: &ConnectionId) -> StoreResult<bool>;
    /// Makes a connection the agent's current one, unless its key is revoked: of two connections
    /// the newer wins. Records the use of the key. A repeated call changes nothing.
    async fn bind(&self, agent: &AgentId, binding: &Binding) -> StoreResult<BindOutcome>;
    /// Marks the agent offline if this is its current connection.
    async fn unbind(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> StoreResult<UnbindOutcome>;
}

/// The state that agents report about themselves, and their signs of life.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Records that the agent has sent its first message over its current connection, and that
    /// message's spelling. Later calls do not change the spelling.
    async fn record_first_message(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: TypeSpelling,
    ) -> StoreResult<()>;
    /// Records the status that the agent reported at `sent_at`, by the agent's clock, over
    /// `connection`, and returns the agent after that. A report over an older connection, or one
    /// older than the last, changes nothing. Records the spelling as [`Self::record_first_message`] does.
    async fn record_status(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> StoreResult<Option<Agent>>;
    /// Records a sign of life over the agent's current connection, and returns the agent; `None` if
    /// `connection` is not, or no longer, the agent's current one. Records the spelling as
    /// [`Self::record_first_message`] does.
    async fn record_heartbeat(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &HeartbeatContent,
        now: Timestamp,
    ) -> StoreResult<Option<Agent>>;
    /// Records that the agent was sent a ping that it has to echo.
    async fn record_liveness_ping(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> StoreResult<()>;
    /// Records that the agent was sent a ping because it does not seem to receive messages: no
    /// tasks are dispatched to it until it has echoed the ping.
    async fn record_doubt(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> StoreResult<()>;
    /// Returns one page of the connected agents of one shard of [`CONNECTED_SHARDS`], as of a
    /// moment ago. Reads an index that lags; several calls.
    async fn connected_agents(&self, shard: u32, cursor: Option<&str>) -> StoreResult<Page<Agent>>;
    /// Returns the connections that should have authenticated by `now`. Reads an index that lags.
    async fn overdue_unauthenticated_connections(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<ConnectionId>>;
}

/// The lease to dispatch an agent's queue, which one dispatcher holds at a time.
#[async_trait]
pub trait DispatchLeases: Send + Sync {
    /// Acquires the lease for the agent's queue. One call, or two if another dispatcher holds it.
    async fn acquire(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        now: Timestamp,
    ) -> StoreResult<LeaseAcquisition>;
    /// Releases the lease, unless another dispatch was requested since `requests` was read.
    async fn release(
        &self,
        agent: &AgentId,
        lease: &DispatchLease,
        requests: u64,
    ) -> StoreResult<LeaseRelease>;
}

/// The time that a connection has to authenticate in band.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(10);

/// The number of shards of the index of connected agents.
pub const CONNECTED_SHARDS: u32 = 4;

/// The contents of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeartbeatContent {
    /// The tasks that the agent has, if the heartbeat lists them.
    pub tasks: Option<Vec<TaskId>>,
    /// The server time of the ping that the heartbeat echoes.
    pub echoes: Option<Timestamp>,
    /// The heartbeat's spelling.
    pub spelling: TypeSpelling,
}

/// The outcome of binding a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindOutcome {
    /// The connection is now the agent's current one.
    Current {
        /// The older connection that was replaced and has to be closed.
        replaced: Option<Box<ReplacedConnection>>,
    },
    /// The agent has a newer connection: this one has to be closed.
    Replaced,
    /// There is no such agent.
    NoAgent,
    /// The key of the connection is revoked.
    Revoked,
    /// The connection is bound to another agent.
    Taken,
}

/// The outcome of unbinding a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnbindOutcome {
    /// The connection's agent is offline now.
    Offline(AgentId),
    /// The connection was not the current one of any agent.
    Stale,
}

/// The projects, by channel.
#[async_trait]
pub trait Projects: Send + Sync {
    /// Returns the channel's project.
    async fn find(&self, channel: &ChannelId) -> StoreResult<Option<Project>>;
    /// Returns all projects, sorted by channel. Several calls.
    async fn list(&self) -> StoreResult<Vec<Project>>;
    /// Stores a channel's project, replacing any other.
    async fn put(&self, project: &Project) -> StoreResult<()>;
}

/// A change of a breaker: its state before and after an event. It is written on condition that the
/// stored breaker is still the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerChange<'a> {
    /// The breaker as it was read.
    pub before: &'a Breaker,
    /// The breaker as it is to be written.
    pub after: &'a Breaker,
}

impl BreakerChange<'_> {
    /// Whether the breaker's gate changes, so that the agent's record has to be written too.
    pub fn changes_gate(&self) -> bool {
        self.before.gate() != self.after.gate()
    }
}

/// The agents' circuit breakers.
#[async_trait]
pub trait Breakers: Send + Sync {
    /// Returns the agent's breaker; a new one if none was ever written.
    async fn breaker(&self, agent: &AgentId) -> StoreResult<Breaker>;
    /// Returns the breakers of many agents, in their order, by eventually consistent reads: a call
    /// for each 100.
    async fn breakers(&self, agents: &[AgentId]) -> StoreResult<Vec<Breaker>>;
    /// Writes the changed breaker, and its gate into the agent's record, in one transaction. Writes
    /// nothing if the breaker is unchanged.
    async fn change(&self, agent: &AgentId, change: BreakerChange<'_>) -> StoreResult<Written>;
    /// Records that the operations channel has been notified of the agent's breaker as of this
    /// generation, or a later one.
    async fn mark_breaker_announced(&self, agent: &AgentId, generation: u64) -> StoreResult<()>;
}
