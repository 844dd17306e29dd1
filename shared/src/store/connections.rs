//! Connections, and which of them is an agent's.

use std::time::Duration;

use aws_sdk_dynamodb::types::ReturnValue;

use super::{
    agents::{AgentStore, map},
    keys::{self, Key},
    table::{Record, Refusal, failed, number, read, retry, text},
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
    /// Notes a connection. Repeated, it keeps what is known already.
    pub(super) async fn put_connection(
        &self,
        id: &ConnectionId,
        agent: Option<&AgentId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut expression = "SET id = :id, connectedAt = if_not_exists(connectedAt, :now), \
                              expiresAt = :expires"
            .to_owned();
        let mut update = self
            .update(keys::connection(id))
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":expires", number((now + CONNECTION_KEPT).as_secs()));
        if let Some(agent) = agent {
            expression.push_str(", agentId = :agent REMOVE duePk, dueSk");
            update = update.expression_attribute_values(":agent", text(agent.as_str()));
        } else {
            let deadline = now + AUTH_DEADLINE;
            expression.push_str(", duePk = :duePk, dueSk = :dueSk");
            update = update
                .expression_attribute_values(":duePk", text(keys::unauthenticated(id)))
                .expression_attribute_values(":dueSk", text(deadline.to_string()));
        }
        let update = update.update_expression(expression);
        retry(|| update.clone().send(), "UpdateItem")
            .await
            .map(drop)
            .map_err(Refusal::into_error)
    }

    /// The agent first: should the rest fail, the connection is still nobody's, and a repeated
    /// AUTH_REQUEST binds it.
    pub(super) async fn bind_connection(
        &self,
        id: &ConnectionId,
        agent: &AgentId,
        now: Timestamp,
    ) -> Result<Bound, StoreError> {
        let binding = Binding::new(id.clone(), now);
        let key = keys::agent(agent);
        let update = self
            .update(key.clone())
            .update_expression(
                "SET #connection = :binding, availability = :online, lastSeen = :now, \
                 duePk = :duePk, dueSk = :dueSk REMOVE statusAt",
            )
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(#connection) \
                 OR #connection.boundAt <= :now OR #connection.id = :id)",
            )
            .expression_attribute_names("#connection", "connection")
            .expression_attribute_values(":binding", map(&binding)?)
            .expression_attribute_values(":online", text("online"))
            .expression_attribute_values(":duePk", text(keys::connected(agent)))
            .expression_attribute_values(":dueSk", text(agent.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":id", text(id.as_str()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(
                aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
            );
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(answer) => {
                self.put_connection(id, Some(agent), now).await?;
                let before: Agent = read(answer.attributes.unwrap_or_default(), &key)?;
                let older = before.connection.map(|binding| binding.id);
                Ok(Bound::Current {
                    replaced: older.filter(|older| older != id),
                })
            }
            Err(Refusal::Condition(item)) if item.is_empty() => Ok(Bound::NoAgent),
            Err(Refusal::Condition(_)) => Ok(Bound::Replaced),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    pub(super) async fn greet_connection(
        &self,
        id: &ConnectionId,
        spelling: Spelling,
        now: Timestamp,
    ) -> Result<Connection, StoreError> {
        let key = keys::connection(id);
        let update = self
            .update(key.clone())
            .update_expression(
                "SET id = :id, connectedAt = if_not_exists(connectedAt, :now), \
                 spelling = if_not_exists(spelling, :spelling), lastSeen = :now, \
                 expiresAt = if_not_exists(expiresAt, :expires)",
            )
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":spelling", map(&spelling)?)
            .expression_attribute_values(":expires", number((now + CONNECTION_KEPT).as_secs()))
            .return_values(ReturnValue::AllNew);
        let answer = retry(|| update.clone().send(), "UpdateItem")
            .await
            .map_err(Refusal::into_error)?;
        read(answer.attributes.unwrap_or_default(), &key)
    }

    /// The agent first: should the rest fail, a repetition finds the connection still there.
    pub(super) async fn unbind_connection(
        &self,
        id: &ConnectionId,
        agent: Option<&AgentId>,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let agent = match agent {
            Some(agent) => Some(agent.clone()),
            None => self
                .agents
                .find::<Connection>(id)
                .await?
                .and_then(|found| found.agent_id),
        };
        let outcome = match agent {
            Some(agent) => self.mark_offline(agent, id, now).await?,
            None => Unbound::Stale,
        };
        let key = keys::connection(id);
        self.agents
            .client
            .delete_item()
            .table_name(&self.agents.name)
            .key("pk", text(&key.pk))
            .key("sk", text(&key.sk))
            .send()
            .await
            .map_err(|error| failed("DeleteItem", error))?;
        Ok(outcome)
    }

    /// Unless a newer connection has taken the place of this one.
    async fn mark_offline(
        &self,
        agent: AgentId,
        id: &ConnectionId,
        now: Timestamp,
    ) -> Result<Unbound, StoreError> {
        let update = self
            .update(keys::agent(&agent))
            .update_expression("REMOVE #connection, duePk, dueSk SET lastSeen = :now")
            .condition_expression("#connection.id = :id")
            .expression_attribute_names("#connection", "connection")
            .expression_attribute_values(":id", text(id.as_str()))
            .expression_attribute_values(":now", number(now.as_millis()));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) => Ok(Unbound::Offline(agent)),
            Err(Refusal::Condition(_)) => Ok(Unbound::Stale),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}
