//! The repository of progress reports: an attempt's steps, and the newest [`OutputChunk::KEPT`] pieces of
//! its output, one item each.

use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use bematic::{
    error::StoreError,
    ports::Reports,
    task::{ChunkPosition, Output, OutputChunk, Step},
};
use bematic_protocol::{
    ids::{Attempt, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    item::{Item, attributes, item, key_item, number, read, unwritable},
    keys::{self, Key},
    table::{at_most, failed},
    tasks::{REPORT_KEPT, TaskStore},
};

/// Pieces after which the oldest are deleted, so that most pieces cost one call.
const TRIM_EVERY: u64 = 100;
/// The most requests of one BatchWriteItem (DynamoDB's limit).
const BATCH_WRITE_LIMIT: usize = 25;

#[derive(Serialize, Deserialize)]
struct Piece {
    text: String,
}

/// The time-to-live of a step or a piece of output, which is [`REPORT_KEPT`] after it was received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expiry {
    expires_at: u64,
}

#[async_trait]
impl Reports for TaskStore {
    async fn add_step(
        &self,
        task: TaskId,
        attempt: Attempt,
        step: &Step,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let kept = number((now + REPORT_KEPT).as_secs());
        let item = item(
            &keys::step(task, attempt, step),
            step,
            attributes([("expiresAt", kept)]),
        )?;
        self.put_report(item).await
    }

    async fn steps(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> Result<Vec<Step>, StoreError> {
        let prefix = keys::steps(task, attempt);
        let page = self.newest(&prefix, at_most(limit), None).await?;
        page.items
            .unwrap_or_default()
            .into_iter()
            .map(|item| read(item, &prefix))
            .collect()
    }

    async fn add_chunk(&self, chunk: &OutputChunk, now: Timestamp) -> Result<(), StoreError> {
        let kept = number((now + REPORT_KEPT).as_secs());
        let piece = Piece {
            text: chunk.text.clone(),
        };
        let item = item(
            &keys::chunk(chunk),
            &piece,
            attributes([("expiresAt", kept)]),
        )?;
        self.put_report(item).await?;
        self.trim(chunk).await
    }

    async fn output(
        &self,
        task: TaskId,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<Output, StoreError> {
        let prefix = keys::chunks(task, attempt);
        let (mut pieces, mut size) = (Vec::new(), 0);
        let mut from: Option<Item> = None;
        // A piece has between one line and 24 KB: the first page is small, the next are larger.
        for limit in [4, 32, 256, 1000]
            .into_iter()
            .chain(std::iter::repeat(1000))
        {
            let page = self.newest(&prefix, limit, from).await?;
            for item in page.items.unwrap_or_default() {
                let piece: Piece = read(item, &prefix)?;
                size += piece.text.len();
                pieces.push(piece.text);
            }
            from = page.last_evaluated_key;
            if size >= bytes || from.is_none() {
                break;
            }
        }
        pieces.reverse();
        Ok(Output {
            text: pieces.concat(),
            cut: from.is_some(),
        })
    }

    async fn last_report(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError> {
        let newest = async |prefix: Key| {
            let found = self.newest(&prefix, 1, None).await?.items;
            let item = found.unwrap_or_default().into_iter().next();
            item.map(|item| read::<Expiry>(item, &prefix)).transpose()
        };
        let (step, chunk) = futures::try_join!(
            newest(keys::steps(task, attempt)),
            newest(keys::chunks(task, attempt))
        )?;
        let expires_at = [step, chunk].into_iter().flatten().map(|it| it.expires_at);
        let newest = expires_at.max();
        Ok(newest.map(|secs| Timestamp::from_millis(secs * 1000) - REPORT_KEPT))
    }
}

impl TaskStore {
    /// Stores a step or a piece of output. Its key comes from the message, so that a repeated message
    /// overwrites its own item.
    pub(super) async fn put_report(&self, item: Item) -> Result<(), StoreError> {
        self.tasks.put_item(item).await
    }

    /// Deletes pieces beyond the newest [`OutputChunk::KEPT`], once in [`TRIM_EVERY`] pieces. The keys of
    /// numbered pieces are computed; pieces without numbers are counted by a query.
    async fn trim(&self, chunk: &OutputChunk) -> Result<(), StoreError> {
        let (task, attempt) = (chunk.task_id, chunk.attempt);
        match chunk.position {
            ChunkPosition::Seq(seq)
                if seq >= OutputChunk::KEPT && seq % TRIM_EVERY == TRIM_EVERY - 1 =>
            {
                let oldest_kept = seq - OutputChunk::KEPT + 1;
                let old = oldest_kept.saturating_sub(TRIM_EVERY)..oldest_kept;
                self.delete_all(old.map(|seq| keys::chunk_at(task, attempt, seq)).collect())
                    .await
            }
            ChunkPosition::Time(_) if one_in(TRIM_EVERY, chunk.message_id.as_str()) => {
                self.delete_all(self.surplus(task, attempt).await?).await
            }
            ChunkPosition::Seq(_) | ChunkPosition::Time(_) => Ok(()),
        }
    }

    async fn surplus(&self, task: TaskId, attempt: Attempt) -> Result<Vec<Key>, StoreError> {
        let prefix = keys::chunks(task, attempt);
        let (mut seen, mut old, mut from) = (0_u64, Vec::new(), None);
        loop {
            let page = self.newest(&prefix, 1000, from).await?;
            for item in page.items.unwrap_or_default() {
                seen += 1;
                if seen > OutputChunk::KEPT
                    && let Some(sk) = item.get("sk").and_then(|sk| sk.as_s().ok())
                {
                    old.push(Key {
                        pk: prefix.pk.clone(),
                        sk: sk.clone(),
                    });
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(old);
            }
        }
    }

    async fn delete_all(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        for batch in keys.chunks(BATCH_WRITE_LIMIT) {
            let requests = batch.iter().map(delete).collect::<Result<Vec<_>, _>>()?;
            // Unprocessed items are deleted by the next trim or by their time-to-live.
            self.tasks
                .client
                .batch_write_item()
                .request_items(&self.tasks.name, requests)
                .send()
                .await
                .map_err(|error| failed("BatchWriteItem", error))?;
        }
        Ok(())
    }
}

fn delete(key: &Key) -> Result<WriteRequest, StoreError> {
    let request = DeleteRequest::builder()
        .set_key(Some(key_item(key)))
        .build()
        .map_err(unwritable)?;
    Ok(WriteRequest::builder().delete_request(request).build())
}

/// Whether the id's hash is a multiple of `n`: true for one in `n` ids.
fn one_in(n: u64, id: &str) -> bool {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().is_multiple_of(n)
}
