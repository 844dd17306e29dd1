//! The presence of agents: their status reports and heartbeats, and lists of those that are
//! connected.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use bematic::{
    agent::Agent,
    error::StoreError,
    ports::{HeartbeatContent, Page, Presence},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AgentStatus, TypeSpelling},
    time::Timestamp,
};
use serde::Deserialize;
use serde_dynamo::string_set::StringSet;

use super::{
    AgentStore, keys,
    table::{call_error, parse_record, text_attribute},
    write::Write,
};

impl AgentStore {
    /// Returns the update of an agent's record with a sign of life over its current connection.
    /// Later messages do not change the spelling that the connection's first one had.
    fn prepare_sign_of_life(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        now: Timestamp,
    ) -> Result<Write, StoreError> {
        self.prepare_update_if_current(agent, connection)?
            .set_if_absent("connection.spelling", spelling)?
            .set("lastSeen", now)
    }
}

/// Adds the running tasks to an update. DynamoDB has no empty sets: without tasks, the attribute is
/// removed.
fn set_active_tasks(update: Write, tasks: &[TaskId], now: Timestamp) -> Result<Write, StoreError> {
    let update = update.set("activeAt", now)?;
    if tasks.is_empty() {
        return Ok(update.remove("active"));
    }
    let ids: BTreeSet<String> = tasks.iter().map(TaskId::to_string).collect();
    update.set("active", StringSet(ids))
}

/// Returns the agent after the update, or `None` if its condition does not hold.
async fn send_agent_update(update: Write) -> Result<Option<Agent>, StoreError> {
    let updated = update.returning(ReturnValue::AllNew).send().await?;
    updated.ok().map(parse_record).transpose()
}

#[async_trait]
impl Presence for AgentStore {
    async fn record_first_message(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: TypeSpelling,
    ) -> Result<(), StoreError> {
        let update = self.prepare_update_if_current(agent, connection)?;
        let update = update.set_if_absent("connection.spelling", spelling)?;
        update.send().await.map(drop)
    }

    /// Ignores a report over a connection that was replaced, or that was sent before the last one.
    async fn record_status(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: TypeSpelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut update = self
            .prepare_sign_of_life(&status.agent_id, connection, spelling, now)?
            .when("attribute_not_exists(#statusAt) OR #statusAt <= :statusAt")
            .set("statusAt", sent_at)?
            .set("availability", status.status)?
            .set("capacity", status.capacity)?;
        if let Some(version) = &status.version {
            update = update.set("agentVersion", version)?;
        }
        send_agent_update(set_active_tasks(update, &status.active_tasks, now)?).await
    }

    async fn record_heartbeat(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &HeartbeatContent,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut update = self.prepare_sign_of_life(agent, connection, sign.spelling, now)?;
        if let Some(tasks) = &sign.tasks {
            update = set_active_tasks(update, tasks, now)?;
        }
        if let Some(echoed) = sign.echoes {
            update = update.set("connection.echoedAt", echoed)?;
        }
        send_agent_update(update).await
    }

    async fn record_liveness_ping(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self.prepare_update_if_current(agent, connection)?;
        let update = update.set("connection.pingedAt", now)?;
        update.send().await.map(drop)
    }

    /// Keeps the time of the first of several pings that are not echoed yet: an echo of any of them
    /// ends the doubt.
    async fn record_doubt(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .prepare_update_if_current(agent, connection)?
            .set("connection.doubtedAt", now)?
            .when(
                "attribute_not_exists(#connection.#doubtedAt) \
                 OR #connection.#echoedAt >= #connection.#doubtedAt",
            );
        update.send().await.map(drop)
    }

    async fn connected_agents(
        &self,
        shard: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Agent>, StoreError> {
        /// Agents of a page; an agent's record has less than 1 KB.
        const PAGE_SIZE: i32 = 500;
        let partition = keys::shard_partition(keys::CONNECTED_AGENTS_LIST, shard);
        let range = [(":pk", &*partition), (":from", cursor.unwrap_or(" "))];
        let query = self
            .agents
            .build_query("duePk = :pk AND dueSk > :from", range);
        let query = query.index_name("due").limit(PAGE_SIZE);
        let answer = query.send().await.map_err(call_error("Query"))?;
        let next = match answer.items().last() {
            Some(last) if answer.last_evaluated_key.is_some() => {
                Some(text_attribute(last, "dueSk")?.to_owned())
            }
            _ => None,
        };
        let items = self.agents.find_for_index_items(answer.items()).await?;
        Ok(Page { items, next })
    }

    async fn overdue_unauthenticated_connections(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        #[derive(Deserialize)]
        struct UnauthenticatedConnection {
            id: ConnectionId,
        }
        let due = self
            .agents
            .find_due(keys::UNAUTHENTICATED_CONNECTIONS_LIST, now, limit)
            .await?;
        Ok(due
            .into_iter()
            .map(|it: UnauthenticatedConnection| it.id)
            .collect())
    }
}
