//! Agents, their connections and keys, in memory.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{AgentStatus, Availability, Spelling},
    time::Timestamp,
};

use super::{Memory, Tables};
use crate::{
    agent::{Agent, Binding, Connection, DrainLease, KeyHash},
    error::StoreError,
    ports::{
        AUTH_DEADLINE, Agents, Bound, Created, Drain, Introduction, Page, Released, SignOfLife,
        Unbound,
    },
};

#[async_trait]
impl Agents for Memory {
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        Ok(self.call("get agent").await?.agents.get(id).cloned())
    }

    async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        drop(self.call("query agents").await?);
        Ok(self
            .call("get agents")
            .await?
            .agents
            .values()
            .cloned()
            .collect())
    }

    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError> {
        let mut tables = self.call("put agent").await?;
        if tables.agents.contains_key(&agent.id) {
            return Ok(Created::Existing(()));
        }
        tables.agents.insert(agent.id.clone(), agent.clone());
        Ok(Created::New)
    }

    async fn add_key(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        self.call("put key")
            .await?
            .keys
            .insert((agent.clone(), key.as_str().to_owned()));
        Ok(())
    }

    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError> {
        Ok(self
            .call("get key")
            .await?
            .keys
            .contains(&(agent.clone(), key.as_str().to_owned())))
    }

    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let mut tables = self.call("delete keys").await?;
        let before = tables.keys.len();
        tables.keys.retain(|(owner, _)| owner != agent);
        Ok(before - tables.keys.len())
    }

    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        Ok(self
            .call("get connection")
            .await?
            .connections
            .get(id)
            .cloned())
    }

    async fn admit(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError> {
        let mut tables = self.call("put connection").await?;
        tables.connection_mut(id, now);
        Ok(())
    }

    async fn introduce(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
    ) -> Result<Introduction, StoreError> {
        let tables = self.call("get connection, agent, key").await?;
        let has_key = tables
            .keys
            .contains(&(agent.clone(), key.as_str().to_owned()));
        Ok(Introduction {
            connection: tables.connections.get(id).cloned(),
            agent: tables.agents.get(agent).filter(|_| has_key).cloned(),
        })
    }

    async fn bind_newcomer(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, StoreError> {
        let mut tables = self.call("transact newcomer").await?;
        let has_key = tables
            .keys
            .contains(&(agent.clone(), key.as_str().to_owned()));
        let known = tables.connections.get(&binding.id);
        let owner = known.and_then(|connection| connection.agent_id.as_ref());
        let free = |agent: &Agent| agent.connection.is_none();
        let is_usual = has_key && owner.is_none() && tables.agents.get(agent).is_some_and(free);
        if is_usual {
            tables.bind(agent, binding);
            tables.assign(agent, binding);
        }
        Ok(is_usual)
    }

    async fn bind_in_band(&self, agent: &Agent, binding: &Binding) -> Result<Bound, StoreError> {
        let mut tables = self.call("transact agent, connection").await?;
        let known = tables.connections.get(&binding.id);
        let owner = known.and_then(|connection| connection.agent_id.as_ref());
        if let Some(owner) = owner {
            return Ok(if *owner == agent.id {
                Bound::Current { replaced: None }
            } else {
                Bound::Taken
            });
        }
        let bound = tables.bind(&agent.id, binding);
        if let Bound::Current { .. } = bound {
            tables.assign(&agent.id, binding);
        }
        Ok(bound)
    }

    async fn forget(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let mut tables = self.call("delete connection").await?;
        let known = tables.connections.get(id);
        let is_strange = known.is_none_or(|connection| connection.agent_id.is_none());
        if is_strange {
            tables.connections.remove(id);
        }
        Ok(is_strange)
    }

    async fn bind(&self, agent: &AgentId, binding: &Binding) -> Result<Bound, StoreError> {
        Ok(self.call("update agent").await?.bind(agent, binding))
    }

    async fn unbind(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let mut tables = self.call("update agent").await?;
        let Some(bound) = tables.bound(agent, connection) else {
            return Ok(Unbound::Stale);
        };
        bound.connection = None;
        bound.last_seen = Some(now);
        Ok(Unbound::Offline(agent.clone()))
    }

    async fn spoke(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: Spelling,
    ) -> Result<(), StoreError> {
        let mut tables = self.call("update agent").await?;
        tables.note_spelling(agent, connection, spelling);
        Ok(())
    }

    async fn report(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: Spelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut tables = self.call("update agent").await?;
        let newest = tables.status_at.get(&status.agent_id).copied();
        if newest.is_some_and(|newest| newest > sent_at) {
            return Ok(None);
        }
        tables.note_spelling(&status.agent_id, connection, spelling);
        let Some(agent) = tables.bound(&status.agent_id, connection) else {
            return Ok(None);
        };
        agent.availability = status.status;
        agent.capacity = status.capacity;
        agent.last_seen = Some(now);
        agent.active = status.active_tasks.iter().copied().collect();
        agent.active_at = Some(now);
        let agent = agent.clone();
        tables.status_at.insert(agent.id.clone(), sent_at);
        Ok(Some(agent))
    }

    async fn alive(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &SignOfLife,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut tables = self.call("update agent").await?;
        tables.note_spelling(agent, connection, sign.spelling);
        let Some(agent) = tables.bound(agent, connection) else {
            return Ok(None);
        };
        agent.last_seen = Some(now);
        if let Some(tasks) = &sign.tasks {
            agent.active = tasks.iter().copied().collect();
            agent.active_at = Some(now);
        }
        if let (Some(echoes), Some(binding)) = (sign.echoes, &mut agent.connection) {
            binding.echoed_at = Some(echoes);
        }
        Ok(Some(agent.clone()))
    }

    async fn pinged(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tables = self.call("update agent").await?;
        if let Some(binding) = tables.binding(agent, connection) {
            binding.pinged_at = Some(now);
        }
        Ok(())
    }

    async fn doubted(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tables = self.call("update agent").await?;
        if let Some(binding) = tables.binding(agent, connection)
            && !binding.is_in_doubt()
        {
            binding.doubted_at = Some(now);
        }
        Ok(())
    }

    async fn connected(&self, shard: u32, _: Option<&str>) -> Result<Page<Agent>, StoreError> {
        drop(self.call("query connected").await?);
        let tables = self.call("get agents").await?;
        let connected = tables.agents.values();
        let connected = connected.filter(|agent| shard == 0 && agent.connection.is_some());
        Ok(Page {
            items: connected.cloned().collect(),
            next: None,
        })
    }

    async fn unauthenticated(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let tables = self.call("query unauthenticated").await?;
        let late = |connection: &&Connection| {
            connection.agent_id.is_none() && connection.connected_at + AUTH_DEADLINE <= now
        };
        let found = tables.connections.values().filter(late).take(limit);
        Ok(found.map(|connection| connection.id.clone()).collect())
    }

    async fn begin_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        now: Timestamp,
    ) -> Result<Drain, StoreError> {
        let mut tables = self.call("update agent").await?;
        let Some(agent) = tables.agents.get_mut(agent) else {
            return Ok(Drain::NoAgent);
        };
        let other = |held: &DrainLease| held.until >= now && held.holder != lease.holder;
        if agent.drain.as_ref().is_some_and(other) {
            agent.drain_requests += 1;
            return Ok(Drain::Asked);
        }
        agent.drain = Some(lease.clone());
        Ok(Drain::Ours(Box::new(agent.clone())))
    }

    async fn end_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        requests: u64,
    ) -> Result<Released, StoreError> {
        let mut tables = self.call("update agent").await?;
        let Some(agent) = tables.agents.get_mut(agent) else {
            return Ok(Released::Done);
        };
        if agent
            .drain
            .as_ref()
            .is_none_or(|held| held.holder != lease.holder)
        {
            return Ok(Released::Done);
        }
        if agent.drain_requests != requests {
            return Ok(Released::AskedAgain(Box::new(agent.clone())));
        }
        agent.drain = None;
        Ok(Released::Done)
    }
}

