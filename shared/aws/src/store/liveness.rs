//! The presence of agents: their status reports and heartbeats, and lists of those that are
//! connected.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValue},
};
use bematic::{
    agent::Agent,
    error::StoreError,
    ports::{Page, Presence, SignOfLife},
};
use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AgentStatus, Spelling},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::Deserialize;

use super::{
    agents::{AgentStore, map},
    due::due,
    keys::{self, Key},
    table::{Refusal, failed, number, read, retry, text},
};

/// An update of an agent's record on condition that a connection is the agent's current one.
struct Fenced {
    update: UpdateItemFluentBuilder,
    set: Vec<&'static str>,
    remove: Vec<&'static str>,
    condition: String,
}

impl Fenced {
    fn new(store: &AgentStore, agent: &AgentId, connection: &ConnectionId) -> Self {
        let update = store
            .update(keys::agent(agent))
            .expression_attribute_names("#connection", "connection")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":connection", text(connection.as_str()));
        Self {
            update,
            set: Vec::new(),
            remove: Vec::new(),
            condition: "#connection.#id = :connection".to_owned(),
        }
    }

    fn set(mut self, assignment: &'static str, name: &str, value: AttributeValue) -> Self {
        self.set.push(assignment);
        self.update = self.update.expression_attribute_values(name, value);
        self
    }

    /// Stores how the connection's first message was spelled; later ones do not change it.
    fn spelling(self, spelling: Spelling) -> Result<Self, StoreError> {
        let first = "#connection.spelling = if_not_exists(#connection.spelling, :spelling)";
        Ok(self.set(first, ":spelling", map(&spelling)?))
    }

    /// Stores the tasks that the agent runs. DynamoDB has no empty sets: without tasks, the
    /// attribute is removed.
    fn active(self, tasks: &[TaskId], now: Timestamp) -> Self {
        let mut next = self.set("activeAt = :activeAt", ":activeAt", number(now.as_millis()));
        if tasks.is_empty() {
            next.remove.push("active");
            return next;
        }
        let mut ids: Vec<_> = tasks.iter().map(TaskId::to_string).collect();
        ids.sort();
        ids.dedup();
        next.set("active = :active", ":active", AttributeValue::Ss(ids))
    }

    /// Sends the update. Returns the agent afterwards, or `None` if the condition does not hold.
    async fn send(self, key: &Key) -> Result<Option<Agent>, StoreError> {
        let mut expression = format!("SET {}", self.set.join(", "));
        if !self.remove.is_empty() {
            expression.push_str(" REMOVE ");
            expression.push_str(&self.remove.join(", "));
        }
        let update = self
            .update
            .update_expression(expression)
            .condition_expression(self.condition)
            .return_values(ReturnValue::AllNew);
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(answer) => read(answer.attributes.unwrap_or_default(), key).map(Some),
            Err(Refusal::Condition(_)) => Ok(None),
            Err(Refusal::Error(error)) => Err(error),
        }
    }
}

#[async_trait]
impl Presence for AgentStore {
    async fn record_first_message(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        spelling: Spelling,
    ) -> Result<(), StoreError> {
        let update = Fenced::new(self, agent, connection).spelling(spelling)?;
        update.send(&keys::agent(agent)).await.map(drop)
    }

    /// Ignores a report over a connection that was replaced, or that was sent before the last one.
    async fn report(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: Spelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let agent = &status.agent_id;
        let mut update = Fenced::new(self, agent, connection)
            .spelling(spelling)?
            .set(
                "availability = :availability",
                ":availability",
                map(&status.status)?,
            )
            .set(
                "#capacity = :capacity",
                ":capacity",
                number(status.capacity.into()),
            )
            .set("statusAt = :sentAt", ":sentAt", number(sent_at.as_millis()))
            .set("lastSeen = :now", ":now", number(now.as_millis()))
            .active(&status.active_tasks, now);
        update.update = update
            .update
            .expression_attribute_names("#capacity", "capacity");
        update
            .condition
            .push_str(" AND (attribute_not_exists(statusAt) OR statusAt <= :sentAt)");
        if let Some(version) = &status.version {
            update = update.set("agentVersion = :version", ":version", text(version));
        }
        update.send(&keys::agent(agent)).await
    }

    async fn record_heartbeat(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &SignOfLife,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut update = Fenced::new(self, agent, connection)
            .spelling(sign.spelling)?
            .set("lastSeen = :now", ":now", number(now.as_millis()));
        if let Some(tasks) = &sign.tasks {
            update = update.active(tasks, now);
        }
        if let Some(echoes) = sign.echoes {
            let at = number(echoes.as_millis());
            update = update.set("#connection.echoedAt = :echoes", ":echoes", at);
        }
        update.send(&keys::agent(agent)).await
    }

    async fn record_ping(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = Fenced::new(self, agent, connection);
        let at = number(now.as_millis());
        let update = update.set("#connection.pingedAt = :now", ":now", at);
        update.send(&keys::agent(agent)).await.map(drop)
    }

    /// Keeps the time of the first of several pings that are not echoed yet: an echo of any of them
    /// ends the doubt.
    async fn record_doubt(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = Fenced::new(self, agent, connection);
        let at = number(now.as_millis());
        let mut update = update.set("#connection.doubtedAt = :now", ":now", at);
        update.condition.push_str(
            " AND (attribute_not_exists(#connection.doubtedAt) \
             OR #connection.echoedAt >= #connection.doubtedAt)",
        );
        update.send(&keys::agent(agent)).await.map(drop)
    }

    async fn connected(&self, shard: u32, cursor: Option<&str>) -> Result<Page<Agent>, StoreError> {
        /// Agents of a page; an agent's record has less than 1 KB.
        const PAGE: i32 = 500;
        /// The attributes of an agent that the index `due` has.
        #[derive(Deserialize)]
        struct Connected {
            id: AgentId,
        }
        let key = Key {
            pk: keys::shard("CONNECTED", shard),
            sk: String::new(),
        };
        let answer = self
            .agents
            .client
            .query()
            .table_name(&self.agents.name)
            .index_name("due")
            .key_condition_expression("duePk = :pk AND dueSk > :from")
            .expression_attribute_values(":pk", text(&key.pk))
            .expression_attribute_values(":from", text(cursor.unwrap_or(" ")))
            .limit(PAGE)
            .send()
            .await
            .map_err(|error| failed("Query", error))?;
        let found = answer.items.unwrap_or_default().into_iter();
        let found = found.map(|item| read(item, &key));
        let found: Vec<Connected> = found.collect::<Result<_, _>>()?;
        let more = answer.last_evaluated_key.is_some();
        let next = found.last().filter(|_| more);
        let next = next.map(|agent| agent.id.to_string());
        let keys: Vec<_> = found.iter().map(|agent| keys::agent(&agent.id)).collect();
        let agents = self.agents.find_all(&keys).await?;
        let items = agents.into_values().collect();
        Ok(Page { items, next })
    }

    async fn unauthenticated(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        #[derive(Deserialize)]
        struct Unauthenticated {
            id: ConnectionId,
        }
        let shards = (0..keys::SHARDS).map(|shard| {
            let partition = keys::shard("UNAUTHENTICATED", shard);
            due::<Unauthenticated>(&self.agents, partition, now, limit)
        });
        let found = try_join_all(shards).await?.into_iter().flatten();
        Ok(found.map(|connection| connection.id).collect())
    }
}
