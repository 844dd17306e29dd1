//! SQS's JSON protocol.
//!
//! A receive never waits, whatever WaitTimeSeconds says, and sees every message, of which a short poll of
//! AWS may miss some. Limits on messages in flight and the retention period are not enforced, and there
//! are no MD5s. Refusals have the codes of AWS, as its SDKs report them, and words of their own.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    ops::RangeInclusive,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    calls::Call,
    common::ServiceResult,
    message::Message,
    queue::{INVALID_PARAMETER_VALUE, MAX_VISIBILITY_TIMEOUT, Queue, Queues, bad_request},
};

/// "The maximum size is 1 MiB or 1,048,576 bytes" (API reference, SendMessage), attributes included; also
/// the total of a batch.
const MAX_MESSAGE_BYTES: usize = 1_048_576;
/// "Valid values: 0 to 900. Maximum: 15 minutes" (API reference, SendMessage, DelaySeconds).
const MAX_DELAY_SECONDS: u64 = 900;
/// Seconds of a long poll at most (developer guide, "Amazon SQS short and long polling").
const MAX_WAIT_SECONDS: u64 = 20;
/// Entries of a batch, and messages of a receive ("Amazon SQS message quotas").
const MAX_BATCH_ENTRIES: usize = 10;
/// "A message can contain up to 10 metadata attributes" ("Amazon SQS message quotas").
const MAX_MESSAGE_ATTRIBUTES: usize = 10;

const MISSING_PARAMETER: &str = "MissingParameter";

/// The parameters of any request, or of an entry of a batch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parameters {
    queue_url: String,
    entries: Vec<Self>,
    id: String,
    message_body: String,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
    message_attributes: BTreeMap<String, Value>,
    delay_seconds: Option<u64>,
    receipt_handle: String,
    visibility_timeout: Option<u64>,
    max_number_of_messages: Option<usize>,
    wait_time_seconds: Option<u64>,
    message_attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    attribute_names: Vec<String>,
}

fn ensure(holds: bool, code: &'static str, message: &str) -> ServiceResult<()> {
    if holds {
        Ok(())
    } else {
        bad_request(code, message)
    }
}

/// Answers a call, and completes its description.
pub(crate) fn call(queues: &Queues, request: &Value, call: &mut Call) -> ServiceResult {
    let request = Parameters::deserialize(request);
    let request =
        request.or_else(|error| bad_request(INVALID_PARAMETER_VALUE, &error.to_string()))?;
    let Some(queue) = queues.by_url(&request.queue_url) else {
        let code = "AWS.SimpleQueueService.NonExistentQueue";
        return bad_request(code, &request.queue_url);
    };
    call.fifo = queue.spec().fifo;
    let mut messages = request.entries.iter().chain([&request]);
    call.fair = !call.fifo && messages.any(|it| it.message_group_id.is_some());
    match &*call.operation {
        "SendMessage" => send(&queue, &request, &mut call.message_ids),
        "SendMessageBatch" => {
            let size = request
                .entries
                .iter()
                .map(Parameters::message_size)
                .sum::<usize>();
            let code = "AWS.SimpleQueueService.BatchRequestTooLong";
            ensure(size <= MAX_MESSAGE_BYTES, code, "over 1 MiB")?;
            answer_batch(&request, |entry| send(&queue, entry, &mut call.message_ids))
        }
        "ReceiveMessage" => receive(&queue, &request),
        "DeleteMessage" => {
            queue.try_delete(&request.receipt_handle)?;
            Ok(json!({}))
        }
        "ChangeMessageVisibility" => change_visibility(&queue, &request),
        "ChangeMessageVisibilityBatch" => {
            answer_batch(&request, |it| change_visibility(&queue, it))
        }
        "GetQueueAttributes" => Ok(queue_attributes(&queue, &request.attribute_names)),
        operation => bad_request("AWS.SimpleQueueService.UnsupportedOperation", operation),
    }
}

impl Parameters {
    /// The bytes of a message's body and attributes.
    fn message_size(&self) -> usize {
        let attributes = self.message_attributes.iter();
        let attributes = attributes.flat_map(|(name, attribute)| {
            let parts = ["DataType", "StringValue", "BinaryValue"];
            let sizes = parts.map(|part| attribute[part].as_str().map_or(0, str::len));
            [name.len()].into_iter().chain(sizes)
        });
        self.message_body.len() + attributes.sum::<usize>()
    }

    /// Checks a message, by the API reference of SendMessage.
    fn check_message(&self, fifo: bool) -> ServiceResult<()> {
        let (group, deduplication_id) = (&self.message_group_id, &self.message_deduplication_id);
        // "The minimum size is one character."
        ensure(
            !self.message_body.is_empty(),
            MISSING_PARAMETER,
            "MessageBody",
        )?;
        // "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        let allowed = |it| matches!(it, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        let body_is_valid = self.message_body.chars().all(allowed);
        ensure(body_is_valid, "InvalidMessageContents", "a character")?;
        let attributes = self.message_attributes.len();
        ensure(
            attributes <= MAX_MESSAGE_ATTRIBUTES,
            INVALID_PARAMETER_VALUE,
            "over 10 attributes",
        )?;
        ensure(
            self.message_size() <= MAX_MESSAGE_BYTES,
            INVALID_PARAMETER_VALUE,
            "over 1 MiB",
        )?;
        check_range("DelaySeconds", self.delay_seconds, 0..=MAX_DELAY_SECONDS)?;
        // "The length of MessageGroupId is 128 characters. Valid values: alphanumeric characters and
        // punctuation"; the same of MessageDeduplicationId.
        for id in [group, deduplication_id].into_iter().flatten() {
            let valid = (1..=128).contains(&id.len()) && id.chars().all(|it| it.is_ascii_graphic());
            ensure(valid, INVALID_PARAMETER_VALUE, id)?;
        }
        if fifo {
            // "When you set FifoQueue, you can't set DelaySeconds per message."
            ensure(
                self.delay_seconds.is_none(),
                INVALID_PARAMETER_VALUE,
                "DelaySeconds",
            )?;
            ensure(group.is_some(), MISSING_PARAMETER, "MessageGroupId")?;
        }
        // "This parameter applies only to FIFO (first-in-first-out) queues."
        ensure(
            deduplication_id.is_some() == fifo,
            INVALID_PARAMETER_VALUE,
            "MessageDeduplicationId",
        )
    }
}

