//! Which connection is an agent's, and those that authenticate in band.

use std::time::Duration;

use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::{
    agents::{AgentStore, map},
    keys::{self, Key},
    table::{Record, Refusal, attributes, failed, number, read, retry, text},
};
use crate::{
    agent::{Agent, Binding, Connection},
    error::StoreError,
    ids::{AgentId, ConnectionId},
    ports::{AUTH_DEADLINE, Bound, Unbound},
    protocol::Spelling,
    time::Timestamp,
};

/// Longer than the 2 h that API Gateway keeps a connection.
const CONNECTION_KEPT: Duration = Duration::from_hours(3);

impl Record for Connection {
    type Id = ConnectionId;
    fn key(id: &ConnectionId) -> Key {
        keys::connection(id)
    }
}

impl AgentStore {
    /// Repeated, it keeps what is known already.
    pub(super) async fn admit_connection(
        &self,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
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

    /// Its record stays until its time is over: what comes of it late is known to be the agent's.
    pub(super) async fn assign_connection(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        spelling: Spelling,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .update(keys::connection(id))
            .update_expression(
                "SET id = :id, connectedAt = if_not_exists(connectedAt, :now), \
                 expiresAt = if_not_exists(expiresAt, :expires), agentId = :agent, \
                 spelling = if_not_exists(spelling, :spelling) REMOVE duePk, dueSk",
            )
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":expires", number((now + CONNECTION_KEPT).as_secs()))
            .expression_attribute_values(":agent", text(agent.as_str()))
            .expression_attribute_values(":spelling", map(&spelling)?);
        retry(|| update.clone().send(), "UpdateItem")
            .await
            .map(drop)
            .map_err(Refusal::into_error)
    }

    pub(super) async fn forget_connection(&self, id: &ConnectionId) -> Result<(), StoreError> {
        let key = keys::connection(id);
        let delete = self.agents.client.delete_item();
        let delete = delete.table_name(&self.agents.name);
        let delete = delete.key("pk", text(key.pk)).key("sk", text(key.sk));
        let deleted = delete.send().await;
        deleted
            .map(drop)
            .map_err(|error| failed("DeleteItem", error))
    }

    /// The same again must not undo what its first message has noted.
    pub(super) async fn bind_connection(
        &self,
        agent: &AgentId,
        binding: &Binding,
    ) -> Result<Bound, StoreError> {
        let key = keys::agent(agent);
        let update = self
            .update(key.clone())
            .update_expression(
                "SET #connection = :binding, availability = :online, lastSeen = :at, \
                 duePk = :duePk, dueSk = :dueSk REMOVE statusAt",
            )
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(#connection) \
                 OR (#connection.boundAt <= :at AND #connection.id <> :id))",
            )
            .expression_attribute_names("#connection", "connection")
            .expression_attribute_values(":binding", map(binding)?)
            .expression_attribute_values(":online", text("online"))
            .expression_attribute_values(":duePk", text(keys::connected(agent)))
            .expression_attribute_values(":dueSk", text(agent.as_str()))
            .expression_attribute_values(":at", number(binding.bound_at.as_millis()))
            .expression_attribute_values(":id", text(binding.id.as_str()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let current = |item| -> Result<Option<Binding>, StoreError> {
            let agent: Agent = read(item, &key)?;
            Ok(agent.connection)
        };
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(answer) => {
                let before = current(answer.attributes.unwrap_or_default())?;
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

    /// Unless a newer connection has taken the place of this one.
    pub(super) async fn unbind_connection(
        &self,
        agent: &AgentId,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let update = self
            .update(keys::agent(agent))
            .update_expression("REMOVE #connection, duePk, dueSk SET lastSeen = :now")
            .condition_expression("#connection.id = :id")
            .expression_attribute_names("#connection", "connection")
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) => Ok(Unbound::Offline(agent.clone())),
            Err(Refusal::Condition(_)) => Ok(Unbound::Stale),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}
