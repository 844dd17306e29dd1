//! Lists of tasks: those that wait for an agent, those of a channel, and those that have to be
//! checked; and the version of a task that Slack shows.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::Select;
use bematic::{
    error::{StoreError, chain},
    ports::{Deadlines, Page, TaskLists},
    task::Task,
};
use bematic_protocol::{
    ids::{AgentId, ChannelId, TaskId},
    time::Timestamp,
};
use serde::Deserialize;
use tracing::error;

use super::{
    TaskStore,
    keys::{self, Key},
    table::{call_error, item_key, limit_to_i32, parse_record, text_attribute},
    transition::due_partition,
};

/// The condition of a channel's tasks that come after a cursor: older ones.
const OLDER_CHANNEL_TASKS_CONDITION: &str = "channelPk = :channel AND channelSk < :cursor";

#[async_trait]
impl TaskLists for TaskStore {
    /// Reads the queue consistently, in order.
    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError> {
        let query = self
            .tasks
            .build_query("pk = :pk", [(":pk", &keys::queue_partition(agent))]);
        let query = query
            .consistent_read(true)
            .limit(limit_to_i32(limit.max(10)));
        let mut items = query.into_paginator().items().send();
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(item) = items.try_next().await.map_err(call_error("Query"))?
        {
            let task: Task = parse_record(item)?;
            if task.is_claimable(now) {
                due.push(task);
            }
        }
        Ok(due)
    }

    async fn count_in_queue(&self, agent: &AgentId, limit: usize) -> Result<usize, StoreError> {
        let query = self
            .tasks
            .build_query("pk = :pk", [(":pk", &keys::queue_partition(agent))]);
        let query = query.consistent_read(true).select(Select::Count);
        let mut pages = query.limit(limit_to_i32(limit)).into_paginator().send();
        let mut count = 0;
        // DynamoDB ends a page at 1 MB, too.
        while count < limit
            && let Some(page) = pages.try_next().await.map_err(call_error("Query"))?
        {
            count += usize::try_from(page.count).unwrap_or(0);
        }
        Ok(count.min(limit))
    }

    /// Reads the keys from the index `channel`, newest first, and then the tasks by key.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError> {
        let partition = keys::channel_partition(channel);
        let channel = (":channel", &*partition);
        let query = match cursor {
            Some(cursor) => {
                let before = [channel, (":cursor", check_cursor(cursor)?)];
                self.tasks
                    .build_query(OLDER_CHANNEL_TASKS_CONDITION, before)
            }
            None => self.tasks.build_query("channelPk = :channel", [channel]),
        };
        let query = query.index_name("channel").scan_index_forward(false);
        let query = query.limit(limit_to_i32(limit + 1));
        let answer = query.send().await.map_err(call_error("Query"))?;
        // DynamoDB ends a page at 1 MB, too.
        let more = answer.items().len() > limit || answer.last_evaluated_key.is_some();
        let places = &answer.items()[..answer.items().len().min(limit)];
        let next = match places.last() {
            Some(last) if more => Some(text_attribute(last, "channelSk")?.to_owned()),
            _ => None,
        };
        let keys: Vec<Key> = places.iter().map(item_key).collect::<Result<_, _>>()?;
        let mut found = self.tasks.find_by_keys(&keys).await?;
        // A task that cannot be deserialized must not hide the others.
        let readable = |key: &Key| {
            found
                .remove(key)?
                .inspect_err(|error| error!(error = chain(error), "task left out of a list"))
                .ok()
        };
        let items = keys.iter().filter_map(readable).collect();
        Ok(Page { items, next })
    }

    async fn count_after_in_channel(
        &self,
        channel: &ChannelId,
        cursor: &str,
    ) -> Result<u64, StoreError> {
        let channel = keys::channel_partition(channel);
        let before = [(":channel", &*channel), (":cursor", check_cursor(cursor)?)];
        let query = self
            .tasks
            .build_query(OLDER_CHANNEL_TASKS_CONDITION, before)
            .index_name("channel");
        let mut pages = query.select(Select::Count).into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.try_next().await.map_err(call_error("Query"))? {
            count += u64::from(page.count.unsigned_abs());
        }
        Ok(count)
    }
}

/// Checks that a cursor is a sort key of the index `channel`.
fn check_cursor(cursor: &str) -> Result<&str, StoreError> {
    match cursor.split_once('#') {
        Some((time, id)) if time.parse::<u64>().is_ok() && id.parse::<TaskId>().is_ok() => {
            Ok(cursor)
        }
        _ => Err(StoreError::Cursor),
    }
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
        let update = self
            .tasks
            .prepare_update(keys::task(task.id))
            .if_version(task.version)?
            .set("shown", shown.shown)?
            .set_due(due_partition(task), shown.due_at())?;
        update.send().await.map(drop)
    }

    async fn postpone(&self, task: &Task, at: Timestamp) -> Result<(), StoreError> {
        let update = self.tasks.prepare_update(keys::task(task.id));
        let update = update.if_version(task.version)?.postpone_due(at)?;
        update.send().await.map(drop)
    }

    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, AgentId)>, StoreError> {
        /// The attributes of a task that the index `due` has.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Due {
            id: TaskId,
            agent_id: AgentId,
        }
        let tasks: Vec<Due> = self
            .tasks
            .find_due(keys::DUE_TASKS_LIST, now, limit)
            .await?;
        Ok(tasks.into_iter().map(|it| (it.id, it.agent_id)).collect())
    }
}
