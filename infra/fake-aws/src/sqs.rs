//! SQS: what is asked of standard and FIFO queues.
//!
//! A receive never waits, whatever WaitTimeSeconds says, and sees every message, of which a short poll of
//! AWS may miss some. Limits on messages in flight are not enforced, and MD5OfMessageAttributes is not
//! told. Refusals have the codes of AWS, and words of their own.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    account::{ENDPOINT, NUMBER, REGION},
    calls::Failure,
    queue::{Message, Queue},
    reply::Reply,
    template::QueueSpec,
};

/// "The maximum size is 1 MiB or 1,048,576 bytes" (API reference, SendMessage), attributes included; also
/// the total of a batch.
const LARGEST: usize = 1_048_576;
/// "Valid values: 0 to 900. Maximum: 15 minutes" (API reference, SendMessage, DelaySeconds).
const LONGEST_DELAY: u64 = 900;
/// "Values range: 0 to 43200. Maximum: 12 hours" (API reference, ChangeMessageVisibility); 12 hours is
/// also the most from the receive on.
const LONGEST_VISIBILITY: u64 = 43_200;
/// Seconds of a long poll at most (developer guide, "Amazon SQS short and long polling").
const LONGEST_WAIT: u64 = 20;
/// Entries of a batch, and messages of a receive ("Amazon SQS message quotas").
const AT_ONCE: usize = 10;
/// "A message can contain up to 10 metadata attributes" ("Amazon SQS message quotas").
const ATTRIBUTES: usize = 10;

/// A message as a consumer receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMessage {
    /// The message.
    pub message: Message,
    /// What it is deleted with.
    pub receipt_handle: String,
}

