//! SQS: standard and FIFO queues in memory.
//!
//! A receive never waits, whatever WaitTimeSeconds says, and sees every message: what a short poll of
//! AWS may miss, it does not miss. Limits on messages in flight are not enforced.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Reply, calls::Failure, template::QueueSpec};

/// "The maximum size is 1 MiB or 1,048,576 bytes" (API reference, SendMessage), attributes included; also
/// the total of a batch.
const LARGEST: usize = 1_048_576;
/// "Valid values: 0 to 900. Maximum: 15 minutes" (API reference, SendMessage, DelaySeconds).
const LONGEST_DELAY: u64 = 900;
/// "Values range: 0 to 43200. Maximum: 12 hours" (API reference, ChangeMessageVisibility); 12 hours is
/// also the most from the receive on.
const LONGEST_VISIBILITY: u64 = 43_200;
/// Entries of a batch, and messages of a receive ("Amazon SQS message quotas").
const AT_ONCE: usize = 10;
/// "A message can contain up to 10 metadata attributes" ("Amazon SQS message quotas").
const ATTRIBUTES: usize = 10;
/// "The message deduplication interval is 5 minutes" (API reference, SendMessage).
const DEDUPLICATION_MS: u64 = 5 * 60 * 1000;

/// A message that waits in a queue, or is in flight.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// SQS's id of it.
    pub id: String,
    /// Its body.
    pub body: String,
    /// Its message group.
    pub group: Option<String>,
    /// Its de-duplication id, on a FIFO queue.
    pub deduplication_id: Option<String>,
    /// Its message attributes, as they are on the wire.
    pub attributes: Map<String, Value>,
    /// When it was sent, in Unix milliseconds.
    pub sent: u64,
    /// When it can be received, or can again, in Unix milliseconds.
    pub due: u64,
    /// How often it was received.
    pub receives: u64,
    /// Whether it was sent with a delay of its own.
    pub delayed: bool,
    first_received: u64,
    received: u64,
    sequence: u64,
    /// The queue that it is a dead letter of.
    source: Option<String>,
}

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
        let always = [
            ("SenderId", Some("FAKE".to_owned())),
            ("SentTimestamp", Some(it.sent.to_string())),
            ("ApproximateReceiveCount", Some(it.receives.to_string())),
            (
                "ApproximateFirstReceiveTimestamp",
                Some(it.first_received.to_string()),
            ),
            ("MessageGroupId", it.group.clone()),
            ("MessageDeduplicationId", it.deduplication_id.clone()),
            // FIFO messages alone have the two.
            (
                "SequenceNumber",
                it.deduplication_id
                    .as_ref()
                    .map(|_| sequence_number(it.sequence)),
            ),
            ("DeadLetterQueueSourceArn", it.source.as_deref().map(arn)),
        ];
        let present = always
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        present.collect()
    }
}