impl Tables {
    fn bind(&mut self, agent: &AgentId, binding: &Binding) -> Bound {
        let Some(agent) = self.agents.get_mut(agent) else {
            return Bound::NoAgent;
        };
        match &agent.connection {
            Some(bound) if bound.id == binding.id => return Bound::Current { replaced: None },
            Some(bound) if bound.bound_at > binding.bound_at => return Bound::Replaced,
            _ => {}
        }
        agent.availability = Availability::Online;
        agent.last_seen = Some(binding.bound_at);
        let older = agent.connection.replace(binding.clone());
        let replaced = older.map(|bound| bound.id);
        let agent = agent.id.clone();
        self.status_at.remove(&agent);
        Bound::Current { replaced }
    }

    fn assign(&mut self, agent: &AgentId, binding: &Binding) {
        let connection = self.connection_mut(&binding.id, binding.bound_at);
        connection.agent_id = Some(agent.clone());
        connection.spelling = connection.spelling.or(binding.spelling);
    }

    /// The agent, if this is its current connection.
    fn bound(&mut self, agent: &AgentId, connection: &ConnectionId) -> Option<&mut Agent> {
        let current = |agent: &&mut Agent| {
            let binding = agent.connection.as_ref();
            binding.is_some_and(|binding| binding.id == *connection)
        };
        self.agents.get_mut(agent).filter(current)
    }

    fn binding(&mut self, agent: &AgentId, connection: &ConnectionId) -> Option<&mut Binding> {
        self.bound(agent, connection)?.connection.as_mut()
    }

    fn note_spelling(&mut self, agent: &AgentId, connection: &ConnectionId, spelling: Spelling) {
        if let Some(binding) = self.binding(agent, connection) {
            binding.spelling.get_or_insert(spelling);
        }
    }

    fn connection_mut(&mut self, id: &ConnectionId, now: Timestamp) -> &mut Connection {
        let new = || Connection {
            id: id.clone(),
            agent_id: None,
            connected_at: now,
            spelling: None,
        };
        self.connections.entry(id.clone()).or_insert_with(new)
    }
}
