//! Progress reports: an attempt's newest [`ProgressReport::MAX_KEPT_PER_ATTEMPT`] messages with
//! steps, and the newest [`OutputChunk::MAX_KEPT_PER_ATTEMPT`] pieces of its output, one item each.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use bematic::{
    error::StoreError,
    ports::Reports,
    task::{ChunkPosition, OutputChunk, OutputTail, ProgressReport},
};
use bematic_protocol::{
    ids::{Attempt, TaskId, stable_hash},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    TaskStore,
    keys::{self, Key},
    table::{
        call_error, invalid_request_error, item_key, parse_record, query_first_items,
        text_attribute,
    },
};

/// How long steps and output are kept.
const REPORT_TTL: Duration = Duration::from_hours(30 * 24);
/// Pieces after which the oldest are deleted, so that most pieces cost one call.
const CHUNKS_PER_TRIM: u32 = 100;
/// The most requests of one BatchWriteItem (DynamoDB's limit).
const BATCH_WRITE_LIMIT: usize = 25;

/// The time-to-live of a progress report or a piece of output, which is [`REPORT_TTL`] after it was
/// received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expiry {
    expires_at: u64,
}

#[async_trait]
impl Reports for TaskStore {
    async fn add_progress_report(
        &self,
        task: TaskId,
        attempt: Attempt,
        report: &ProgressReport,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.put_report(&keys::progress_report(task, attempt, report), report, now)
            .await?;
        let prefix = keys::progress_reports_prefix(task, attempt);
        self.trim_after_many(prefix, ProgressReport::MAX_KEPT_PER_ATTEMPT)
            .await
    }

    async fn progress_reports(
        &self,
        task: TaskId,
        attempt: Attempt,
        limit: usize,
    ) -> Result<Vec<ProgressReport>, StoreError> {
        let newest = query_first_items(
            self.tasks
                .newest_first_query(&keys::progress_reports_prefix(task, attempt)),
            limit,
        )
        .await?;
        newest.into_iter().map(parse_record).collect()
    }

    async fn add_chunk(&self, chunk: &OutputChunk, now: Timestamp) -> Result<(), StoreError> {
        let piece = HashMap::from([("text", &chunk.text)]);
        self.put_report(&keys::chunk(chunk), &piece, now).await?;
        self.trim_output(chunk).await?;
        let prefix = keys::chunks_prefix(chunk.task_id, chunk.attempt);
        self.trim_after_many(prefix, OutputChunk::MAX_KEPT_PER_ATTEMPT)
            .await
    }

    async fn output(
        &self,
        task: TaskId,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<OutputTail, StoreError> {
        let prefix = keys::chunks_prefix(task, attempt);
        let (mut pieces, mut size, mut from) = (Vec::new(), 0, None);
        // A piece has between one line and 24 KB: the first page is small, the next are larger.
        for limit in [4, 32, 256].into_iter().chain(std::iter::repeat(1000)) {
            let query = self.tasks.newest_first_query(&prefix).limit(limit);
            let query = query.set_exclusive_start_key(from);
            let page = query.send().await.map_err(call_error("Query"))?;
            for item in page.items.unwrap_or_default() {
                let piece = text_attribute(&item, "text")?;
                size += piece.len();
                pieces.push(piece.to_owned());
            }
            from = page.last_evaluated_key;
            if size >= bytes || from.is_none() {
                break;
            }
        }
        pieces.reverse();
        Ok(OutputTail {
            text: pieces.concat(),
            cut: from.is_some(),
        })
    }

    async fn last_report_at(
        &self,
        task: TaskId,
        attempt: Attempt,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (step, chunk) = futures::try_join!(
            query_first_items(
                self.tasks
                    .newest_first_query(&keys::progress_reports_prefix(task, attempt)),
                1
            ),
            query_first_items(
                self.tasks
                    .newest_first_query(&keys::chunks_prefix(task, attempt)),
                1
            )
        )?;
        let newest = step.into_iter().chain(chunk).map(parse_record);
        let newest: Vec<Expiry> = newest.collect::<Result<_, _>>()?;
        let expires_at = newest.iter().map(|it| it.expires_at).max();
        Ok(expires_at.map(|secs| Timestamp::from_millis(secs * 1000) - REPORT_TTL))
    }
}

impl TaskStore {
    /// Stores a step or a piece of output. Its key comes from the message, so that a repeated
    /// message overwrites its own item.
    async fn put_report(
        &self,
        key: &Key,
        report: &impl Serialize,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let put = self.tasks.prepare_put(key, report)?;
        let put = put.set("expiresAt", (now + REPORT_TTL).as_secs())?;
        put.send().await.map(drop)
    }

