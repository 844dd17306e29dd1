//! The repository of bulk operations.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;
use bematic::{
    batch::{Batch, Change},
    error::StoreError,
    ports::{Applied, Batches, Created},
};
use bematic_protocol::{
    ids::{BatchId, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    batch_get::key_of,
    expression::Expression,
    item::{Item, Record, attributes, item, number, text},
    keys::{self, Key},
    table::{Part, Transacted, at_most, page},
    tasks::{REQUEST_KEPT, TaskStore},
    transition::{put_new, put_task, related_writes},
};

/// How long a bulk operation's record is kept.
const BATCH_KEPT: Duration = Duration::from_hours(30 * 24);
/// How long the sweeper restarts a stalled bulk operation.
const RESTARTED_FOR: Duration = Duration::from_hours(24);

impl Record for Batch {
    type Id = BatchId;
    const FIELDS: &'static [&'static str] = &["shown", "version"];
    fn key(id: &BatchId) -> Key {
        keys::batch(*id)
    }
}

/// The bulk operation that a request of Slack created.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    batch_id: BatchId,
}

impl Record for Request {
    type Id = str;
    fn key(id: &str) -> Key {
        keys::request(id)
    }
}

#[async_trait]
impl Batches for TaskStore {
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        self.tasks.find(&id).await
    }

    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError> {
        let kept = number((batch.created_at + REQUEST_KEPT).as_secs());
        let record = Request { batch_id: batch.id };
        let index = attributes([("expiresAt", kept)]);
        let request_item = item(&keys::request(request), &record, index)?;
        let tasks = &self.tasks.name;
        let writes = vec![
            (Part::Request, put_new(tasks, request_item)?),
            (Part::Batch, put_new(tasks, batch_item(batch)?)?),
        ];
        match self.tasks.transact(writes).await? {
            Transacted::Done => Ok(Created::New),
            Transacted::Refused(_) => match self.tasks.find::<Request>(request).await? {
                Some(first) => Ok(Created::Existing(first.batch_id)),
                None => Err(StoreError::Corrupt {
                    key: keys::batch(batch.id).to_string(),
                    source: "the id of a new bulk operation is taken".into(),
                }),
            },
        }
    }

    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[Change],
    ) -> Result<Applied, StoreError> {
        let same = Expression::version::<Batch>(before.version);
        let batch = same.put_of(&self.tasks.name, batch_item(after)?)?;
        // The label of a write is its task's id, or `None` for the bulk operation's record.
        let mut writes = vec![(None, batch)];
        for change in changes {
            let id = Some(change.before.id);
            let task_writes = self.task_writes(change)?.into_iter();
            writes.extend(task_writes.map(|(_, write)| (id, write)));
        }
        let refused = match self.tasks.transact(writes).await? {
            Transacted::Done => return Ok(Applied::Done),
            Transacted::Refused(refused) => refused,
        };
        let tasks: Option<Vec<TaskId>> = refused.into_iter().map(|(task, _)| task).collect();
        Ok(tasks.map_or(Applied::Overtaken, Applied::Refused))
    }

    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError> {
        let change = Expression::version::<Batch>(batch.version)
            .update("SET shown = :version REMOVE duePk, dueSk");
        self.tasks
            .update_if(&keys::batch(batch.id), change)
            .await
            .map(drop)
    }

    async fn postpone(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError> {
        let change = Expression::on::<Batch>()
            .when("attribute_exists(duePk)")
            .update("SET dueSk = :at")
            .value(":at", text(at.to_string()));
        self.tasks
            .update_if(&keys::batch(id), change)
            .await
            .map(drop)
    }

    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError> {
        let (from, now) = ((now - RESTARTED_FOR).to_string(), now.to_string());
        let range = [(":pk", keys::BATCHES), (":from", &from), (":now", &now)];
        let query = self
            .tasks
            .query("duePk = :pk AND dueSk BETWEEN :from AND :now", range)
            .index_name("due");
        let answer = page(query.limit(at_most(limit))).await?;
        let items = answer.items.unwrap_or_default();
        let keys: Vec<Key> = items.iter().map(key_of).collect::<Result<_, _>>()?;
        let found: HashMap<_, Batch> = self.tasks.find_all(&keys).await?;
        let batches = found.into_values();
        Ok(batches.map(|it| (it.id, it.updated_at)).collect())
    }
}

impl TaskStore {
    fn task_writes(&self, change: &Change) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
        let Change { before, after } = change;
        let mut writes = vec![(Part::Task, put_task(&self.tasks.name, before, after)?)];
        writes.extend(related_writes(
            &self.tasks.name,
            &self.agents,
            before,
            after,
            None,
            None,
        )?);
        Ok(writes)
    }
}

/// Returns a bulk operation's item, with its place in the index `due` until it is done. Few bulk
/// operations are under way at a time, so that one partition is enough.
fn batch_item(batch: &Batch) -> Result<Item, StoreError> {
    let kept = number((batch.created_at + BATCH_KEPT).as_secs());
    let mut index = attributes([("expiresAt", kept)]);
    if let Some(at) = batch.due_at() {
        index.extend(attributes([
            ("duePk", text(keys::BATCHES)),
            ("dueSk", text(at.to_string())),
        ]));
    }
    item(&keys::batch(batch.id), batch, index)
}
