//! Agents, their connections and keys; projects.

use std::time::Duration;

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, ChannelId, ConnectionId, TaskId},
    messages::{AgentStatus, Spelling},
    time::Timestamp,
};

use super::{Created, Page};
use crate::{
    agent::{Agent, Binding, Connection, DrainLease, KeyHash, Project},
    error::StoreError,
};

/// What became of asking for the right to drain an agent's queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Drain {
    /// It is ours; this is the agent.
    Ours(Box<Agent>),
    /// Another has it, and was told to look again before it stops.
    Asked,
    /// There is no such agent.
    NoAgent,
}

/// What became of giving back the right to drain.
#[derive(Debug, Clone, PartialEq)]
pub enum Released {
    /// Given back, or lost to another before.
    Done,
    /// Somebody asked meanwhile: it is still ours; this is the agent.
    AskedAgain(Box<Agent>),
}

/// Agents, their connections and keys.
#[async_trait]
pub trait Agents: Send + Sync {
    /// An agent.
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError>;
    /// All agents, by name. Several calls.
    async fn list(&self) -> Result<Vec<Agent>, StoreError>;
    /// Makes an agent, unless it exists.
    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError>;
    /// Adds a key to an agent.
    async fn add_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Whether the key is the agent's.
    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError>;
    /// Removes all keys of an agent, and says how many. Several calls.
    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError>;
}

/// The connections of agents.
#[async_trait]
pub trait Connections: Send + Sync {
    /// A connection that authenticates in band.
    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError>;
    /// Notes a connection that has yet to authenticate.
    async fn admit(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError>;
    /// A connection that authenticates in band, and the agent that it says it is. One call.
    async fn introduce(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
    ) -> Result<Introduction, StoreError>;
    /// Makes a connection that is nobody's that of an agent that has none, if the key is the agent's, and
    /// notes whose it turned out to be: a transaction, which nothing is read for. False, and nothing
    /// done, if any of that is not so.
    async fn bind_newcomer(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, StoreError>;
    /// The same as [`Self::bind`] to an agent that was just read, and notes whose the connection
    /// turned out to be: a transaction.
    async fn bind_in_band(&self, agent: &Agent, binding: &Binding) -> Result<Bound, StoreError>;
    /// Forgets one that did not authenticate; false if it has meanwhile.
    async fn forget(&self, id: &ConnectionId) -> Result<bool, StoreError>;
    /// Makes a connection the agent's current one: the newer wins. Again, it changes nothing.
    async fn bind(&self, agent: &AgentId, binding: &Binding) -> Result<Bound, StoreError>;
    /// Marks the agent offline if this is its current connection.
    async fn unbind(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError>;
}

/// What agents say of themselves, and the signs of life that they give.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Notes that the agent has spoken over its current connection, and how it spells. The first
    /// word counts.
    async fn spoke(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: Spelling,
    ) -> Result<(), StoreError>;
    /// What the agent said of itself at `sent_at`, by its clock, over `connection`, and the agent
    /// after that; over an older one, or before what it said last, it changes nothing. Notes the
    /// spelling as [`Self::spoke`] does.
    async fn report(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: Spelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError>;
    /// Notes a sign of life over the agent's current connection, and gives back the agent; `None`
    /// if that is not its connection (any more). Notes the spelling as [`Self::spoke`] does.
    async fn alive(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &SignOfLife,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError>;
    /// Notes that the agent was sent a ping that it has to echo.
    async fn pinged(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Notes that the agent was sent a ping since it seems not to hear us: no work for it until it
    /// has echoed that.
    async fn doubted(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The connected agents of one shard of [`CONNECTED_SHARDS`], a page at a time, as they were a
    /// moment ago. By an index that lags; several calls.
    async fn connected(&self, shard: u32, cursor: Option<&str>) -> Result<Page<Agent>, StoreError>;
    /// Connections that should have authenticated by `now`. By an index that lags.
    async fn unauthenticated(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConnectionId>, StoreError>;
}

/// The right to dispatch an agent's queue, which one dispatcher has at a time.
#[async_trait]
pub trait DispatchLeases: Send + Sync {
    /// Asks for the right to drain the agent's queue. One call, or two if another has it.
    async fn begin_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        now: Timestamp,
    ) -> Result<Drain, StoreError>;
    /// Gives it back, unless somebody asked since `requests` was read.
    async fn end_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        requests: u64,
    ) -> Result<Released, StoreError>;
}

/// How long a connection may take to authenticate in band.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(10);

/// Parts that the index of connected agents has.
pub const CONNECTED_SHARDS: u32 = 4;

/// What a heartbeat says beside "I am alive".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignOfLife {
    /// The tasks that the agent has, if it says.
    pub tasks: Option<Vec<TaskId>>,
    /// The time of the ping that it answers.
    pub echoes: Option<Timestamp>,
    /// How it is spelled.
    pub spelling: Spelling,
}

/// What is known of who authenticates in band.
#[derive(Debug, Clone, PartialEq)]
pub struct Introduction {
    /// Its connection.
    pub connection: Option<Connection>,
    /// The agent that it says it is, if the key is that agent's.
    pub agent: Option<Agent>,
}

/// What became of binding a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// It is the agent's connection now, in place of this one.
    Current {
        /// The older connection, to be closed.
        replaced: Option<ConnectionId>,
    },
    /// A newer one is: this one is to be closed.
    Replaced,
    /// There is no such agent.
    NoAgent,
    /// It is another agent's.
    Taken,
}

/// What became of the end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbound {
    /// Its agent is offline now.
    Offline(AgentId),
    /// It was not anybody's current connection.
    Stale,
}

/// Projects, by channel.
#[async_trait]
pub trait Projects: Send + Sync {
    /// The channel's project.
    async fn find(&self, channel: &ChannelId) -> Result<Option<Project>, StoreError>;
    /// All projects, by channel. Several calls.
    async fn list(&self) -> Result<Vec<Project>, StoreError>;
    /// Stores a channel's project in place of any other.
    async fn put(&self, project: &Project) -> Result<(), StoreError>;
}
