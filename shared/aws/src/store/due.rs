//! Tasks by their deadlines: the index `due`, and the version that Slack shows.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use bematic::{error::StoreError, ports::Deadlines, task::Task};
use bematic_protocol::{
    ids::{AgentId, TaskId},
    time::Timestamp,
};
use futures::future::try_join_all;
use serde::Deserialize;

use super::{
    keys::{self, Key},
    table::{Item, Refusal, Table, failed, number, read, retry, text},
    tasks::TaskStore,
    transition::SAME_VERSION,
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
        let key = keys::task(task.id);
        let shown = Task {
            shown: task.version,
            ..task.clone()
        };
        let mut update = self
            .tasks
            .client
            .update_item()
            .table_name(&self.tasks.name)
            .key("pk", text(key.pk))
            .key("sk", text(key.sk))
            .condition_expression(SAME_VERSION)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(task.version));
        update = match shown.due_at() {
            Some(at) => update
                .update_expression("SET shown = :version, duePk = :pk, dueSk = :at")
                .expression_attribute_values(":pk", text(keys::due(task.id)))
                .expression_attribute_values(":at", text(at.to_string())),
            None => update.update_expression("SET shown = :version REMOVE duePk, dueSk"),
        };
        match retry(|| update.clone().send(), "UpdateItem").await {
            // The task has changed since: its new version is not shown yet.
            Ok(_) | Err(Refusal::Condition(_)) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    async fn postpone(&self, task: &Task, at: Timestamp) -> Result<(), StoreError> {
        let key = keys::task(task.id);
        let update = self
            .tasks
            .client
            .update_item()
            .table_name(&self.tasks.name)
            .key("pk", text(key.pk))
            .key("sk", text(key.sk))
            .condition_expression(format!("{SAME_VERSION} AND attribute_exists(duePk)"))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(task.version))
            .update_expression("SET dueSk = :at")
            .expression_attribute_values(":at", text(at.to_string()));
        match retry(|| update.clone().send(), "UpdateItem").await {
            Ok(_) | Err(Refusal::Condition(_)) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
        }
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
    loop {
        let answer = table
            .client
            .query()
            .table_name(&table.name)
            .index_name("due")
            .key_condition_expression("duePk = :pk AND dueSk <= :now")
            .expression_attribute_values(":pk", text(&key.pk))
            .expression_attribute_values(":now", AttributeValue::S(now.to_string()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failed("Query", error))?;
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