/// A refusal: its code, as the JSON protocol spells it, and why.
#[derive(Debug)]
pub(crate) struct Refused(&'static str, String);

type Answer<T = Value> = Result<T, Refused>;

fn refuse<T>(code: &'static str, why: impl Into<String>) -> Answer<T> {
    Err(Refused(code, why.into()))
}

fn invalid<T>(why: impl Into<String>) -> Answer<T> {
    refuse("InvalidParameterValue", why)
}

#[derive(Debug)]
struct Queue {
    spec: QueueSpec,
    /// By the order in which they were sent.
    messages: BTreeMap<u64, Message>,
    /// When each can be received.
    due: BTreeSet<(u64, u64)>,
    /// The messages of each group, of a FIFO queue.
    groups: BTreeMap<String, BTreeSet<u64>>,
    /// The message that was sent under a de-duplication id.
    known: HashMap<(Option<String>, String), (String, u64)>,
    /// The same ids since when they are known, the oldest first.
    since: VecDeque<(u64, (Option<String>, String))>,
}

impl Queue {
    fn insert(&mut self, message: Message) {
        let sequence = message.sequence;
        self.due.insert((message.due, sequence));
        if let Some(group) = message.group.as_ref().filter(|_| self.spec.fifo) {
            self.groups
                .entry(group.clone())
                .or_default()
                .insert(sequence);
        }
        self.messages.insert(sequence, message);
    }

    fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.messages.remove(&sequence)?;
        self.due.remove(&(message.due, sequence));
        if let Some(group) = &message.group
            && let Some(of_group) = self.groups.get_mut(group)
        {
            of_group.remove(&sequence);
            if of_group.is_empty() {
                self.groups.remove(group);
            }
        }
        Some(message)
    }

    fn set_due(&mut self, sequence: u64, due: u64) {
        if let Some(message) = self.messages.get_mut(&sequence) {
            self.due.remove(&(message.due, sequence));
            message.due = due;
            self.due.insert((due, sequence));
        }
    }

    /// What can be received: on a standard queue by when it became visible; on a FIFO queue each group
    /// in order, and nothing of it behind a message that is in flight or delayed.
    fn visible(&self, now: u64, max: usize) -> Vec<u64> {
        let due = self
            .due
            .range(..=(now, u64::MAX))
            .map(|(_, sequence)| *sequence);
        if !self.spec.fifo {
            return due.take(max).collect();
        }
        let (mut visible, mut seen) = (Vec::new(), HashSet::new());
        for sequence in due {
            let group = self
                .messages
                .get(&sequence)
                .and_then(|it| it.group.as_ref());
            let Some(group) = group.filter(|group| seen.insert(*group)) else {
                continue;
            };
            let of_group = self.groups.get(group).into_iter().flatten();
            let open =
                of_group.take_while(|it| self.messages.get(it).is_some_and(|it| it.due <= now));
            visible.extend(open);
            if visible.len() >= max {
                visible.truncate(max);
                break;
            }
        }
        visible
    }

    fn next_due(&self) -> Option<u64> {
        if !self.spec.fifo {
            return self.due.first().map(|(due, _)| *due);
        }
        let heads = self.groups.values().filter_map(|group| group.first());
        heads
            .filter_map(|head| Some(self.messages.get(head)?.due))
            .min()
    }

    /// Messages are gone after the retention period, and de-duplication ids after theirs.
    fn expire(&mut self, now: u64) {
        while let Some((sequence, message)) = self.messages.first_key_value()
            && message.sent + self.spec.retention_ms <= now
        {
            let sequence = *sequence;
            self.remove(sequence);
        }
        while let Some((at, _)) = self.since.front()
            && at + DEDUPLICATION_MS <= now
        {
            if let Some((_, id)) = self.since.pop_front() {
                self.known.remove(&id);
            }
        }
    }

    fn in_flight(message: &Message, now: u64) -> bool {
        message.receives > 0 && message.due > now
    }

    /// The message that a receipt handle is of, if it is still there, and whether it was received again
    /// since.
    fn by_handle(&self, handle: &str) -> Answer<Option<(&Message, bool)>> {
        let parts = handle.strip_prefix(&format!("{}:", self.spec.id));
        let parts = parts.and_then(|it| it.split_once(':'));
        let parsed = parts.and_then(|(sequence, receives)| {
            Some((sequence.parse::<u64>().ok()?, receives.parse::<u64>().ok()?))
        });
        let Some((sequence, receives)) = parsed else {
            return refuse(
                "ReceiptHandleIsInvalid",
                "The input receipt handle is invalid.",
            );
        };
        let message = self.messages.get(&sequence);
        Ok(message.map(|message| (message, message.receives == receives)))
    }
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
    delay: Option<u64>,
    size: usize,
}

impl Sqs {
    pub(crate) fn new(specs: &[QueueSpec]) -> Self {
        let queues = specs.iter().map(|spec| {
            let queue = Queue {
                spec: spec.clone(),
                messages: BTreeMap::new(),
                due: BTreeSet::new(),
                groups: BTreeMap::new(),
                known: HashMap::new(),
                since: VecDeque::new(),
            };
            (spec.id.clone(), queue)
        });
        Self {
            queues: queues.collect(),
            sent: 0,
        }
    }

