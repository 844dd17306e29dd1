//! An agent: a machine of the team that runs tasks.

mod choice;
mod key;
mod liveness;
mod project;
mod route;
mod take_over;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

pub(crate) use self::{
    choice::{Candidate, choose, choose_better_than},
    liveness::{Liveness, should_record_heartbeat},
};
pub use self::{
    key::{ApiKey, KeyHash, KeyId, KeyPrefix, NoSuchKey, StoredKey},
    project::Project,
    route::{InvalidRoute, PreferredAgents, Route},
    take_over::{ReplacedConnection, TakeOver},
};
use crate::{
    breaker::{Gate, is_default},
    task::Slot,
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AgentStatus, Availability, TypeSpelling},
    time::Timestamp,
};

/// The interval at which agents send heartbeats.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// The interval at which a heartbeat is recorded.
pub const HEARTBEAT_RECORD_INTERVAL: Duration = Duration::from_mins(1);
/// The time within which a healthy agent's next heartbeat is normally recorded.
const MAX_HEARTBEAT_RECORD_GAP: Duration =
    HEARTBEAT_RECORD_INTERVAL.saturating_add(HEARTBEAT_EVERY);

/// An agent as it is stored.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The agent's name.
    pub id: AgentId,
    /// The time at which the agent was created.
    pub created_at: Timestamp,
    /// The connection of the agent; `None` while it is offline.
    pub connection: Option<Binding>,
    /// The time of the last sign of life that was recorded, or of the end of the last connection.
    pub last_seen: Option<Timestamp>,
    /// The availability that the agent reports.
    #[serde(default)]
    pub availability: Availability,
    /// The number of tasks that the agent runs at once.
    #[serde(default = "AgentStatus::default_capacity")]
    pub capacity: u32,
    /// The agent's software version.
    pub agent_version: Option<String>,
    /// The tasks that the agent named in its last recorded list.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub active: BTreeSet<TaskId>,
    /// The time at which that list was recorded, by the cloud's clock.
    pub active_at: Option<Timestamp>,
    /// The occupied slots, as [`Slot`] formats them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<String>,
    /// The gate of the agent's breaker.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate: Gate,
    /// The generation of the breaker that the operations channel was last notified of.
    #[serde(default)]
    pub announced: u64,
    /// The lease of the dispatcher that dispatches the agent's queue right now.
    #[serde(rename = "drain")]
    pub dispatch_lease: Option<DispatchLease>,
    /// The number of times that a dispatch was requested while another dispatcher held the lease.
    #[serde(default, rename = "drainRequests")]
    pub dispatch_requests: u64,
    /// The time of the last use of each key: when a connection was last bound with it. An empty map
    /// is stored too, since DynamoDB sets an entry only of a map that exists.
    #[serde(default)]
    pub key_uses: BTreeMap<KeyId, Timestamp>,
    /// The keys that were revoked, and when: a connection is not bound with one, although the
    /// authorizer may have accepted it just before.
    #[serde(default)]
    pub revoked_keys: BTreeMap<KeyId, Timestamp>,
}

impl Agent {
    /// Returns an agent that has never connected.
    pub fn new(id: AgentId, now: Timestamp) -> Self {
        Self {
            id,
            created_at: now,
            connection: None,
            last_seen: None,
            availability: Availability::default(),
            capacity: AgentStatus::default_capacity(),
            agent_version: None,
            active: BTreeSet::new(),
            active_at: None,
            held: BTreeSet::new(),
            gate: Gate::default(),
            announced: 0,
            dispatch_lease: None,
            dispatch_requests: 0,
            key_uses: BTreeMap::new(),
            revoked_keys: BTreeMap::new(),
        }
    }

    /// Returns the connection to send tasks over, if the agent may be sent another task now.
    pub fn connection_for_dispatch(&self) -> Option<&Binding> {
        let takes = self.availability == Availability::Online && self.free_slots() > 0;
        let bound = self.connection.as_ref();
        bound.filter(|bound| takes && !bound.is_in_doubt())
    }

    /// Returns the time from which on nothing that arrives is a sign of life: that of the last
    /// revocation of a key, if the agent has had no connection since. What arrives nevertheless
    /// comes over one that was to be closed.
    pub(crate) fn cut_off_at(&self) -> Option<Timestamp> {
        let revoked_at = self.revoked_keys.values().max().copied();
        // A heartbeat and the end of a connection are later than its key's revocation would be.
        let is_unseen_since = |at: &Timestamp| self.last_seen.is_none_or(|seen| seen <= *at);
        revoked_at.filter(|at| self.connection.is_none() && is_unseen_since(at))
    }

