//! Lists of tasks: those that wait for an agent, and those of a channel.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::Select;
use bematic::{
    error::{StoreError, chain},
    ports::{Page, TaskLists, WAITING_COUNTED},
    task::{Task, TaskEvent, TaskPolicy},
};
use bematic_protocol::{
    ids::{AgentId, ChannelId, TaskId},
    time::Timestamp,
};
use tracing::error;

use super::{
    batch_get::key_of,
    item::{Item, read},
    keys::{self, Key},
    table::{at_most, failed, page},
    tasks::TaskStore,
};

/// The condition of a channel's tasks that come after a cursor: older ones.
const BEFORE: &str = "channelPk = :channel AND channelSk < :cursor";

#[async_trait]
impl TaskLists for TaskStore {
    /// Reads the queue consistently, in order.
    async fn queued(
        &self,
        agent: &AgentId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError> {
        let key = Key {
            pk: keys::queue(agent),
            sk: String::new(),
        };
        let mut due = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let query = self.tasks.query("pk = :queue", [(":queue", &key.pk)]);
            let query = query.consistent_read(true).limit(at_most(limit.max(10)));
            let answer = page(query.set_exclusive_start_key(from)).await?;
            for item in answer.items.unwrap_or_default() {
                let task: Task = read(item, &key)?;
                if task
                    .after(TaskEvent::Claimed, &TaskPolicy::default(), now)
                    .is_ok()
                {
                    due.push(task);
                }
            }
            from = answer.last_evaluated_key;
            if due.len() >= limit || from.is_none() {
                due.truncate(limit);
                return Ok(due);
            }
        }
    }

    async fn waiting(&self, agent: &AgentId) -> Result<usize, StoreError> {
        let queue = keys::queue(agent);
        let query = self.tasks.query("pk = :queue", [(":queue", &queue)]);
        let query = query.consistent_read(true).select(Select::Count);
        let answer = page(query.limit(at_most(WAITING_COUNTED))).await?;
        Ok(usize::try_from(answer.count).unwrap_or(0))
    }

    /// Reads the keys from the index `channel`, newest first, and then the tasks by key.
    async fn in_channel(
        &self,
        channel: &ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Task>, StoreError> {
        let partition = keys::channel(channel);
        let channel = (":channel", partition.as_str());
        let query = match cursor {
            Some(cursor) => {
                let before = [channel, (":cursor", valid_cursor(cursor)?)];
                self.tasks.query(BEFORE, before)
            }
            None => self.tasks.query("channelPk = :channel", [channel]),
        };
        let query = query.index_name("channel").scan_index_forward(false);
        let answer = page(query.limit(at_most(limit + 1))).await?;
        let mut places: Vec<(Key, String)> = answer
            .items
            .iter()
            .flatten()
            .map(|item| Ok((key_of(item)?, place_of(item)?)))
            .collect::<Result<_, StoreError>>()?;
        // DynamoDB ends a page at 1 MB, too.
        let more = places.len() > limit || answer.last_evaluated_key.is_some();
        places.truncate(limit);
        let next = places.last().filter(|_| more);
        let next = next.map(|(_, place)| place.clone());
        let keys: Vec<Key> = places.into_iter().map(|(key, _)| key).collect();
        let mut found = self.tasks.get_all(&keys).await?;
        // A task that cannot be deserialized must not hide the others.
        let readable = |key: &Key| {
            read(found.remove(key)?, key)
                .inspect_err(|error| error!(error = chain(error), "task left out of a list"))
                .ok()
        };
        let items: Vec<Task> = keys.iter().filter_map(readable).collect();
        Ok(Page { items, next })
    }

    async fn count_in_channel(&self, channel: &ChannelId, cursor: &str) -> Result<u64, StoreError> {
        let channel = keys::channel(channel);
        let before = [(":channel", &*channel), (":cursor", valid_cursor(cursor)?)];
        let query = self.tasks.query(BEFORE, before).index_name("channel");
        let mut pages = query.select(Select::Count).into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("Query", error))?;
            count += u64::from(page.count.unsigned_abs());
        }
        Ok(count)
    }
}

/// Returns an item's sort key in the index `channel`.
fn place_of(item: &Item) -> Result<String, StoreError> {
    let place = item.get("channelSk").and_then(|place| place.as_s().ok());
    place.cloned().ok_or_else(|| StoreError::Corrupt {
        key: "channel".to_owned(),
        source: "an item without a sort key".into(),
    })
}

/// Checks that a cursor is a sort key of the index `channel`.
fn valid_cursor(cursor: &str) -> Result<&str, StoreError> {
    match cursor.split_once('#') {
        Some((time, id)) if time.parse::<u64>().is_ok() && id.parse::<TaskId>().is_ok() => {
            Ok(cursor)
        }
        _ => Err(StoreError::Cursor),
    }
}