    /// The queue that a request names, by its logical id.
    pub(crate) fn spec(&self, request: &Value) -> Option<&QueueSpec> {
        self.queues.get(id_of(request)?).map(|queue| &queue.spec)
    }

    pub(crate) fn call(&mut self, operation: &str, request: &Value, now: u64) -> Reply {
        let answer = match operation {
            "GetQueueUrl" => self.url(request),
            _ => self.queue_call(operation, request, now),
        };
        match answer {
            Ok(body) => {
                let sent = body["Successful"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .chain([&body]);
                let sent = sent.filter(|_| operation.starts_with("Send"));
                let ids = sent.filter_map(|it| it["MessageId"].as_str().map(ToOwned::to_owned));
                Reply {
                    message_ids: ids.collect(),
                    ..Reply::new(200, None, body.to_string())
                }
            }
            Err(Refused(code, why)) => refusal(400, code, &why),
        }
    }

    fn url(&self, request: &Value) -> Answer {
        let name = request["QueueName"].as_str().unwrap_or_default();
        let queue = self
            .queues
            .values()
            .find(|it| physical_name(&it.spec) == name);
        match queue {
            Some(queue) => Ok(json!({ "QueueUrl": queue_url(&queue.spec) })),
            None => refuse("QueueDoesNotExist", "The specified queue does not exist."),
        }
    }

    fn queue_call(&mut self, operation: &str, request: &Value, now: u64) -> Answer {
        let id = id_of(request).filter(|id| self.queues.contains_key(*id));
        let Some(id) = id.map(ToOwned::to_owned) else {
            return refuse("QueueDoesNotExist", "The specified queue does not exist.");
        };
        let queue = self.queue(&id, now);
        match operation {
            "SendMessage" => {
                let message = outgoing(&queue.spec, request)?;
                Ok(self.send(&id, message, now))
            }
            "SendMessageBatch" => {
                let mut messages = Vec::new();
                for entry in entries(request)? {
                    messages.push((entry["Id"].clone(), outgoing(&queue.spec, entry)));
                }
                let sizes = messages
                    .iter()
                    .filter_map(|(_, it)| Some(it.as_ref().ok()?.size));
                if sizes.sum::<usize>() > LARGEST {
                    return refuse(
                        "BatchRequestTooLong",
                        "Batch requests cannot be longer than 1048576 bytes.",
                    );
                }
                let messages = messages.into_iter();
                Ok(batch(messages.map(|(entry, it)| {
                    (entry, it.map(|it| self.send(&id, it, now)))
                })))
            }
            "ReceiveMessage" => self.receive_call(&id, request, now),
            "DeleteMessage" => delete(queue, request, now),
            "DeleteMessageBatch" => {
                let entries = entries(request)?.iter();
                Ok(batch(
                    entries.map(|it| (it["Id"].clone(), delete(queue, it, now))),
                ))
            }
            "ChangeMessageVisibility" => change_visibility(queue, request, now),
            "ChangeMessageVisibilityBatch" => {
                let entries = entries(request)?.iter();
                Ok(batch(entries.map(|it| {
                    (it["Id"].clone(), change_visibility(queue, it, now))
                })))
            }
            "GetQueueAttributes" => queue_attributes(queue, request, now),
            _ => refuse(
                "UnsupportedOperation",
                format!("{operation} is not known here"),
            ),
        }
    }

    /// A queue without what has expired.
    fn queue(&mut self, id: &str, now: u64) -> &mut Queue {
        let queue = self.queues.get_mut(id);
        let queue = queue.unwrap_or_else(|| panic!("the template has no queue {id}"));
        queue.expire(now);
        queue
    }

    fn send(&mut self, id: &str, message: Outgoing, now: u64) -> Value {
        self.sent += 1;
        let sequence = self.sent;
        let queue = self.queue(id, now);
        let message_id = format!("00000000-0000-4000-8000-{sequence:012x}");
        let answer = |id: &str, sequence| {
            let mut answer = json!({
                "MessageId": id,
                "MD5OfMessageBody": format!("{:x}", md5::compute(&message.body)),
            });
            if queue.spec.fifo {
                answer["SequenceNumber"] = sequence_number(sequence).into();
            }
            answer
        };
        let sent = answer(&message_id, sequence);
        if let Some(once) = &message.deduplication_id {
            let scope = message
                .group
                .clone()
                .filter(|_| queue.spec.deduplication_by_group);
            let once = (scope, once.clone());
            // "any messages sent with the same MessageDeduplicationId are accepted successfully but
            // aren't delivered during the 5-minute deduplication interval" (API reference, SendMessage).
            if let Some((id, sequence)) = queue.known.get(&once) {
                return answer(id, *sequence);
            }
            queue
                .known
                .insert(once.clone(), (message_id.clone(), sequence));
            queue.since.push_back((now, once));
        }
        queue.insert(Message {
            id: message_id,
            body: message.body,
            group: message.group,
            deduplication_id: message.deduplication_id,
            attributes: message.attributes,
            sent: now,
            due: now + message.delay.unwrap_or(queue.spec.delay_ms),
            receives: 0,
            delayed: message.delay.is_some_and(|delay| delay > 0),
            first_received: 0,
            received: 0,
            sequence,
            source: None,
        });
        sent
    }

    fn receive_call(&mut self, id: &str, request: &Value, now: u64) -> Answer {
        let max = match request["MaxNumberOfMessages"].as_u64() {
            None if request["MaxNumberOfMessages"].is_null() => 1,
            Some(max @ 1..=10) => usize::try_from(max).unwrap_or(AT_ONCE),
            _ => {
                return invalid(
                    "Value for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
                );
            }
        };
        let visibility = in_range(request, "VisibilityTimeout", LONGEST_VISIBILITY)?;
        // "Valid values: 0 to 20" in the long polling chapter of the developer guide.
        in_range(request, "WaitTimeSeconds", 20)?;
        let received = self.receive(id, max, visibility.map(|it| it * 1000), now);
        let messages: Vec<_> = received.iter().map(|it| on_the_wire(it, request)).collect();
        Ok(if messages.is_empty() {
            json!({})
        } else {
            json!({ "Messages": messages })
        })
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
            let exhausted = visible.iter().filter(|it| {
                queue
                    .messages
                    .get(it)
                    .is_some_and(|it| it.receives >= limit)
            });
            let exhausted: Vec<_> = exhausted.copied().collect();
            if exhausted.is_empty() {
                break visible;
            }
            for sequence in exhausted {
                self.bury(id, sequence, &dead, now);
            }
        };
        let queue = self.queue(id, now);
        let due = now + visibility_ms.unwrap_or(queue.spec.visibility_timeout_ms);
        let received = visible.into_iter().filter_map(|sequence| {
            let message = queue.messages.get_mut(&sequence)?;
            message.receives += 1;
            message.received = now;
            if message.receives == 1 {
                message.first_received = now;
            }
            queue.set_due(sequence, due);
            let message = queue.messages.get(&sequence)?.clone();
            let receipt_handle = format!("{id}:{sequence}:{}", message.receives);
            Some(ReceivedMessage {
                message,
                receipt_handle,
            })
        });
        received.collect()
    }