    /// Deletes pieces beyond the newest [`OutputChunk::MAX_KEPT_PER_ATTEMPT`], once in
    /// [`CHUNKS_PER_TRIM`] pieces. The keys of numbered pieces are computed; pieces without numbers
    /// are counted by a query.
    async fn trim_output(&self, chunk: &OutputChunk) -> Result<(), StoreError> {
        let (task, attempt) = (chunk.task_id, chunk.attempt);
        let every = u64::from(CHUNKS_PER_TRIM);
        match chunk.position {
            ChunkPosition::Seq(seq)
                if seq >= OutputChunk::MAX_KEPT_PER_ATTEMPT && seq % every == every - 1 =>
            {
                let oldest_kept = seq - OutputChunk::MAX_KEPT_PER_ATTEMPT + 1;
                let old = oldest_kept.saturating_sub(every)..oldest_kept;
                self.delete_by_keys(
                    old.map(|seq| keys::chunk_with_seq(task, attempt, seq))
                        .collect(),
                )
                .await
            }
            ChunkPosition::Time(_)
                if stable_hash(chunk.message_id.as_str()).is_multiple_of(CHUNKS_PER_TRIM) =>
            {
                let prefix = keys::chunks_prefix(task, attempt);
                self.trim(&prefix, OutputChunk::MAX_KEPT_PER_ATTEMPT).await
            }
            ChunkPosition::Seq(_) | ChunkPosition::Time(_) => Ok(()),
        }
    }

    /// Trims the items of an attempt when this environment has stored as many as are kept. The
    /// agent chooses the numbers, ids and times of its messages, but not how many are counted here.
    /// For most agents it costs one query in a thousand pieces.
    async fn trim_after_many(&self, prefix: Key, kept: u64) -> Result<(), StoreError> {
        let stored = self.stored.get(&prefix).unwrap_or_default() + 1;
        if stored < kept {
            self.stored.insert(prefix, stored);
            return Ok(());
        }
        self.trim(&prefix, kept).await?;
        self.stored.remove(&prefix);
        Ok(())
    }

    /// Deletes the items of a prefix beyond the newest, found by a query: at most as many as are
    /// kept, so that the work is bounded.
    async fn trim(&self, prefix: &Key, kept: u64) -> Result<(), StoreError> {
        let query = self.tasks.newest_first_query(prefix);
        let query = query.projection_expression("pk, sk");
        let mut items = query.into_paginator().items().send();
        let (mut seen, mut old) = (0, Vec::new());
        while let Some(item) = items.try_next().await.map_err(call_error("Query"))? {
            seen += 1;
            if seen > kept {
                old.push(item_key(&item)?);
            }
            if seen == 2 * kept {
                break;
            }
        }
        self.delete_by_keys(old).await
    }

    async fn delete_by_keys(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        for batch in keys.chunks(BATCH_WRITE_LIMIT) {
            let requests = batch.iter().map(|key| {
                let request = DeleteRequest::builder().set_key(Some(key.attributes()));
                let request = request.build().map_err(invalid_request_error)?;
                Ok(WriteRequest::builder().delete_request(request).build())
            });
            let requests = requests.collect::<Result<Vec<_>, StoreError>>()?;
            // Unprocessed items are deleted by the next trim or by their time-to-live.
            self.tasks
                .client
                .batch_write_item()
                .request_items(&self.tasks.name, requests)
                .send()
                .await
                .map_err(call_error("BatchWriteItem"))?;
        }
        Ok(())
    }
}
