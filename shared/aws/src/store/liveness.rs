//! The presence of agents: their status reports and heartbeats, and lists of those that are
//! connected.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
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
    agents::AgentStore,
    due::due,
    expression::Expression,
    item::{map, number, read, text},
    keys::{self, Key},
    table::{Refusal, page},
};

/// Returns an empty update of an agent's record on condition that the connection is its current one.
fn over(connection: &ConnectionId) -> Expression {
    let current = Expression::on::<Agent>().when("connection.id = :connection");
    current.value(":connection", text(connection.as_str()))
}

/// An update of an agent's presence over its current connection: assignments and removals.
struct Fenced {
    change: Expression,
    set: Vec<&'static str>,
    remove: &'static str,
}

impl Fenced {
    fn new(connection: &ConnectionId) -> Self {
        Self {
            change: over(connection),
            set: Vec::new(),
            remove: "",
        }
    }

    fn set(mut self, assignment: &'static str, name: &str, value: AttributeValue) -> Self {
        self.set.push(assignment);
        self.change = self.change.value(name, value);
        self
    }

    fn when(mut self, condition: &str) -> Self {
        self.change = self.change.when(condition);
        self
    }

    /// Stores how the connection's first message was spelled; later ones do not change it.
    fn spelling(self, spelling: Spelling) -> Result<Self, StoreError> {
        let first = "connection.spelling = if_not_exists(connection.spelling, :spelling)";
        Ok(self.set(first, ":spelling", map(&spelling)?))
    }

    /// Stores the tasks that the agent runs. DynamoDB has no empty sets: without tasks, the
    /// attribute is removed.
    fn active(mut self, tasks: &[TaskId], now: Timestamp) -> Self {
        self = self.set("activeAt = :activeAt", ":activeAt", number(now.as_millis()));
        if tasks.is_empty() {
            self.remove = "REMOVE active";
            return self;
        }
        let mut ids: Vec<_> = tasks.iter().map(TaskId::to_string).collect();
        ids.sort();
        ids.dedup();
        self.set("active = :active", ":active", AttributeValue::Ss(ids))
    }

    /// Sends the update. Returns the agent afterwards, or `None` if the condition does not hold.
    async fn send(self, store: &AgentStore, agent: &AgentId) -> Result<Option<Agent>, StoreError> {
        let key = keys::agent(agent);
        let clauses = format!("SET {} {}", self.set.join(", "), self.remove);
        let change = self.change.update(&clauses);
        match store.agents.update(&key, change, ReturnValue::AllNew).await {
            Ok(item) => read(item, &key).map(Some),
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
        let update = Fenced::new(connection).spelling(spelling)?;
        update.send(self, agent).await.map(drop)
    }

    /// Ignores a report over a connection that was replaced, or that was sent before the last one.
    async fn record_status(
        &self,
        status: &AgentStatus,
        connection: &ConnectionId,
        spelling: Spelling,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut update = Fenced::new(connection)
            .when("(attribute_not_exists(statusAt) OR statusAt <= :sentAt)")
            .spelling(spelling)?
            .set(
                "availability = :availability",
                ":availability",
                map(&status.status)?,
            )
            .set(
                "capacity = :capacity",
                ":capacity",
                number(status.capacity.into()),
            )
            .set("statusAt = :sentAt", ":sentAt", number(sent_at.as_millis()))
            .set("lastSeen = :now", ":now", number(now.as_millis()))
            .active(&status.active_tasks, now);
        if let Some(version) = &status.version {
            update = update.set("agentVersion = :version", ":version", text(version));
        }
        update.send(self, &status.agent_id).await
    }

    async fn record_heartbeat(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        sign: &SignOfLife,
        now: Timestamp,
    ) -> Result<Option<Agent>, StoreError> {
        let mut update = Fenced::new(connection).spelling(sign.spelling)?.set(
            "lastSeen = :now",
            ":now",
            number(now.as_millis()),
        );
        if let Some(tasks) = &sign.tasks {
            update = update.active(tasks, now);
        }
        if let Some(echoes) = sign.echoes {
            let at = number(echoes.as_millis());
            update = update.set("connection.echoedAt = :echoes", ":echoes", at);
        }
        update.send(self, agent).await
    }

    async fn record_ping(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = over(connection)
            .update("SET connection.pingedAt = :now")
            .value(":now", number(now.as_millis()));
        self.agents
            .update_if(&keys::agent(agent), change)
            .await
            .map(drop)
    }

    /// Keeps the time of the first of several pings that are not echoed yet: an echo of any of them
    /// ends the doubt.
    async fn record_doubt(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = over(connection)
            .update("SET connection.doubtedAt = :now")
            .when(
                "(attribute_not_exists(connection.doubtedAt) \
                 OR connection.echoedAt >= connection.doubtedAt)",
            )
            .value(":now", number(now.as_millis()));
        self.agents
            .update_if(&keys::agent(agent), change)
            .await
            .map(drop)
    }

    async fn connected_agents(
        &self,
        shard: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Agent>, StoreError> {
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
        let range = [(":pk", &*key.pk), (":from", cursor.unwrap_or(" "))];
        let query = self.agents.query("duePk = :pk AND dueSk > :from", range);
        let answer = page(query.index_name("due").limit(PAGE)).await?;
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

    async fn unauthenticated_connections(
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