/// Checks that a number is in a range, if there is one.
fn check_range<T: PartialOrd + Display>(
    name: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> ServiceResult<Option<T>> {
    match value {
        Some(value) if !range.contains(&value) => {
            bad_request(INVALID_PARAMETER_VALUE, &format!("{name}: {value}"))
        }
        value => Ok(value),
    }
}

fn send(queue: &Queue<'_>, request: &Parameters, sent: &mut Vec<String>) -> ServiceResult {
    request.check_message(queue.spec().fifo)?;
    let message = Message {
        body: request.message_body.clone(),
        group: request.message_group_id.clone(),
        deduplication_id: request.message_deduplication_id.clone(),
        attributes: request.message_attributes.clone(),
        ..Message::default()
    };
    let id = queue.send(message, request.delay_seconds);
    sent.push(id.clone());
    Ok(json!({ "MessageId": id }))
}

fn receive(queue: &Queue<'_>, request: &Parameters) -> ServiceResult {
    let max = request.max_number_of_messages;
    let max = check_range("MaxNumberOfMessages", max, 1..=MAX_BATCH_ENTRIES)?;
    let timeout = request.visibility_timeout;
    let timeout = check_range("VisibilityTimeout", timeout, 0..=MAX_VISIBILITY_TIMEOUT)?;
    check_range(
        "WaitTimeSeconds",
        request.wait_time_seconds,
        0..=MAX_WAIT_SECONDS,
    )?;
    let received = queue
        .receive_with_visibility_timeout(max.unwrap_or(1), timeout)
        .into_iter();
    let messages = received.map(|received| {
        let is_asked =
            |names: &[String], name: &str| names.iter().any(|it| it == "All" || it == name);
        let mut system = received.system_attributes();
        system.retain(|name, _| is_asked(&request.message_system_attribute_names, name));
        let mut attributes = received.message.attributes;
        attributes.retain(|name, _| is_asked(&request.message_attribute_names, name));
        json!({
            "MessageId": received.message.id,
            "ReceiptHandle": received.receipt_handle,
            "Body": received.message.body,
            "Attributes": system,
            "MessageAttributes": attributes,
        })
    });
    Ok(json!({ "Messages": messages.collect::<Vec<_>>() }))
}

fn change_visibility(queue: &Queue<'_>, request: &Parameters) -> ServiceResult {
    let timeout = request.visibility_timeout;
    let timeout = check_range("VisibilityTimeout", timeout, 0..=MAX_VISIBILITY_TIMEOUT)?;
    let Some(timeout) = timeout else {
        return bad_request(MISSING_PARAMETER, "VisibilityTimeout");
    };
    queue.change_visibility(&request.receipt_handle, timeout)?;
    Ok(json!({}))
}

fn queue_attributes(queue: &Queue<'_>, names: &[String]) -> Value {
    let (messages, now) = (queue.peek(), queue.now());
    let counts = names.iter().filter_map(|name| {
        let counted = messages.iter().filter(|it| match name.as_str() {
            "ApproximateNumberOfMessages" => it.due <= now,
            "ApproximateNumberOfMessagesNotVisible" => it.in_flight(now),
            "ApproximateNumberOfMessagesDelayed" => it.due > now && !it.in_flight(now),
            _ => false,
        });
        let known = name.starts_with("ApproximateNumberOfMessages");
        known.then(|| (name, counted.count().to_string()))
    });
    json!({ "Attributes": counts.collect::<BTreeMap<_, _>>() })
}

/// Answers a batch: 1 to 10 entries with distinct ids of up to 80 letters, digits, hyphens and underscores
/// ("Amazon SQS message quotas"), each of which stands alone.
fn answer_batch(
    request: &Parameters,
    mut answer: impl FnMut(&Parameters) -> ServiceResult,
) -> ServiceResult {
    let (entries, mut ids) = (&request.entries, HashSet::new());
    let code = "AWS.SimpleQueueService.EmptyBatchRequest";
    ensure(!entries.is_empty(), code, "no entry")?;
    let code = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
    ensure(entries.len() <= MAX_BATCH_ENTRIES, code, "over 10 entries")?;
    for Parameters { id, .. } in entries {
        let allowed = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        let valid = (1..=80).contains(&id.len()) && id.chars().all(allowed);
        ensure(valid, "AWS.SimpleQueueService.InvalidBatchEntryId", id)?;
        let code = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
        ensure(ids.insert(id), code, id)?;
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match answer(entry) {
            Ok(mut answer) => {
                answer["Id"] = entry.id.as_str().into();
                successful.push(answer);
            }
            Err(error) => failed.push(json!({
                "Id": entry.id,
                "SenderFault": true,
                "Code": error.code,
                "Message": error.body["message"],
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}
