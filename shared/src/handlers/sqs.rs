//! SQS batches: each record stands alone, and only what failed comes back.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::error::{BematicError, chain};

/// A record's message.
///
/// # Errors
/// [`BematicError::Message`]: the record belongs in the dead-letter queue.
pub fn parse<M: DeserializeOwned>(record: &SqsMessage) -> Result<M, BematicError> {
    let body = record.body.as_deref().unwrap_or_default();
    serde_json::from_str(body).map_err(|error| BematicError::Message {
        reason: error.to_string(),
    })
}

/// Handles every record by itself, groups side by side, the records of one group in order. After
/// a failure the rest of its group is not tried: first in, first out.
///
/// A record without an id cannot be named in the answer, and a null or unknown id would make AWS
/// fail the whole batch: such a record is logged and left out.
pub async fn each<M, F>(event: SqsEvent, handle: impl Fn(M) -> F) -> SqsBatchResponse
where
    M: DeserializeOwned,
    F: Future<Output = Result<(), BematicError>>,
{
    each_or(event, handle, async |_, _| {}).await
}

/// Like [`each`]; a group's records that come back are given to `hand_back` first, with what made
/// the first of them fail.
pub async fn each_or<M, F>(
    event: SqsEvent,
    handle: impl Fn(M) -> F,
    hand_back: impl AsyncFn(&BematicError, &[SqsMessage]),
) -> SqsBatchResponse
where
    M: DeserializeOwned,
    F: Future<Output = Result<(), BematicError>>,
{
    let (handle, hand_back) = (&handle, &hand_back);
    let groups = groups(event.records)
        .into_values()
        .map(|records| async move {
            for (index, record) in records.iter().enumerate() {
                let result = match parse(record) {
                    Ok(message) => handle(message).await,
                    Err(error) => Err(error),
                };
                if let Err(cause) = result {
                    let (id, code) = (&record.message_id, cause.code());
                    error!(message_id = ?id, code, error = chain(&cause), "message failed");
                    hand_back(&cause, &records[index..]).await;
                    return records.into_iter().skip(index).collect();
                }
            }
            Vec::new()
        });
    let failed = join_all(groups).await.into_iter().flatten();
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .filter_map(|record| record.message_id)
        .map(failure)
        .collect();
    response
}

fn failure(item_identifier: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = item_identifier;
    failure
}

/// By message group; a record without a group is a group of its own.
fn groups(records: Vec<SqsMessage>) -> BTreeMap<String, Vec<SqsMessage>> {
    let mut groups: BTreeMap<String, Vec<SqsMessage>> = BTreeMap::new();
    for (index, record) in records.into_iter().enumerate() {
        let group = record.attributes.get("MessageGroupId").cloned();
        groups
            .entry(group.unwrap_or_else(|| format!("#{index}")))
            .or_default()
            .push(record);
    }
    groups
}
