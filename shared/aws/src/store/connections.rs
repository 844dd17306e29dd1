//! The repository of connections: an agent's current connection, an attribute of the agent's
//! record, and the records of connections that authenticate in band.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use bematic::{
    agent::{Agent, Binding, Connection, KeyHash},
    error::StoreError,
    ports::{AUTH_DEADLINE, Bound, Connections, Unbound},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::Availability,
    time::Timestamp,
};

use super::{
    AgentStore, keys,
    table::{batch_get, failed, read},
    write::{ConditionFailed, Label, Write},
};

/// How long a connection's record is kept: longer than the 2 h that API Gateway keeps a connection.
const CONNECTION_KEPT: Duration = Duration::from_hours(3);

#[async_trait]
impl Connections for AgentStore {
    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.agents.find(&keys::connection(id)).await
    }

    /// Keeps the record that exists if the call is repeated.
    async fn add_unbound(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError> {
        let connection = Connection {
            id: id.clone(),
            agent_id: None,
            connected_at: now,
            spelling: None,
        };
        let put = self
            .agents
            .put(&keys::connection(id), &connection)?
            .due(
                keys::shard_of(keys::UNAUTHENTICATED, id.as_str()),
                Some(now + AUTH_DEADLINE),
            )?
            .set("expiresAt", (now + CONNECTION_KEPT).as_secs())?;
        put.if_absent().send().await.map(drop)
    }

    /// Reads the records of the connection, the agent and the key.
    async fn look_up(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
    ) -> Result<(Option<Connection>, Option<Agent>), StoreError> {
        let [connection, agent, key] = [
            keys::connection(id),
            keys::agent(agent),
            keys::api_key(agent, key),
        ];
        let wanted = [&connection, &agent, &key].map(|key| (&self.agents, key));
        let mut found = batch_get(&self.agents.client, wanted.into_iter(), true).await?;
        let connection = found.remove(&connection).map(read).transpose()?;
        let agent = found.remove(&agent).filter(|_| found.contains_key(&key));
        Ok((connection, agent.map(read).transpose()?))
    }

    async fn remove_unbound(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let delete = self.agents.delete(keys::connection(id));
        let delete = delete.when("attribute_not_exists(#agentId)");
        Ok(delete.send().await?.is_ok())
    }

    /// The condition excludes the connection that is bound already: a repeated call would discard
    /// what its first message stored.
    async fn bind(&self, agent: &AgentId, binding: &Binding) -> Result<Bound, StoreError> {
        let update = self
            .update_binding(agent, binding)?
            .if_exists()
            .when(
                "attribute_not_exists(#connection) \
                 OR (#connection.#boundAt <= :at AND #connection.#id <> :id)",
            )
            .value(":at", binding.bound_at)?
            .value(":id", &binding.id)?
            .returning(ReturnValue::AllOld);
        let current = |item| Ok(read::<Agent>(item)?.connection);
        Ok(match update.send().await? {
            Ok(item) => Bound::Current {
                replaced: current(item)?.map(|older| older.id),
            },
            Err(ConditionFailed(item)) if item.is_empty() => Bound::NoAgent,
            Err(ConditionFailed(item)) => match current(item)? {
                Some(bound) if bound.id == binding.id => Bound::Current { replaced: None },
                _ => Bound::Replaced,
            },
        })
    }

    /// Writes without a read, on condition that the agent exists and has no connection, the key is
    /// the agent's, and the connection is unbound.
    async fn bind_unread(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, StoreError> {
        let key = keys::api_key(agent, key);
        let writes = vec![
            (Label::Agent, self.replace_binding(agent, binding, None)?),
            (Label::Connection, self.update_connection(binding, agent)?),
            (Label::ApiKey, self.agents.check_exists(key)),
        ];
        Ok(self.agents.transact(writes).await?.is_empty())
    }

    /// Writes the agent's record and the connection's in one transaction, so that they agree.
    async fn bind_in_band(&self, agent: &Agent, binding: &Binding) -> Result<Bound, StoreError> {
        /// Version conflicts after which the call fails: so many connections of one agent would
        /// have to be bound at the same time.
        const TRIES: usize = 5;
        let mut before = agent.connection.clone();
        for _ in 0..TRIES {
            match before {
                Some(bound) if bound.id == binding.id => {
                    return Ok(Bound::Current { replaced: None });
                }
                Some(bound) if bound.bound_at > binding.bound_at => return Ok(Bound::Replaced),
                _ => {}
            }
            let update = self.replace_binding(&agent.id, binding, before.as_ref())?;
            let connection = self.update_connection(binding, &agent.id)?;
            let writes = vec![(Label::Agent, update), (Label::Connection, connection)];
            let mut refused = self.agents.transact(writes).await?;
            if refused.is_empty() {
                let replaced = before.map(|older| older.id);
                return Ok(Bound::Current { replaced });
            }
            if let Some(item) = refused.remove(&Label::Connection) {
                let bound: Connection = read(item)?;
                let is_same_agent = bound.agent_id.as_ref() == Some(&agent.id);
                return Ok(if is_same_agent {
                    Bound::Current { replaced: None }
                } else {
                    Bound::Taken
                });
            }
            let item = refused.remove(&Label::Agent).unwrap_or_default();
            if item.is_empty() {
                return Ok(Bound::NoAgent);
            }
            before = read::<Agent>(item)?.connection;
        }
        Err(failed("TransactWriteItems")(
            "the agent's connection keeps changing",
        ))
    }

    /// Changes nothing if a newer connection is the agent's current one.
    async fn unbind(
        &self,
        agent: &AgentId,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let update = self.update_over(agent, id)?.set("lastSeen", now)?;
        let update = update.remove("connection").remove_due();
        Ok(match update.send().await? {
            Ok(_) => Unbound::Offline(agent.clone()),
            Err(_) => Unbound::Stale,
        })
    }
}

impl AgentStore {
    /// Returns an update of an agent's record on condition that the connection is its current one.
    pub(super) fn update_over(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Result<Write, StoreError> {
        self.agents
            .update(keys::agent(agent))
            .when("#connection.#id = :currentConnection")
            .value(":currentConnection", connection)
    }

    /// Returns the update that makes a connection the agent's current one.
    fn update_binding(&self, agent: &AgentId, binding: &Binding) -> Result<Write, StoreError> {
        let due = keys::shard_of(keys::CONNECTED, agent.as_str());
        self.agents
            .update(keys::agent(agent))
            .set("connection", binding)?
            .set("availability", Availability::Online)?
            .set("lastSeen", binding.bound_at)?
            .remove("statusAt")
            .due(due, Some(agent))
    }

    /// Returns the update that makes a connection the agent's current one, on condition that the
    /// agent's connection is still `before`.
    fn replace_binding(
        &self,
        agent: &AgentId,
        binding: &Binding,
        before: Option<&Binding>,
    ) -> Result<Write, StoreError> {
        let update = self.update_binding(agent, binding)?;
        match before {
            None => Ok(update.if_exists().when("attribute_not_exists(#connection)")),
            Some(older) => update
                .when("#connection.#id = :before")
                .value(":before", &older.id),
        }
    }

    /// Returns the write that stores the agent in the connection's record, on condition that the
    /// connection is unbound. The record stays until its time-to-live, so that a late message over
    /// the connection can still be attributed to the agent.
    fn update_connection(&self, binding: &Binding, agent: &AgentId) -> Result<Write, StoreError> {
        let now = binding.bound_at;
        let update = self
            .agents
            .update(keys::connection(&binding.id))
            .set("id", &binding.id)?
            .set("agentId", agent)?
            .set_if_absent("connectedAt", now)?
            .set_if_absent("expiresAt", (now + CONNECTION_KEPT).as_secs())?
            .set_if_absent("spelling", binding.spelling.unwrap_or_default())?
            .remove_due();
        Ok(update.when("attribute_not_exists(#agentId)"))
    }
}
