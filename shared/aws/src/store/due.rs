//! Tasks by their deadlines: the index `due`, and the version that Slack shows.

use async_trait::async_trait;
use bematic::{error::StoreError, ports::Deadlines, task::Task};
use bematic_protocol::{
    ids::{AgentId, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::Deserialize;

use super::{
    expression::Expression,
    item::{Item, read, text},
    keys::{self, Key},
    table::{Table, at_most, page},
    tasks::TaskStore,
};

/// The attributes of a task that the index `due` has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    id: TaskId,
    agent_id: AgentId,
}

#[async_trait]
impl Deadlines for TaskStore {
    /// Stores the version that Slack shows, on condition that it is still the task's version. From
    /// then on only the task's timer keeps it in the index `due`.
    async fn mark_shown(&self, task: &Task) -> Result<(), StoreError> {
        let shown = Task {
            shown: task.version,
            ..task.clone()
        };
        let same = Expression::version::<Task>(task.version);
        let change = match shown.due_at() {
            Some(at) => same
                .update("SET shown = :version, duePk = :pk, dueSk = :at")
                .value(":pk", text(keys::due(task.id)))
                .value(":at", text(at.to_string())),
            None => same.update("SET shown = :version REMOVE duePk, dueSk"),
        };
        // If the task has changed since, its new version is not shown yet.
        self.tasks
            .update_if(&keys::task(task.id), change)
            .await
            .map(drop)
    }

    async fn postpone(&self, task: &Task, at: Timestamp) -> Result<(), StoreError> {
        let change = Expression::version::<Task>(task.version)
            .when("attribute_exists(duePk)")
            .update("SET dueSk = :at")
            .value(":at", text(at.to_string()));
        self.tasks
            .update_if(&keys::task(task.id), change)
            .await
            .map(drop)
    }

    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, AgentId)>, StoreError> {
        let shards = (0..keys::SHARDS).map(|shard| {
            let partition = keys::shard("DUE", shard);
            due::<Due>(&self.tasks, partition, now, limit)
        });
        let found = try_join_all(shards).await?;
        let tasks = found.into_iter().flatten();
        Ok(tasks.map(|task| (task.id, task.agent_id)).collect())
    }
}

/// Returns the first `limit` items of a partition of the index `due` whose time is `now` or before.
pub(super) async fn due<R: for<'de> Deserialize<'de>>(
    table: &Table,
    partition: String,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<R>, StoreError> {
    let key = Key {
        pk: partition,
        sk: String::new(),
    };
    let mut found = Vec::new();
    let mut from: Option<Item> = None;
    let (now, at_most) = (now.to_string(), at_most(limit));
    loop {
        let range = [(":pk", key.pk.as_str()), (":now", &now)];
        let query = table.query("duePk = :pk AND dueSk <= :now", range);
        let query = query.index_name("due").limit(at_most);
        let answer = page(query.set_exclusive_start_key(from)).await?;
        for item in answer.items.unwrap_or_default() {
            found.push(read(item, &key)?);
        }
        from = answer.last_evaluated_key;
        if found.len() >= limit || from.is_none() {
            found.truncate(limit);
            return Ok(found);
        }
    }
}