    /// Whether the key with which a connection authenticated is revoked.
    pub fn has_revoked_key(&self, key: Option<&KeyId>) -> bool {
        key.is_some_and(|id| self.revoked_keys.contains_key(id))
    }

    pub(crate) fn held_tasks(&self) -> impl Iterator<Item = TaskId> {
        self.held
            .iter()
            .filter_map(|slot| slot.parse::<Slot>().ok())
            .map(|slot| slot.task_id)
    }

    /// Returns the time at which the agent last named a task that has run since `began`, as far as
    /// is known. Not every heartbeat is recorded: a recorded list is valid for
    /// [`MAX_HEARTBEAT_RECORD_GAP`], and says nothing about a task that began after it.
    pub(crate) fn task_presumed_listed_at(
        &self,
        task: TaskId,
        began: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let at = self.active_at?;
        let may_name = self.active.contains(&task) || at <= began;
        may_name.then(|| now.min(at + MAX_HEARTBEAT_RECORD_GAP))
    }

    /// Returns the time of the last recorded list that names the task.
    pub(crate) fn task_last_listed_at(&self, task: TaskId) -> Option<Timestamp> {
        self.active_at.filter(|_| self.active.contains(&task))
    }

    pub(crate) fn free_slots(&self) -> usize {
        usize::try_from(self.capacity)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.held.len())
    }
}

/// The current connection of an agent.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The connection's id.
    pub id: ConnectionId,
    /// The time at which the connection was bound: the newer of two wins.
    pub bound_at: Timestamp,
    /// The spelling of the first message. No tasks are sent before it: the connection may not be
    /// open.
    pub spelling: Option<TypeSpelling>,
    /// The first ping that the agent has not echoed, or the last ping that it has.
    pub pinged_at: Option<Timestamp>,
    /// The newest ping that the agent has echoed.
    pub echoed_at: Option<Timestamp>,
    /// The last ping that was sent because the agent did not seem to receive messages.
    pub doubted_at: Option<Timestamp>,
    /// The key with which the connection authenticated; `None` in a record of an earlier version.
    pub key_id: Option<KeyId>,
    /// The address that the connection comes from, if API Gateway names it.
    pub address: Option<IpAddr>,
}

impl Binding {
    /// Returns a new binding; with the spelling, if the connection's first message has arrived.
    pub const fn new(
        id: ConnectionId,
        bound_at: Timestamp,
        spelling: Option<TypeSpelling>,
    ) -> Self {
        Self {
            id,
            bound_at,
            spelling,
            pinged_at: None,
            echoed_at: None,
            doubted_at: None,
            key_id: None,
            address: None,
        }
    }

    /// Returns the time of the oldest ping whose echo is outstanding.
    fn oldest_unechoed_ping(&self) -> Option<Timestamp> {
        let asked = [self.pinged_at, self.doubted_at].into_iter().flatten();
        asked.filter(|at| !self.has_echoed(*at)).min()
    }

    /// Whether it is in doubt that the agent receives messages.
    fn is_in_doubt(&self) -> bool {
        self.doubted_at.is_some_and(|at| !self.has_echoed(at))
    }

    fn has_echoed(&self, ping: Timestamp) -> bool {
        self.echoed_at.is_some_and(|echoed| echoed >= ping)
    }
}

/// The lease to dispatch an agent's queue: one dispatcher at a time, so that tasks start in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DispatchLease {
    /// The id of the dispatcher that holds the lease.
    pub holder: String,
    /// The time at which the lease ends, in case its holder has died.
    pub until: Timestamp,
}

/// A connection that authenticates in band, as it is stored. With one that authenticated in its
/// handshake, API Gateway passes its agent's id with each message.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InBandConnection {
    /// The connection's id.
    pub id: ConnectionId,
    /// The agent that the connection is bound to; `None` while it is unbound.
    pub agent_id: Option<AgentId>,
    /// The time at which the connection was opened.
    pub connected_at: Timestamp,
    /// The spelling of the connection's first message; `None` while it is unbound.
    pub spelling: Option<TypeSpelling>,
    /// The key with which the connection authenticated; `None` while it is unbound.
    pub key_id: Option<KeyId>,
}

#[cfg(test)]
mod tests;