    /// "For standard queues, the expiration of a message is always based on its original enqueue
    /// timestamp […] For FIFO queues, the enqueue timestamp resets when the message is moved to a
    /// dead-letter queue" (developer guide, "Using dead-letter queues").
    fn bury(&mut self, id: &str, sequence: u64, dead: &str, now: u64) {
        let Some(message) = self.queue(id, now).remove(sequence) else {
            return;
        };
        self.sent += 1;
        let sequence = self.sent;
        let dead = self.queue(dead, now);
        let sent = if dead.spec.fifo { now } else { message.sent };
        let source = Some(id.to_owned());
        dead.insert(Message {
            sent,
            due: now,
            sequence,
            source,
            ..message
        });
    }

    pub(crate) fn delete(&mut self, id: &str, handle: &str, now: u64) {
        let request = json!({ "ReceiptHandle": handle });
        delete(self.queue(id, now), &request, now).expect("a receipt handle of this queue");
    }

    pub(crate) fn set_visibility(&mut self, id: &str, handle: &str, seconds: u64, now: u64) {
        let request = json!({ "ReceiptHandle": handle, "VisibilityTimeout": seconds });
        let changed = change_visibility(self.queue(id, now), &request, now);
        changed.expect("a receipt handle of a message in flight");
    }

    /// Everything in a queue, by when it can be received.
    pub(crate) fn peek(&mut self, id: &str, now: u64) -> Vec<Message> {
        let queue = self.queue(id, now);
        let due = queue
            .due
            .iter()
            .filter_map(|(_, sequence)| queue.messages.get(sequence));
        due.cloned().collect()
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

    pub(crate) fn depth(&mut self, id: &str, now: u64) -> usize {
        self.queue(id, now).messages.len()
    }

    pub(crate) fn purge(&mut self, id: &str, now: u64) {
        let queue = self.queue(id, now);
        queue.messages.clear();
        queue.due.clear();
        queue.groups.clear();
    }

    pub(crate) fn next_due(&self, id: &str) -> Option<u64> {
        self.queues.get(id)?.next_due()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.queues.keys()
    }
}

/// The logical id of the queue that a request's URL is of.
fn id_of(request: &Value) -> Option<&str> {
    let name = request["QueueUrl"].as_str()?.rsplit('/').next()?;
    Some(name.strip_suffix(".fifo").unwrap_or(name))
}

/// "The name of a FIFO queue must end with the .fifo suffix" (API reference, CreateQueue).
fn physical_name(spec: &QueueSpec) -> String {
    format!("{}{}", spec.id, if spec.fifo { ".fifo" } else { "" })
}

pub(crate) fn queue_url(spec: &QueueSpec) -> String {
    format!("{}/000000000000/{}", crate::ENDPOINT, physical_name(spec))
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

/// A sequence number has 20 digits.
fn sequence_number(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// A number of seconds that a request may give.
fn in_range(request: &Value, name: &str, most: u64) -> Answer<Option<u64>> {
    match (&request[name], request[name].as_u64()) {
        (Value::Null, _) => Ok(None),
        (_, Some(value)) if value <= most => Ok(Some(value)),
        (value, _) => invalid(format!(
            "Value {value} for parameter {name} is invalid. Reason: Must be >= 0 and <= {most}, if provided."
        )),
    }
}

fn outgoing(spec: &QueueSpec, request: &Value) -> Answer<Outgoing> {
    let text = |name: &str| request[name].as_str().map(ToOwned::to_owned);
    let body = text("MessageBody").unwrap_or_default();
    // "The minimum size is one character" (API reference, SendMessage).
    if body.is_empty() {
        return refuse(
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        );
    }
    // "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF" (the same page).
    let allowed = |it: char| matches!(it, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if !body.chars().all(allowed) {
        return refuse(
            "InvalidMessageContents",
            "The message contains characters outside the allowed set.",
        );
    }
    let attributes = request["MessageAttributes"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    if attributes.len() > ATTRIBUTES {
        return invalid("Number of message attributes exceeds the allowed maximum [10].");
    }
    let delay = in_range(request, "DelaySeconds", LONGEST_DELAY)?;
    // "When you set FifoQueue, you can't set DelaySeconds per message" (API reference, SendMessage).
    if let Some(delay) = delay.filter(|_| spec.fifo) {
        return invalid(format!(
            "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter \
             that is not valid for this queue type."
        ));
    }
    let group = id(request, "MessageGroupId")?;
    let mut once = id(request, "MessageDeduplicationId")?;
    if spec.fifo {
        if group.is_none() {
            return refuse(
                "MissingParameter",
                "The request must contain the parameter MessageGroupId.",
            );
        }
        if spec.content_based_deduplication {
            once = once.or_else(|| Some(hex::encode(Sha256::digest(&body))));
        }
        if once.is_none() {
            return invalid(
                "The queue should either have ContentBasedDeduplication enabled or \
                 MessageDeduplicationId provided explicitly",
            );
        }
    } else if once.is_some() {
        return invalid(
            "The request includes a parameter that is not valid for this queue type: MessageDeduplicationId",
        );
    }
    let values = attributes.iter().flat_map(|(name, attribute)| {
        let parts = ["DataType", "StringValue", "BinaryValue"];
        let sizes = parts.map(|part| attribute[part].as_str().map_or(0, str::len));
        [name.len()].into_iter().chain(sizes)
    });
    let size = body.len() + values.sum::<usize>();
    if size > LARGEST {
        return invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {LARGEST} bytes."
        ));
    }
    let delay = delay.map(|seconds| seconds * 1000);
    Ok(Outgoing {
        body,
        group,
        deduplication_id: once,
        attributes,
        delay,
        size,
    })
}

/// "The maximum length is 128 characters […] alphanumeric characters (a-z, A-Z, 0-9) and punctuation"
/// (API reference, SendMessage, of both ids).
fn id(request: &Value, name: &str) -> Answer<Option<String>> {
    let Some(id) = request[name].as_str() else {
        return Ok(None);
    };
    if (1..=128).contains(&id.len()) && id.chars().all(|it| it.is_ascii_graphic()) {
        return Ok(Some(id.to_owned()));
    }
    invalid(format!(
        "Value {id} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and \
         punctuation characters. 1 to 128 in length."
    ))
}

/// A batch's entries: 1 to 10, with distinct ids of up to 80 letters, digits, hyphens and underscores
/// ("Amazon SQS message quotas").
fn entries(request: &Value) -> Answer<&Vec<Value>> {
    let entries = request["Entries"]
        .as_array()
        .filter(|entries| !entries.is_empty());
    let Some(entries) = entries else {
        return refuse(
            "EmptyBatchRequest",
            "There should be at least one entry in the request.",
        );
    };
    if entries.len() > AT_ONCE {
        let why = format!(
            "Maximum number of entries per request are 10. You have sent {}.",
            entries.len()
        );
        return refuse("TooManyEntriesInBatchRequest", why);
    }
    let mut ids = HashSet::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        let allowed = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        if !(1..=80).contains(&id.len()) || !id.chars().all(allowed) {
            return refuse(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            );
        }
        if !ids.insert(id) {
            return refuse("BatchEntryIdsNotDistinct", format!("Id {id} repeated."));
        }
    }
    Ok(entries)
}

/// A batch's answer: each entry stands alone.
fn batch(answers: impl Iterator<Item = (Value, Answer)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, answer) in answers {
        match answer {
            Ok(mut answer) => {
                answer["Id"] = id;
                successful.push(answer);
            }
            Err(Refused(code, why)) => failed.push(json!({
                "Id": id, "SenderFault": true, "Code": query_code(code), "Message": why,
            })),
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

/// A message that is not there any more is deleted all the same. A handle of an earlier receive deletes
/// nothing: "the request succeeds, but the message isn't deleted" may be (API reference, DeleteMessage);
/// on a FIFO queue it is refused once the visibility timeout has passed.
fn delete(queue: &mut Queue, request: &Value, now: u64) -> Answer {
    let handle = request["ReceiptHandle"].as_str().unwrap_or_default();
    let Some((message, latest)) = queue.by_handle(handle)? else {
        return Ok(json!({}));
    };
    if queue.spec.fifo && !(latest && Queue::in_flight(message, now)) {
        return invalid(format!(
            "Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        ));
    }
    if latest {
        let sequence = message.sequence;
        queue.remove(sequence);
    }
    Ok(json!({}))
}

fn change_visibility(queue: &mut Queue, request: &Value, now: u64) -> Answer {
    let handle = request["ReceiptHandle"].as_str().unwrap_or_default();
    let Some((message, latest)) = queue.by_handle(handle)? else {
        return invalid(format!(
            "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is \
             not available for visibility timeout change."
        ));
    };
    let Some(seconds) = in_range(request, "VisibilityTimeout", LONGEST_VISIBILITY)? else {
        return refuse(
            "MissingParameter",
            "The request must contain the parameter VisibilityTimeout.",
        );
    };
    if !(latest && Queue::in_flight(message, now)) {
        return refuse(
            "MessageNotInflight",
            "The message referred to isn't in flight.",
        );
    }
    let due = now + seconds * 1000;
    if due > message.received + LONGEST_VISIBILITY * 1000 {
        return invalid(
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        );
    }
    let sequence = message.sequence;
    queue.set_due(sequence, due);
    Ok(json!({}))
}

fn queue_attributes(queue: &Queue, request: &Value, now: u64) -> Answer {
    let spec = &queue.spec;
    let count = |which: fn(&Message, u64) -> bool| {
        queue
            .messages
            .values()
            .filter(|it| which(it, now))
            .count()
            .to_string()
    };
    let seconds = |ms: u64| (ms / 1000).to_string();
    let mut all = BTreeMap::from([
        (
            "ApproximateNumberOfMessages",
            count(|it, now| it.due <= now),
        ),
        (
            "ApproximateNumberOfMessagesNotVisible",
            count(Queue::in_flight),
        ),
        (
            "ApproximateNumberOfMessagesDelayed",
            count(|it, now| it.receives == 0 && it.due > now),
        ),
        ("QueueArn", arn(&physical_name(spec))),
        ("DelaySeconds", seconds(spec.delay_ms)),
        ("VisibilityTimeout", seconds(spec.visibility_timeout_ms)),
        ("MessageRetentionPeriod", seconds(spec.retention_ms)),
    ]);
    if spec.fifo {
        all.insert("FifoQueue", "true".into());
    }
    if let Some((dead, limit)) = &spec.redrive {
        let policy = json!({ "deadLetterTargetArn": arn(dead), "maxReceiveCount": limit });
        all.insert("RedrivePolicy", policy.to_string());
    }
    let wanted = request["AttributeNames"].as_array().into_iter().flatten();
    let wanted: Vec<_> = wanted.filter_map(Value::as_str).collect();
    all.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
    Ok(json!({ "Attributes": all }))
}

/// A received message with the attributes that the request asks for.
fn on_the_wire(received: &ReceivedMessage, request: &Value) -> Value {
    let names = |field: &str| {
        let names = request[field].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).collect::<Vec<_>>()
    };
    let wanted = [
        names("MessageSystemAttributeNames"),
        names("AttributeNames"),
    ]
    .concat();
    let mut system = received.system_attributes();
    system.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
    let wanted = names("MessageAttributeNames");
    let named = |name: &str| {
        wanted.iter().any(|it| match it.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => *it == "All" || *it == name,
        })
    };
    let message = &received.message;
    let mut attributes = message.attributes.clone();
    attributes.retain(|name, _| named(name));
    json!({
        "MessageId": message.id,
        "ReceiptHandle": received.receipt_handle,
        "Body": message.body,
        "MD5OfBody": format!("{:x}", md5::compute(&message.body)),
        "Attributes": system,
        "MessageAttributes": attributes,
    })
}

/// The code that the query protocol had for an error, which the JSON protocol tells in a header, and by
/// which the SDK knows errors.
fn query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".into(),
        "MessageNotInflight"
        | "EmptyBatchRequest"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "InvalidBatchEntryId"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        other => other.to_owned(),
    }
}

fn refusal(status: u16, code: &'static str, why: &str) -> Reply {
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": why });
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let reply = Reply::new(status, Some(code), body.to_string());
    reply.header(
        "x-amzn-query-error",
        format!("{};{fault}", query_code(code)),
    )
}

/// What SQS answers instead of doing what it was asked to.
pub(crate) fn failed(failure: Failure) -> Reply {
    match failure {
        Failure::Throttled => refusal(400, "RequestThrottled", "Request is throttled."),
        _ => refusal(
            500,
            "InternalFailure",
            "We encountered an internal error. Please try again.",
        ),
    }
}
