//! The repository of connections: an agent's current connection, an attribute of the agent's
//! record, and the records of connections that authenticate in band.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use bematic::{
    agent::{Agent, Binding, InBandConnection, KeyId, ReplacedConnection},
    error::StoreError,
    ports::{AUTH_DEADLINE, BindOutcome, Connections, UnbindOutcome},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::Availability,
    time::Timestamp,
};

use super::{
    AgentStore, keys,
    table::{call_error, parse_record},
    write::{ConditionFailed, Write, WriteLabel},
};

/// How long a connection's record is kept: longer than the 2 h that API Gateway keeps a connection.
const CONNECTION_TTL: Duration = Duration::from_hours(3);

#[async_trait]
impl Connections for AgentStore {
    async fn find_in_band(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<InBandConnection>, StoreError> {
        self.agents.find(&keys::connection(id)).await
    }

    /// Keeps the record that exists if the call is repeated.
    async fn add_unbound(&self, id: &ConnectionId, now: Timestamp) -> Result<(), StoreError> {
        let connection = InBandConnection {
            id: id.clone(),
            agent_id: None,
            connected_at: now,
            spelling: None,
            key_id: None,
        };
        let put = self
            .agents
            .prepare_put(&keys::connection(id), &connection)?
            .set_due(
                keys::shard_partition_of(keys::UNAUTHENTICATED_CONNECTIONS_LIST, id.as_str()),
                Some(now + AUTH_DEADLINE),
            )?
            .set("expiresAt", (now + CONNECTION_TTL).as_secs())?;
        put.if_absent().send().await.map(drop)
    }

    async fn remove_unbound(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let delete = self.agents.prepare_delete(keys::connection(id));
        let delete = delete.when("attribute_not_exists(#agentId)");
        Ok(delete.send().await?.is_ok())
    }

    /// The condition excludes the connection that is bound already: a repeated call would discard
    /// what its first message stored.
    async fn bind(&self, agent: &AgentId, binding: &Binding) -> Result<BindOutcome, StoreError> {
        let update = self
            .prepare_bind(agent, binding)?
            .if_exists()
            .when(
                "attribute_not_exists(#connection) \
                 OR (#connection.#boundAt <= :at AND #connection.#id <> :id)",
            )
            .set_placeholder_value(":at", binding.bound_at)?
            .set_placeholder_value(":id", &binding.id)?
            .returning(ReturnValue::AllOld);
        let agent = match update.send().await? {
            Ok(item) => {
                let replaced = replaced_connection(parse_record(item)?);
                return Ok(BindOutcome::Current { replaced });
            }
            Err(ConditionFailed(item)) if item.is_empty() => return Ok(BindOutcome::NoAgent),
            Err(ConditionFailed(item)) => parse_record::<Agent>(item)?,
        };
        Ok(match &agent.connection {
            Some(bound) if bound.id == binding.id => BindOutcome::Current { replaced: None },
            _ if agent.has_revoked_key(binding.key_id.as_ref()) => BindOutcome::Revoked,
            _ => BindOutcome::Replaced,
        })
    }

    /// Writes the agent's record and the connection's in one transaction, so that they agree.
    async fn bind_in_band(
        &self,
        agent: &Agent,
        binding: &Binding,
    ) -> Result<BindOutcome, StoreError> {
        /// Version conflicts after which the call fails: so many connections of one agent would
        /// have to be bound at the same time.
        const TRIES: usize = 5;
        let mut before = agent.clone();
        for _ in 0..TRIES {
            match &before.connection {
                Some(bound) if bound.id == binding.id => {
                    return Ok(BindOutcome::Current { replaced: None });
                }
                Some(bound) if bound.bound_at > binding.bound_at => {
                    return Ok(BindOutcome::Replaced);
                }
                _ => {}
            }
            let older = before.connection.as_ref();
            let update = self.prepare_bind_if_unchanged(&agent.id, binding, older)?;
            let connection = self.prepare_connection_bind(binding, &agent.id)?;
            let writes = vec![
                (WriteLabel::Agent, update),
                (WriteLabel::Connection, connection),
            ];
            let mut refused = self.agents.transact(writes).await?;
            if refused.is_empty() {
                let replaced = replaced_connection(before);
                return Ok(BindOutcome::Current { replaced });
            }
            if let Some(item) = refused.remove(&WriteLabel::Connection) {
                let bound: InBandConnection = parse_record(item)?;
                let is_same_agent = bound.agent_id.as_ref() == Some(&agent.id);
                return Ok(if is_same_agent {
                    BindOutcome::Current { replaced: None }
                } else {
                    BindOutcome::Taken
                });
            }
            let item = refused.remove(&WriteLabel::Agent).unwrap_or_default();
            if item.is_empty() {
                return Ok(BindOutcome::NoAgent);
            }
            before = parse_record(item)?;
            if before.has_revoked_key(binding.key_id.as_ref()) {
                return Ok(BindOutcome::Revoked);
            }
        }
        Err(call_error("TransactWriteItems")(
            "the agent's connection keeps changing",
        ))
    }

    /// Changes nothing if a newer connection is the agent's current one.
    async fn unbind(
        &self,
        agent: &AgentId,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<UnbindOutcome, StoreError> {
        let update = self
            .prepare_update_if_current(agent, id)?
            .set("lastSeen", now)?;
        let update = update.remove("connection").remove_due();
        Ok(match update.send().await? {
            Ok(_) => UnbindOutcome::Offline(agent.clone()),
            Err(_) => UnbindOutcome::Stale,
        })
    }
}

/// Returns the condition on an agent's record that the key is not revoked.
pub(super) fn if_not_revoked(key: &KeyId) -> String {
    format!("attribute_not_exists(#revokedKeys.#{key})")
}

/// Returns the connection that an agent had.
fn replaced_connection(agent: Agent) -> Option<Box<ReplacedConnection>> {
    let binding = agent.connection?;
    Some(Box::new(ReplacedConnection {
        binding,
        last_seen: agent.last_seen,
    }))
}

impl AgentStore {
    /// Returns an update of an agent's record on condition that the connection is its current one.
    pub(super) fn prepare_update_if_current(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Result<Write, StoreError> {
        self.agents
            .prepare_update(keys::agent(agent))
            .when("#connection.#id = :currentConnection")
            .set_placeholder_value(":currentConnection", connection)
    }

    /// Returns the update that makes a connection the agent's current one and records the use of
    /// its key, on condition that the key is not revoked.
    fn prepare_bind(&self, agent: &AgentId, binding: &Binding) -> Result<Write, StoreError> {
        let due = keys::shard_partition_of(keys::CONNECTED_AGENTS_LIST, agent.as_str());
        let mut update = self.agents.prepare_update(keys::agent(agent));
        if let Some(key) = &binding.key_id {
            update = update
                .set(&format!("keyUses.{key}"), binding.bound_at)?
                .when(&if_not_revoked(key));
        }
        update
            .set("connection", binding)?
            .set("availability", Availability::Online)?
            .set("lastSeen", binding.bound_at)?
            .remove("statusAt")
            .set_due(due, Some(agent))
    }

    /// Returns the update that makes a connection the agent's current one, on condition that the
    /// agent's connection is still `before`.
    pub(super) fn prepare_bind_if_unchanged(
        &self,
        agent: &AgentId,
        binding: &Binding,
        before: Option<&Binding>,
    ) -> Result<Write, StoreError> {
        let update = self.prepare_bind(agent, binding)?;
        match before {
            None => Ok(update.if_exists().when("attribute_not_exists(#connection)")),
            Some(older) => update
                .when("#connection.#id = :before")
                .set_placeholder_value(":before", &older.id),
        }
    }

    /// Returns the write that stores the agent in the connection's record, on condition that the
    /// connection is unbound. The record stays until its time-to-live, so that a late message over
    /// the connection can still be attributed to the agent.
    pub(super) fn prepare_connection_bind(
        &self,
        binding: &Binding,
        agent: &AgentId,
    ) -> Result<Write, StoreError> {
        let now = binding.bound_at;
        let mut update = self
            .agents
            .prepare_update(keys::connection(&binding.id))
            .set("id", &binding.id)?
            .set("agentId", agent)?
            .set_if_absent("connectedAt", now)?
            .set_if_absent("expiresAt", (now + CONNECTION_TTL).as_secs())?
            .set_if_absent("spelling", binding.spelling.unwrap_or_default())?
            .remove_due();
        if let Some(key) = &binding.key_id {
            update = update.set("keyId", key)?;
        }
        Ok(update.when("attribute_not_exists(#agentId)"))
    }
}
