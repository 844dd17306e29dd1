//! An attempt's output: one item a piece, the newest [`Chunk::KEPT`] of them.

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use bematic::{
    error::StoreError,
    ports::Output,
    task::{Chunk, ChunkOrder},
};
use bematic_protocol::{
    ids::{Attempt, TaskId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    keys::{self, Key},
    table::{Item, attributes, failed, item, number, read, text},
    tasks::{REPORT_KEPT, TaskStore},
};

/// Pieces after which those beyond the limit are removed, so that most pieces cost one call.
const TRIM_EVERY: u64 = 100;
/// Requests of one BatchWriteItem (DynamoDB's limit).
const BATCH: usize = 25;

#[derive(Serialize, Deserialize)]
struct Piece {
    text: String,
}

impl TaskStore {
    pub(super) async fn put_chunk(&self, chunk: &Chunk, now: Timestamp) -> Result<(), StoreError> {
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

    /// Numbered pieces say by their number which are too old; others have to be counted.
    async fn trim(&self, chunk: &Chunk) -> Result<(), StoreError> {
        let (task, attempt) = (chunk.task_id, chunk.attempt);
        match chunk.order {
            ChunkOrder::Seq(seq) if seq >= Chunk::KEPT && seq % TRIM_EVERY == TRIM_EVERY - 1 => {
                let oldest_kept = seq - Chunk::KEPT + 1;
                let old = oldest_kept.saturating_sub(TRIM_EVERY)..oldest_kept;
                self.delete_all(old.map(|seq| keys::chunk_at(task, attempt, seq)).collect())
                    .await
            }
            ChunkOrder::Time(_) if one_in(TRIM_EVERY, chunk.message_id.as_str()) => {
                self.delete_all(self.beyond_kept(task, attempt).await?)
                    .await
            }
            ChunkOrder::Seq(_) | ChunkOrder::Time(_) => Ok(()),
        }
    }

    async fn beyond_kept(&self, task: TaskId, attempt: Attempt) -> Result<Vec<Key>, StoreError> {
        let prefix = keys::chunks(task, attempt);
        let (mut seen, mut old, mut from) = (0_u64, Vec::new(), None);
        loop {
            let page = self.newest(&prefix, 1000, from).await?;
            for item in page.items.unwrap_or_default() {
                seen += 1;
                if seen > Chunk::KEPT
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
        for batch in keys.chunks(BATCH) {
            let requests = batch.iter().map(delete).collect::<Result<Vec<_>, _>>()?;
            // What DynamoDB leaves undone here goes with the next trim or the time-to-live.
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

    pub(super) async fn newest_output(
        &self,
        task: TaskId,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<Output, StoreError> {
        let prefix = keys::chunks(task, attempt);
        let (mut pieces, mut size) = (Vec::new(), 0);
        let mut from: Option<Item> = None;
        // A piece is a line or 24 KB: a few first, many only if they turn out to be small.
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
}

fn delete(key: &Key) -> Result<WriteRequest, StoreError> {
    let request = DeleteRequest::builder()
        .key("pk", text(&key.pk))
        .key("sk", text(&key.sk))
        .build()
        .map_err(|error| StoreError::Unwritable {
            source: Box::new(error),
        })?;
    Ok(WriteRequest::builder().delete_request(request).build())
}

/// True for one in `n` ids, always for the same.
fn one_in(n: u64, id: &str) -> bool {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().is_multiple_of(n)
}
