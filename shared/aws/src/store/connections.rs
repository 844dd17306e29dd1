//! The repository of connections: an agent's current connection, an attribute of the agent's
//! record, and the records of connections that authenticate in band.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ReturnValue, TransactWriteItem};
use bematic::{
    agent::{Agent, Binding, Connection, KeyHash},
    error::StoreError,
    ports::{AUTH_DEADLINE, Bound, Connections, Unbound},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    time::Timestamp,
};

use super::{
    agents::AgentStore,
    expression::{Expression, check_exists},
    item::{Record, attributes, map, number, read, text},
    keys::{self, Key},
    table::{Part, Refusal, Transacted, refused, took_place},
};

/// How long a connection's record is kept: longer than the 2 h that API Gateway keeps a connection.
const CONNECTION_KEPT: Duration = Duration::from_hours(3);

/// Returns the update that makes a connection the agent's current one.
fn bind(agent: &AgentId, binding: &Binding) -> Result<Expression, StoreError> {
    let clauses = "SET connection = :binding, availability = :online, lastSeen = :at, \
                   duePk = :duePk, dueSk = :dueSk REMOVE statusAt";
    let values = attributes([
        (":binding", map(binding)?),
        (":online", text("online")),
        (":duePk", text(keys::connected(agent))),
        (":dueSk", text(agent.as_str())),
        (":at", number(binding.bound_at.as_millis())),
    ]);
    Ok(Expression::on::<Agent>().update(clauses).values(values))
}

impl Record for Connection {
    type Id = ConnectionId;
    const FIELDS: &'static [&'static str] = &["agentId", "connectedAt", "id", "spelling"];
    fn key(id: &ConnectionId) -> Key {
        keys::connection(id)
    }
}

