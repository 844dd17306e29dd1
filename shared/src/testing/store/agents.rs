//! Agents, their connections and keys, in memory.

use async_trait::async_trait;

use super::{Memory, Tables};
use crate::{
    agent::{Agent, Binding, Connection, DrainLease, KeyHash},
    error::StoreError,
    ids::{AgentId, ConnectionId},
    ports::{Agents, Bound, Created, Drain, Released, Unbound},
    protocol::{AgentStatus, Availability, Spelling},
    time::Timestamp,
};

#[async_trait]
impl Agents for Memory {
    async fn find(&self, id: &AgentId) -> Result<Option<Agent>, StoreError> {
        Ok(self.call("get agent")?.agents.get(id).cloned())
    }

    async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        Ok(self
            .call("query agents")?
            .agents
            .values()
            .cloned()
            .collect())
    }

    async fn create(&self, agent: &Agent) -> Result<Created<()>, StoreError> {
        let mut tables = self.call("put agent")?;
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
        self.call("put key")?
            .keys
            .insert((agent.clone(), key.as_str().to_owned()));
        Ok(())
    }

    async fn has_key(&self, agent: &AgentId, key: &KeyHash) -> Result<bool, StoreError> {
        Ok(self
            .call("get key")?
            .keys
            .contains(&(agent.clone(), key.as_str().to_owned())))
    }

    async fn revoke_keys(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let mut tables = self.call("delete keys")?;
        let before = tables.keys.len();
        tables.keys.retain(|(owner, _)| owner != agent);
        Ok(before - tables.keys.len())
    }

    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        Ok(self.call("get connection")?.connections.get(id).cloned())
    }

    async fn admit(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError> {
        self.call("update connection")?
            .put_connection(id, None, now);
        Ok(())
    }

    async fn bind(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        now: Timestamp,
    ) -> Result<Bound, StoreError> {
        let agent_id = agent;
        let mut tables = self.call("update agent")?;
        let Some(agent) = tables.agents.get_mut(agent) else {
            return Ok(Bound::NoAgent);
        };
        let newer = |bound: &Binding| bound.bound_at > now && bound.id != *id;
        if agent.connection.as_ref().is_some_and(newer) {
            return Ok(Bound::Replaced);
        }
        let binding = Binding {
            id: id.clone(),
            bound_at: now,
        };
        agent.availability = Availability::Online;
        agent.last_seen = Some(now);
        let older = agent.connection.replace(binding).map(|bound| bound.id);
        drop(tables);
        self.call("update connection")?
            .put_connection(id, Some(agent_id), now);
        Ok(Bound::Current {
            replaced: older.filter(|older| older != id),
        })
    }

    async fn greet(
        &self,
        id: &ConnectionId,
        spelling: Spelling,
        now: Timestamp,
    ) -> Result<Connection, StoreError> {
        let mut tables = self.call("update connection")?;
        tables.put_connection(id, None, now);
        let connection = tables.connections.get_mut(id).unwrap();
        connection.last_seen = Some(now);
        connection.spelling.get_or_insert(spelling);
        Ok(connection.clone())
    }

    async fn unbind(
        &self,
        id: &ConnectionId,
        agent: Option<&AgentId>,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let agent = if let Some(agent) = agent {
            Some(agent.clone())
        } else {
            let tables = self.call("get connection")?;
            tables
                .connections
                .get(id)
                .and_then(|found| found.agent_id.clone())
        };
        let mut outcome = Unbound::Stale;
        if let Some(agent_id) = agent {
            let mut tables = self.call("update agent")?;
            if let Some(agent) = tables.agents.get_mut(&agent_id)
                && agent
                    .connection
                    .as_ref()
                    .is_some_and(|bound| bound.id == *id)
            {
                agent.connection = None;
                agent.last_seen = Some(now);
                outcome = Unbound::Offline(agent_id);
            }
        }
        self.call("delete connection")?.connections.remove(id);
        Ok(outcome)
    }

    async fn report(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tables = self.call("update agent")?;
        if let Some(agent) = tables.agents.get_mut(&status.agent_id)
            && agent
                .connection
                .as_ref()
                .is_some_and(|bound| bound.id == *connection)
        {
            agent.availability = status.status;
            agent.capacity = status.capacity;
        }
        Ok(())
    }

    async fn begin_drain(
        &self,
        agent: &AgentId,
        lease: &DrainLease,
        now: Timestamp,
    ) -> Result<Drain, StoreError> {
        let mut tables = self.call("update agent")?;
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
        let mut tables = self.call("update agent")?;
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
    fn put_connection(&mut self, id: &ConnectionId, agent: Option<&AgentId>, now: Timestamp) {
        let connection = self
            .connections
            .entry(id.clone())
            .or_insert_with(|| Connection {
                id: id.clone(),
                agent_id: None,
                connected_at: now,
                last_seen: None,
                spelling: None,
            });
        if let Some(agent) = agent {
            connection.agent_id = Some(agent.clone());
        }
    }
}