impl ReceivedMessage {
    /// The system attributes, by SQS's names.
    pub fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let it = &self.message;
        let first_received = it.first_received.to_string();
        // FIFO messages alone have a de-duplication id.
        let number = it.deduplication_id.as_ref();
        let number = number.map(|_| sequence_number(it.sequence));
        let all = [
            ("SenderId", Some("FAKE".to_owned())),
            ("SentTimestamp", Some(it.sent.to_string())),
            ("ApproximateReceiveCount", Some(it.receives.to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(first_received)),
            ("MessageGroupId", it.group.clone()),
            ("MessageDeduplicationId", it.deduplication_id.clone()),
            ("SequenceNumber", number),
            ("DeadLetterQueueSourceArn", it.source.as_deref().map(arn)),
        ];
        let present = all.into_iter();
        present
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// A refusal: its code, as the JSON protocol spells it, and why.
#[derive(Debug)]
pub(crate) struct Refused(&'static str, String);

type Answer<T = Value> = Result<T, Refused>;

const INVALID: &str = "InvalidParameterValue";
const MISSING: &str = "MissingParameter";
const NO_QUEUE: &str = "QueueDoesNotExist";

fn refuse<T>(code: &'static str, why: impl Into<String>) -> Answer<T> {
    Err(Refused(code, why.into()))
}

fn ensure(holds: bool, code: &'static str, why: &str) -> Answer<()> {
    if holds { Ok(()) } else { refuse(code, why) }
}

/// All queues.
#[derive(Debug)]
pub(crate) struct Sqs {
    queues: BTreeMap<String, Queue>,
    sent: u64,
}

/// A request to send a message, checked.
struct Outgoing {
    body: String,
    group: Option<String>,
    deduplication_id: Option<String>,
    attributes: Map<String, Value>,
    delay_ms: Option<u64>,
    size: usize,
}

impl Sqs {
    pub(crate) fn new(specs: &[QueueSpec]) -> Self {
        let queues = specs.iter();
        let queues = queues.map(|spec| (spec.id.clone(), Queue::new(spec)));
        Self {
            queues: queues.collect(),
            sent: 0,
        }
    }

    /// The queue that a request names.
    pub(crate) fn spec(&self, request: &Value) -> Option<&QueueSpec> {
        self.spec_of(id_of(request)?)
    }

    pub(crate) fn spec_of(&self, id: &str) -> Option<&QueueSpec> {
        self.queues.get(id).map(|queue| &queue.spec)
    }

    pub(crate) fn call(&mut self, operation: &str, request: &Value, now: u64) -> Reply {
        let body = match self.answer(operation, request, now) {
            Ok(body) => body,
            Err(Refused(code, why)) => return refusal(400, code, &why),
        };
        let entries = body["Successful"].as_array().into_iter().flatten();
        let sent = entries
            .chain([&body])
            .filter(|_| operation.starts_with("Send"));
        let ids = sent.filter_map(|it| it["MessageId"].as_str().map(ToOwned::to_owned));
        Reply {
            message_ids: ids.collect(),
            ..Reply::new(200, None, body.to_string())
        }
    }

    fn answer(&mut self, operation: &str, request: &Value, now: u64) -> Answer {
        if operation == "GetQueueUrl" {
            let mut specs = self.queues.values().map(|it| &it.spec);
            let spec = specs.find(|it| request["QueueName"] == physical_name(it));
            let Some(spec) = spec else {
                return refuse(NO_QUEUE, "no such name");
            };
            return Ok(json!({ "QueueUrl": queue_url(spec) }));
        }
        let id = id_of(request).filter(|id| self.queues.contains_key(*id));
        let Some(id) = id else {
            return refuse(NO_QUEUE, "no such URL");
        };
        let queue = self.queue(id, now);
        let entries = || entries(request);
        match operation {
            "SendMessage" => {
                let message = outgoing(&queue.spec, request)?;
                Ok(self.send(id, message, now))
            }
            "SendMessageBatch" => {
                let messages = entries()?.iter();
                let messages = messages.map(|it| (it, outgoing(&queue.spec, it)));
                let messages: Vec<_> = messages.collect();
                let sizes = messages
                    .iter()
                    .flat_map(|(_, it)| it.as_ref().map(|it| it.size));
                let size: usize = sizes.sum();
                ensure(size <= LARGEST, "BatchRequestTooLong", "over 1 MiB")?;
                let messages = messages.into_iter();
                let sent = messages.map(|(entry, it)| (entry, it.map(|it| self.send(id, it, now))));
                Ok(batch(sent))
            }
            "ReceiveMessage" => self.receive_for(id, request, now),
            "DeleteMessage" => delete(queue, request, now),
            "DeleteMessageBatch" => {
                let entries = entries()?.iter();
                Ok(batch(entries.map(|it| (it, delete(queue, it, now)))))
            }
            "ChangeMessageVisibility" => change_visibility(queue, request, now),
            "ChangeMessageVisibilityBatch" => {
                let entries = entries()?.iter();
                Ok(batch(
                    entries.map(|it| (it, change_visibility(queue, it, now))),
                ))
            }
            "GetQueueAttributes" => Ok(queue_attributes(queue, request, now)),
            _ => refuse(
                "UnsupportedOperation",
                format!("{operation} is not known here"),
            ),
        }
    }

    /// A queue without what has expired.
    pub(crate) fn queue(&mut self, id: &str, now: u64) -> &mut Queue {
        let queue = self.queues.get_mut(id).expect("the template has the queue");
        queue.expire(now);
        queue
    }

    fn send(&mut self, id: &str, message: Outgoing, now: u64) -> Value {
        self.sent += 1;
        let sequence = self.sent;
        let queue = self.queue(id, now);
        let mut sent = (format!("00000000-0000-4000-8000-{sequence:012x}"), sequence);
        let once = message.deduplication_id.clone().map(|once| {
            let group = message.group.clone();
            (group.filter(|_| queue.spec.deduplication_by_group), once)
        });
        let before = once.and_then(|it| queue.sent_before(it, (&sent.0, sequence), now));
        let mut answer = json!({ "MD5OfMessageBody": md5(&message.body) });
        if let Some(before) = before {
            sent = before;
        } else {
            queue.insert(Message {
                id: sent.0.clone(),
                body: message.body,
                group: message.group,
                deduplication_id: message.deduplication_id,
                attributes: message.attributes,
                sent: now,
                due: now + message.delay_ms.unwrap_or(queue.spec.delay_ms),
                receives: 0,
                delayed: message.delay_ms.is_some_and(|delay| delay > 0),
                first_received: 0,
                received: 0,
                sequence,
                source: None,
            });
        }
        if queue.spec.fifo {
            answer["SequenceNumber"] = sequence_number(sent.1).into();
        }
        answer["MessageId"] = sent.0.into();
        answer
    }

    fn receive_for(&mut self, id: &str, request: &Value, now: u64) -> Answer {
        let most = u64::try_from(AT_ONCE).unwrap_or(u64::MAX);
        let max = in_range(request, "MaxNumberOfMessages", most)?.unwrap_or(1);
        ensure(max > 0, INVALID, "MaxNumberOfMessages: 1 to 10")?;
        let visibility = in_range(request, "VisibilityTimeout", LONGEST_VISIBILITY)?;
        in_range(request, "WaitTimeSeconds", LONGEST_WAIT)?;
        let max = usize::try_from(max).unwrap_or(AT_ONCE);
        let received = self.receive(id, max, visibility.map(|it| it * 1000), now);
        let messages = received.iter().map(|it| on_the_wire(it, request));
        let messages: Vec<_> = messages.collect();
        // An answer without messages lacks the field.
        let messages = Some(messages).filter(|it| !it.is_empty());
        Ok(messages.map_or_else(|| json!({}), |it| json!({ "Messages": it })))
    }

    /// Receives messages; those that were received `maxReceiveCount` times go to the dead-letter queue
    /// instead.
    pub(crate) fn receive(
        &mut self,
        id: &str,
        max: usize,
        visibility_ms: Option<u64>,
        now: u64,
    ) -> Vec<ReceivedMessage> {
        let visible = loop {
            let queue = self.queue(id, now);
            let visible = queue.visible(now, max);
            let Some((dead, limit)) = queue.spec.redrive.clone() else {
                break visible;
            };
            let receives = |it: &u64| queue.messages.get(it).map_or(0, |it| it.receives);
            let exhausted = visible.iter().copied().filter(|it| receives(it) >= limit);
            let exhausted: Vec<_> = exhausted.collect();
            if exhausted.is_empty() {
                break visible;
            }
            for sequence in exhausted {
                self.bury(id, sequence, &dead, now);
            }
        };
        let queue = self.queue(id, now);
        let due = now + visibility_ms.unwrap_or(queue.spec.visibility_timeout_ms);
        let received = visible
            .into_iter()
            .filter_map(|it| queue.receive(it, now, due));
        let received = received.map(|message| ReceivedMessage {
            receipt_handle: format!("{id}:{}:{}", message.sequence, message.receives),
            message,
        });
        received.collect()
    }

    /// "For standard queues, the expiration of a message is always based on its original enqueue
    /// timestamp. […] For FIFO queues, the enqueue timestamp resets when the message is moved to a
    /// dead-letter queue" (developer guide, "Setting-up dead-letter queue retention").
    fn bury(&mut self, id: &str, sequence: u64, dead: &str, now: u64) {
        self.sent += 1;
        let (moved, source) = (self.sent, Some(id.to_owned()));
        let Some(message) = self.queue(id, now).remove(sequence) else {
            return;
        };
        let dead = self.queue(dead, now);
        let sent = if dead.spec.fifo { now } else { message.sent };
        dead.insert(Message {
            sent,
            due: now,
            sequence: moved,
            source,
            ..message
        });
    }

    pub(crate) fn delete(&mut self, id: &str, handle: &str, now: u64) {
        let request = json!({ "ReceiptHandle": handle });
        let deleted = delete(self.queue(id, now), &request, now);
        deleted.expect("a receipt handle of this queue");
    }

    pub(crate) fn set_visibility(&mut self, id: &str, handle: &str, seconds: u64, now: u64) {
        let request = json!({ "ReceiptHandle": handle, "VisibilityTimeout": seconds });
        let changed = change_visibility(self.queue(id, now), &request, now);
        changed.expect("a receipt handle of a message in flight");
    }

    /// Everything in a queue, by when it can be received.
    pub(crate) fn peek(&mut self, id: &str, now: u64) -> Vec<Message> {
        let queue = self.queue(id, now);
        let due = queue.due.iter();
        let messages = due.filter_map(|(_, sequence)| queue.messages.get(sequence));
        messages.cloned().collect()
    }

    /// Takes messages out, by when they can be received.
    pub(crate) fn take(
        &mut self,
        id: &str,
        wanted: impl Fn(&Message) -> bool,
        now: u64,
    ) -> Vec<Message> {
        let all = self.peek(id, now).into_iter();
        let wanted: Vec<_> = all.filter(wanted).collect();
        let queue = self.queue(id, now);
        for message in &wanted {
            queue.remove(message.sequence);
        }
        wanted
    }

    /// When the next message of each queue can be received.
    pub(crate) fn due(&self) -> impl Iterator<Item = (&str, u64)> {
        let due = self.queues.iter();
        due.filter_map(|(id, queue)| Some((id.as_str(), queue.next_due()?)))
    }
}

/// The logical id of the queue that a request's URL is of.
fn id_of(request: &Value) -> Option<&str> {
    let name = request["QueueUrl"].as_str()?.rsplit('/').next()?;
    Some(name.strip_suffix(".fifo").unwrap_or(name))
}

/// "A FIFO queue name must end with the .fifo suffix" (API reference, CreateQueue).
fn physical_name(spec: &QueueSpec) -> String {
    format!("{}{}", spec.id, if spec.fifo { ".fifo" } else { "" })
}

pub(crate) fn queue_url(spec: &QueueSpec) -> String {
    format!("{ENDPOINT}/{NUMBER}/{}", physical_name(spec))
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{NUMBER}:{name}")
}

/// A sequence number has 20 digits.
fn sequence_number(sequence: u64) -> String {
    format!("{sequence:020}")
}

fn md5(body: &str) -> String {
    format!("{:x}", md5::compute(body))
}

/// A number that a request may give.
fn in_range(request: &Value, name: &str, most: u64) -> Answer<Option<u64>> {
    match (&request[name], request[name].as_u64()) {
        (Value::Null, _) => Ok(None),
        (_, Some(value)) if value <= most => Ok(Some(value)),
        (value, _) => refuse(INVALID, format!("{name} {value}: {most} at most")),
    }
}

/// Checks a message, by the API reference of SendMessage.
fn outgoing(spec: &QueueSpec, request: &Value) -> Answer<Outgoing> {
    let body = request["MessageBody"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    // "The minimum size is one character."
    ensure(!body.is_empty(), MISSING, "MessageBody")?;
    // "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    let allowed = |it| matches!(it, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    ensure(
        body.chars().all(allowed),
        "InvalidMessageContents",
        "a character",
    )?;
    let attributes = request["MessageAttributes"].as_object().cloned();
    let attributes = attributes.unwrap_or_default();
    ensure(
        attributes.len() <= ATTRIBUTES,
        INVALID,
        "over 10 message attributes",
    )?;
    let delay = in_range(request, "DelaySeconds", LONGEST_DELAY)?;
    let group = id(request, "MessageGroupId")?;
    let mut once = id(request, "MessageDeduplicationId")?;
    if spec.fifo {
        // "When you set FifoQueue, you can't set DelaySeconds per message."
        ensure(delay.is_none(), INVALID, "DelaySeconds on a FIFO queue")?;
        ensure(group.is_some(), MISSING, "MessageGroupId")?;
        if spec.content_based_deduplication {
            once = once.or_else(|| Some(hex::encode(Sha256::digest(&body))));
        }
        ensure(once.is_some(), INVALID, "no MessageDeduplicationId")?;
    } else {
        // "This parameter applies only to FIFO (first-in-first-out) queues."
        ensure(
            once.is_none(),
            INVALID,
            "MessageDeduplicationId on a standard queue",
        )?;
    }
    let attribute_sizes = attributes.iter().flat_map(|(name, attribute)| {
        let parts = ["DataType", "StringValue", "BinaryValue"];
        let sizes = parts.map(|part| attribute[part].as_str().map_or(0, str::len));
        [name.len()].into_iter().chain(sizes)
    });
    let size = body.len() + attribute_sizes.sum::<usize>();
    ensure(size <= LARGEST, INVALID, "over 1 MiB")?;
    Ok(Outgoing {
        body,
        group,
        deduplication_id: once,
        attributes,
        delay_ms: delay.map(|seconds| seconds * 1000),
        size,
    })
}

/// "The length of MessageGroupId is 128 characters. Valid values: alphanumeric characters and punctuation";
/// the same of MessageDeduplicationId (API reference, SendMessage).
fn id(request: &Value, name: &str) -> Answer<Option<String>> {
    let id = request[name].as_str();
    let valid = id.is_none_or(|it| {
        (1..=128).contains(&it.len()) && it.chars().all(|it| it.is_ascii_graphic())
    });
    ensure(valid, INVALID, name)?;
    Ok(id.map(ToOwned::to_owned))
}

/// A batch's entries: 1 to 10, with distinct ids of up to 80 letters, digits, hyphens and underscores
/// ("Amazon SQS message quotas").
fn entries(request: &Value) -> Answer<&Vec<Value>> {
    let entries = request["Entries"].as_array().filter(|it| !it.is_empty());
    let Some(entries) = entries else {
        return refuse("EmptyBatchRequest", "no entry");
    };
    ensure(
        entries.len() <= AT_ONCE,
        "TooManyEntriesInBatchRequest",
        "over 10 entries",
    )?;
    let mut ids = HashSet::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        let allowed = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        let valid = (1..=80).contains(&id.len()) && id.chars().all(allowed);
        ensure(valid, "InvalidBatchEntryId", id)?;
        ensure(ids.insert(id), "BatchEntryIdsNotDistinct", id)?;
    }
    Ok(entries)
}

/// A batch's answer: each entry stands alone.
fn batch<'a>(answers: impl Iterator<Item = (&'a Value, Answer)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (entry, answer) in answers {
        match answer {
            Ok(mut answer) => {
                answer["Id"] = entry["Id"].clone();
                successful.push(answer);
            }
            Err(Refused(code, why)) => failed.push(json!({
                "Id": entry["Id"], "SenderFault": true, "Code": query_code(code), "Message": why,
            })),
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

/// The message that a receipt handle is of, if it is still there, and whether the handle is of its latest
/// receive.
fn by_handle<'a>(queue: &'a Queue, request: &Value) -> Answer<Option<(&'a Message, bool)>> {
    let handle = request["ReceiptHandle"].as_str().unwrap_or_default();
    let (of, numbers) = handle.split_once(':').unwrap_or_default();
    let numbers = numbers.split_once(':').filter(|_| of == queue.spec.id);
    let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let Some::<(u64, u64)>((sequence, receives)) = numbers else {
        return refuse("ReceiptHandleIsInvalid", handle);
    };
    let message = queue.messages.get(&sequence);
    Ok(message.map(|message| (message, message.receives == receives)))
}

/// A message that is not there any more is deleted all the same. A handle of an earlier receive deletes
/// nothing, as may be (API reference, DeleteMessage); on a FIFO queue it is refused, and so is any after
/// the visibility timeout.
fn delete(queue: &mut Queue, request: &Value, now: u64) -> Answer {
    if let Some((message, latest)) = by_handle(queue, request)? {
        let (sequence, held) = (message.sequence, latest && message.in_flight(now));
        ensure(
            held || !queue.spec.fifo,
            INVALID,
            "the receipt handle has expired",
        )?;
        if latest {
            queue.remove(sequence);
        }
    }
    Ok(json!({}))
}

fn change_visibility(queue: &mut Queue, request: &Value, now: u64) -> Answer {
    let Some((message, latest)) = by_handle(queue, request)? else {
        return refuse(INVALID, "the message does not exist");
    };
    let seconds = in_range(request, "VisibilityTimeout", LONGEST_VISIBILITY)?;
    let Some(seconds) = seconds else {
        return refuse(MISSING, "VisibilityTimeout");
    };
    let held = latest && message.in_flight(now);
    ensure(
        held,
        "MessageNotInflight",
        "it was given back, or received again",
    )?;
    let (sequence, due) = (message.sequence, now + seconds * 1000);
    let last = message.received + LONGEST_VISIBILITY * 1000;
    ensure(due <= last, INVALID, "over 12 hours from the receive on")?;
    queue.set_due(sequence, due);
    Ok(json!({}))
}

fn queue_attributes(queue: &Queue, request: &Value, now: u64) -> Value {
    let spec = &queue.spec;
    let count = |which: fn(&Message, u64) -> bool| {
        let which = queue.messages.values().filter(|it| which(it, now));
        which.count().to_string()
    };
    let seconds = |ms: u64| (ms / 1000).to_string();
    let delayed = count(|it, now| it.receives == 0 && it.due > now);
    let in_flight = count(Message::in_flight);
    let mut all = BTreeMap::from([
        (
            "ApproximateNumberOfMessages",
            count(|it, now| it.due <= now),
        ),
        ("ApproximateNumberOfMessagesNotVisible", in_flight),
        ("ApproximateNumberOfMessagesDelayed", delayed),
        ("QueueArn", arn(&physical_name(spec))),
        ("DelaySeconds", seconds(spec.delay_ms)),
        ("VisibilityTimeout", seconds(spec.visibility_timeout_ms)),
        ("MessageRetentionPeriod", seconds(spec.retention_ms)),
    ]);
    let wanted = names(request, "AttributeNames");
    all.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
    json!({ "Attributes": all })
}

fn names<'a>(request: &'a Value, field: &str) -> Vec<&'a str> {
    let names = request[field].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// A received message with the attributes that the request asks for.
fn on_the_wire(received: &ReceivedMessage, request: &Value) -> Value {
    let wanted = [
        names(request, "MessageSystemAttributeNames"),
        names(request, "AttributeNames"),
    ];
    let wanted = wanted.concat();
    let mut system = received.system_attributes();
    system.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
    let wanted = names(request, "MessageAttributeNames");
    let message = &received.message;
    let mut attributes = message.attributes.clone();
    attributes.retain(|name, _| {
        wanted.iter().any(|it| match it.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => *it == "All" || it == name,
        })
    });
    json!({
        "MessageId": message.id,
        "ReceiptHandle": received.receipt_handle,
        "Body": message.body,
        "MD5OfBody": md5(&message.body),
        "Attributes": system,
        "MessageAttributes": attributes,
    })
}

/// The code that the query protocol had for an error, which the JSON protocol tells in a header, and by
/// which the SDK knows errors.
fn query_code(code: &str) -> String {
    match code {
        NO_QUEUE => "AWS.SimpleQueueService.NonExistentQueue".into(),
        INVALID
        | MISSING
        | "InvalidMessageContents"
        | "ReceiptHandleIsInvalid"
        | "RequestThrottled"
        | "InternalFailure" => code.to_owned(),
        _ => format!("AWS.SimpleQueueService.{code}"),
    }
}

fn refusal(status: u16, code: &'static str, why: &str) -> Reply {
    let kind = format!("com.amazonaws.sqs#{code}");
    let body = json!({ "__type": kind, "message": why }).to_string();
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let query_error = format!("{};{fault}", query_code(code));
    Reply::new(status, Some(code), body).header("x-amzn-query-error", query_error)
}

/// What SQS answers instead of doing what it was asked to.
pub(crate) fn failed(failure: Failure) -> Reply {
    match failure {
        Failure::Throttled => refusal(400, "RequestThrottled", "made to throttle"),
        _ => refusal(500, "InternalFailure", "made to fail"),
    }
}