#[async_trait]
impl Connections for AgentStore {
    async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.agents.find(id).await
    }

    /// Keeps the record that exists if the call is repeated.
    async fn add_unbound(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError> {
        let connection = Connection {
            id: id.clone(),
            agent_id: None,
            connected_at: now,
            spelling: None,
        };
        let deadline = now + AUTH_DEADLINE;
        let index = attributes([
            ("duePk", text(keys::unauthenticated(id))),
            ("dueSk", text(deadline.to_string())),
            ("expiresAt", number((now + CONNECTION_KEPT).as_secs())),
        ]);
        let put = self.agents.put_if_absent(id, &connection, index).await;
        put.map(drop)
    }

    /// Reads the records of the connection, the agent and the key.
    async fn look_up(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        key: &KeyHash,
    ) -> Result<(Option<Connection>, Option<Agent>), StoreError> {
        let keys = [
            keys::connection(id),
            keys::agent(agent),
            keys::api_key(agent, key.as_str()),
        ];
        let mut found = self.agents.get_consistent(&keys).await?;
        let [connection, agent, key] = keys;
        let record = found.remove(&connection);
        let connection = record.map(|item| read(item, &connection)).transpose()?;
        let record = found.remove(&agent).filter(|_| found.contains_key(&key));
        let agent = record.map(|item| read(item, &agent)).transpose()?;
        Ok((connection, agent))
    }

    async fn remove_unbound(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let unbound = Expression::on::<Connection>().when("attribute_not_exists(agentId)");
        took_place(self.agents.delete(&keys::connection(id), unbound).await)
    }

    /// The condition excludes the connection that is bound already: a repeated call would discard
    /// what its first message stored.
    async fn bind(&self, agent: &AgentId, binding: &Binding) -> Result<Bound, StoreError> {
        let key = keys::agent(agent);
        let change = bind(agent, binding)?
            .when("attribute_exists(pk)")
            .when(
                "(attribute_not_exists(connection) \
                 OR (connection.boundAt <= :at AND connection.id <> :id))",
            )
            .value(":id", text(binding.id.as_str()));
        let current = |item| -> Result<Option<Binding>, StoreError> {
            let agent: Agent = read(item, &key)?;
            Ok(agent.connection)
        };
        match self.agents.update(&key, change, ReturnValue::AllOld).await {
            Ok(item) => {
                let before = current(item)?;
                let replaced = before.map(|older| older.id);
                Ok(Bound::Current { replaced })
            }
            Err(Refusal::Condition(item)) if item.is_empty() => Ok(Bound::NoAgent),
            Err(Refusal::Condition(item)) => {
                let same = current(item)?.is_some_and(|bound| bound.id == binding.id);
                Ok(if same {
                    Bound::Current { replaced: None }
                } else {
                    Bound::Replaced
                })
            }
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    /// Writes without a read, on condition that the agent exists and has no connection, the key is
    /// the agent's, and the connection is unbound.
    async fn bind_unread(
        &self,
        agent: &AgentId,
        key: &KeyHash,
        binding: &Binding,
    ) -> Result<bool, StoreError> {
        let key = keys::api_key(agent, key.as_str());
        let writes = vec![
            (Part::Agent, self.bind_agent(agent, binding, None)?),
            (Part::Connection, self.bind_record(binding, agent)?),
            (Part::Key, check_exists(&self.agents.name, &key)?),
        ];
        Ok(self.agents.transact(writes).await? == Transacted::Done)
    }

    /// Writes the agent's record and the connection's in one transaction, so that they agree.
    async fn bind_in_band(&self, agent: &Agent, binding: &Binding) -> Result<Bound, StoreError> {
        /// Version conflicts after which the call fails: so many connections of one agent would
        /// have to be bound at the same time.
        const TRIES: usize = 5;
        let key = keys::agent(&agent.id);
        let mut before = agent.connection.clone();
        for _ in 0..TRIES {
            match before {
                Some(bound) if bound.id == binding.id => {
                    return Ok(Bound::Current { replaced: None });
                }
                Some(bound) if bound.bound_at > binding.bound_at => return Ok(Bound::Replaced),
                _ => {}
            }
            let writes = vec![
                (
                    Part::Agent,
                    self.bind_agent(&agent.id, binding, before.as_ref())?,
                ),
                (Part::Connection, self.bind_record(binding, &agent.id)?),
            ];
            match self.agents.transact(writes).await? {
                Transacted::Done => {
                    let replaced = before.map(|older| older.id);
                    return Ok(Bound::Current { replaced });
                }
                Transacted::Refused(parts) => {
                    if let Some(item) = refused(&parts, Part::Connection) {
                        let bound: Connection = read(item.clone(), &keys::connection(&binding.id))?;
                        let is_same_agent = bound.agent_id.as_ref() == Some(&agent.id);
                        return Ok(if is_same_agent {
                            Bound::Current { replaced: None }
                        } else {
                            Bound::Taken
                        });
                    }
                    let found = refused(&parts, Part::Agent);
                    let Some(item) = found.filter(|item| !item.is_empty()) else {
                        return Ok(Bound::NoAgent);
                    };
                    let found: Agent = read(item.clone(), &key)?;
                    before = found.connection;
                }
            }
        }
        Err(StoreError::Call {
            operation: "TransactWriteItems",
            source: "the agent's connection keeps changing".into(),
        })
    }

    /// Changes nothing if a newer connection is the agent's current one.
    async fn unbind(
        &self,
        agent: &AgentId,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let change = Expression::on::<Agent>()
            .update("REMOVE connection, duePk, dueSk SET lastSeen = :now")
            .when("connection.id = :id")
            .value(":id", text(id.as_str()))
            .value(":now", number(now.as_millis()));
        Ok(
            if self.agents.update_if(&keys::agent(agent), change).await? {
                Unbound::Offline(agent.clone())
            } else {
                Unbound::Stale
            },
        )
    }
}

impl AgentStore {
    /// Returns the write that makes the connection the agent's current one, on condition that the
    /// agent's connection is still `before`.
    fn bind_agent(
        &self,
        agent: &AgentId,
        binding: &Binding,
        before: Option<&Binding>,
    ) -> Result<TransactWriteItem, StoreError> {
        let change = bind(agent, binding)?;
        let change = match before {
            None => change.when("attribute_exists(pk) AND attribute_not_exists(connection)"),
            Some(older) => change
                .when("connection.id = :before")
                .value(":before", text(older.id.as_str())),
        };
        change.update_of(&self.agents.name, &keys::agent(agent))
    }

    /// Returns the write that stores the agent in the connection's record, on condition that the
    /// connection is unbound. The record stays until its time-to-live, so that a late message over
    /// the connection can still be attributed to the agent.
    fn bind_record(
        &self,
        binding: &Binding,
        agent: &AgentId,
    ) -> Result<TransactWriteItem, StoreError> {
        let (key, now) = (keys::connection(&binding.id), binding.bound_at);
        Expression::on::<Connection>()
            .update(
                "SET id = :id, connectedAt = if_not_exists(connectedAt, :now), \
                 expiresAt = if_not_exists(expiresAt, :expires), agentId = :agent, \
                 spelling = if_not_exists(spelling, :spelling) REMOVE duePk, dueSk",
            )
            .when("attribute_not_exists(agentId)")
            .value(":id", text(binding.id.as_str()))
            .value(":now", number(now.as_millis()))
            .value(":expires", number((now + CONNECTION_KEPT).as_secs()))
            .value(":agent", text(agent.as_str()))
            .value(":spelling", map(&binding.spelling.unwrap_or_default())?)
            .update_of(&self.agents.name, &key)
    }
}
