//! SQS batches: each record is handled on its own, and only failed records are returned.

use std::{collections::BTreeMap, slice, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tracing::{error, warn};

use crate::{
    dead_letter::Reason,
    error::{BematicError, Result, StoreError, TaskError, chain},
    ports::{SourceMessage, SourceQueue},
    slack::api::SlackError,
};

/// Handles every record on its own: groups in parallel, the records of one group in order. On a
/// FIFO queue the rest of a group is not tried after a failure. A failed record becomes visible
/// again soon, as often as the queue allows; then, or at once where a retry is no help, it is moved
/// to the dead-letter queue with its reason. (SQS itself moves only the messages of functions that
/// ended before they could do so.)
///
/// A record without an id cannot be named in the answer, and a null or unknown id would make AWS
/// fail the whole batch: such a record is logged and left out.
pub async fn handle_each<M, F>(
    event: SqsEvent,
    queue: &dyn SourceQueue,
    handle: impl Fn(M) -> F,
) -> SqsBatchResponse
where
    M: DeserializeOwned,
    F: Future<Output = Result<()>>,
{
    let groups = group_records(event.records);
    let groups = groups
        .values()
        .map(|records| handle_group(records, queue, &handle));
    let mut response = SqsBatchResponse::default();
    response.set_failures(join_all(groups).await.into_iter().flatten());
    response
}

/// Handles the records of a group in order. Returns the ids of those that SQS has to keep.
async fn handle_group<M, F>(
    records: &[SqsMessage],
    queue: &dyn SourceQueue,
    handle: impl Fn(M) -> F,
) -> Vec<String>
where
    M: DeserializeOwned,
    F: Future<Output = Result<()>>,
{
    let mut failures = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let result = match serde_json::from_str(record.body.as_deref().unwrap_or_default()) {
            Ok(message) => handle(message).await,
            Err(error) => Err(BematicError::Message(error.to_string())),
        };
        let Err(cause) = result else { continue };
        if dead_letter_unless_retryable(record, &cause, queue).await {
            continue;
        }
        let waiting = if is_fifo(record) {
            &records[index..]
        } else {
            slice::from_ref(record)
        };
        delay_retry(waiting, &cause, queue).await;
        failures.extend(waiting.iter().filter_map(|it| it.message_id.clone()));
        if is_fifo(record) {
            break;
        }
    }
    failures
}

/// Moves a record to the dead-letter queue if it is not to be retried. Returns whether it was
/// moved.
async fn dead_letter_unless_retryable(
    record: &SqsMessage,
    cause: &BematicError,
    queue: &dyn SourceQueue,
) -> bool {
    let Some(id) = record.message_id.as_deref() else {
        return false;
    };
    let times = receive_count(record);
    if is_retryable(cause) && times < queue.max_receives() {
        return false;
    }
    let message = SourceMessage {
        id,
        body: record.body.as_deref().unwrap_or_default(),
        group: record.attributes.get("MessageGroupId").map(String::as_str),
        fifo: is_fifo(record),
    };
    let sent = queue
        .send_to_dead_letters(message, &Reason::of(cause))
        .await;
    match &sent {
        Ok(()) => {
            error!(message_id = id, code = cause.code(), error = %chain(cause), times, "message moved to the dead-letter queue");
        }
        // SQS will move the message itself.
        Err(error) => {
            warn!(message_id = id, error = %chain(error), "message not moved to the dead-letter queue");
        }
    }
    sent.is_ok()
}

/// Whether the message may succeed if it is handled again.
fn is_retryable(cause: &BematicError) -> bool {
    match cause {
        // An item that was written incorrectly stays so.
        BematicError::Store(error) => matches!(error, StoreError::Call { .. }),
        BematicError::Task(error) => matches!(error, TaskError::TaskContended(_)),
        other => other.is_transient(),
    }
}

/// Whether the record is from a FIFO queue. A standard queue has groups too, for fairness, but no
/// order in them.
fn is_fifo(record: &SqsMessage) -> bool {
    record.attributes.contains_key("MessageDeduplicationId")
}

/// Returns how often SQS has delivered the record.
fn receive_count(record: &SqsMessage) -> u32 {
    let count = record.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Logs a failure and sets the wait of the records; the first of them failed. All have the same
/// wait: a record with a longer one would hold back its group.
async fn delay_retry(records: &[SqsMessage], cause: &BematicError, queue: &dyn SourceQueue) {
    let Some(first) = records.first() else { return };
    let id = first.message_id.as_deref();
    error!(message_id = id, code = cause.code(), error = %chain(cause), "message failed");
    let Some(wait) = retry_delay(first, cause) else {
        return;
    };
    for receipt in records
        .iter()
        .filter_map(|record| record.receipt_handle.as_deref())
    {
        if let Err(error) = queue.retry_after(receipt, wait).await {
            // The record becomes visible again all the same, later.
            warn!(message_id = id, error = %chain(&error), "wait of a failed message not set");
        }
    }
}

/// Returns the wait after a failure: as long as Slack asks, or 2 s, doubled after each further
/// failure. `None` where a retry is no help.
fn retry_delay(record: &SqsMessage, cause: &BematicError) -> Option<Duration> {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_mins(3);
    match cause {
        BematicError::Slack(SlackError::RateLimited { retry_after, .. }) => Some(*retry_after),
        error if is_retryable(error) => {
            let doublings = receive_count(record).saturating_sub(1).min(16);
            Some(FIRST.saturating_mul(1 << doublings).min(LONGEST))
        }
        _ => None,
    }
}

/// Groups records by message group; a record without a group is a group of its own.
fn group_records(records: Vec<SqsMessage>) -> BTreeMap<String, Vec<SqsMessage>> {
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
