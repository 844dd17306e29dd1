//! An agent: a machine of the team's that runs tasks.

mod choice;
mod key;
mod liveness;
mod project;
mod route;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::{
    choice::{Candidate, Health, better, choose},
    key::{ApiKey, KeyHash},
    liveness::{Liveness, SEEN_EVERY, SEEN_WITHIN, is_written_down},
    project::Project,
    route::{InvalidRoute, Preference, Route},
};
use crate::{breaker::Gate, task::Slot};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AgentStatus, Availability, Spelling},
    time::Timestamp,
};

/// An agent as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The connection that it is reached over; none while it is offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Binding>,
    /// When it last came or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// What it says of itself.
    #[serde(default = "Agent::default_availability")]
    pub availability: Availability,
    /// How many tasks it takes at once.
    #[serde(default = "Agent::default_capacity")]
    pub capacity: u32,
    /// Its software version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The tasks that it named when it last spoke of all that it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub active: BTreeSet<TaskId>,
    /// When that was, by our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_at: Option<Timestamp>,
    /// The slots that are taken, as [`crate::task::Slot`] writes them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<String>,
    /// What its breaker lets through.
    #[serde(default, skip_serializing_if = "Gate::is_new")]
    pub gate: Gate,
    /// The breaker's generation that the operations channel was told of last.
    #[serde(default)]
    pub announced: u64,
    /// Who drains its queue right now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainLease>,
    /// How often a drain was asked for while another was at it.
    #[serde(default)]
    pub drain_requests: u64,
}

impl Agent {
    /// An agent that has never connected.
    pub fn new(id: AgentId, now: Timestamp) -> Self {
        Self {
            id,
            created_at: now,
            connection: None,
            last_seen: None,
            availability: Self::default_availability(),
            capacity: Self::default_capacity(),
            agent_version: None,
            active: BTreeSet::new(),
            active_at: None,
            held: BTreeSet::new(),
            gate: Gate::default(),
            announced: 0,
            drain: None,
            drain_requests: 0,
        }
    }

    const fn default_availability() -> Availability {
        Availability::Online
    }

    const fn default_capacity() -> u32 {
        AgentStatus::DEFAULT_CAPACITY
    }

    /// The connection to send work over, if it may have more right now: not while it is in doubt
    /// whether the agent hears us.
    pub fn takes_work(&self) -> Option<&Binding> {
        let online = self.availability == Availability::Online;
        self.connection
            .as_ref()
            .filter(|bound| online && self.free_slots() > 0 && !bound.is_in_doubt())
    }

    /// The tasks that take its slots.
    pub fn held_tasks(&self) -> impl Iterator<Item = TaskId> {
        self.held
            .iter()
            .filter_map(|slot| slot.parse::<Slot>().ok())
            .map(|slot| slot.task_id)
    }

    /// When it last named a task that has run since `began` among those that it has, as far as can
    /// be told. Not every heartbeat is written down: what was, holds until the next one has to be
    /// ([`SEEN_WITHIN`]), and says nothing against a task that began after it.
    pub fn named_at(&self, task: TaskId, began: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let at = self.active_at?;
        let may_name = self.active.contains(&task) || at <= began;
        may_name.then(|| now.min(at + SEEN_WITHIN))
    }

    /// When it was last written down that it named the task.
    pub fn said_at(&self, task: TaskId) -> Option<Timestamp> {
        self.active_at.filter(|_| self.active.contains(&task))
    }

    /// How many more tasks it takes.
    pub fn free_slots(&self) -> usize {
        usize::try_from(self.capacity)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.held.len())
    }
}

/// An agent's current connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The connection.
    pub id: ConnectionId,
    /// When it was bound: the newer of two wins.
    pub bound_at: Timestamp,
    /// How its first message was spelled. None until it has spoken: it may not be open yet, and
    /// gets no work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spelling: Option<Spelling>,
    /// The first ping that the agent has not echoed, or the last one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinged_at: Option<Timestamp>,
    /// The newest ping that it has echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echoed_at: Option<Timestamp>,
    /// The last ping that was sent since the agent seemed not to hear us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubted_at: Option<Timestamp>,
}

impl Binding {
    /// Just bound; with its spelling if it has spoken.
    pub const fn new(id: ConnectionId, bound_at: Timestamp, spelling: Option<Spelling>) -> Self {
        Self {
            id,
            bound_at,
            spelling,
            pinged_at: None,
            echoed_at: None,
            doubted_at: None,
        }
    }

    /// Since when the agent owes us the echo of a ping.
    pub fn asked_at(&self) -> Option<Timestamp> {
        let asked = [self.pinged_at, self.doubted_at].into_iter().flatten();
        asked.filter(|at| !self.has_echoed(*at)).min()
    }

    /// Whether it is in doubt that the agent hears us.
    pub fn is_in_doubt(&self) -> bool {
        self.doubted_at.is_some_and(|at| !self.has_echoed(at))
    }

    fn has_echoed(&self, ping: Timestamp) -> bool {
        self.echoed_at.is_some_and(|echoed| echoed >= ping)
    }
}

/// The right to drain an agent's queue: one at a time, so that tasks start in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainLease {
    /// Who has it.
    pub holder: String,
    /// Until when, should its holder die.
    pub until: Timestamp,
}

/// A connection that authenticates in band, as it is stored. One that did in its handshake has no
/// record: API Gateway says with each message whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is; nobody's until it is authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// When it was made.
    pub connected_at: Timestamp,
    /// How its first message was spelled; none until it is authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spelling: Option<Spelling>,
}

#[cfg(test)]
mod tests;
