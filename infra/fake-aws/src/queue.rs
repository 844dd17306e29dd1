//! Queues: their messages, and what producers and consumers do with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde_json::Value;

use crate::{
    common::{Answer, Clock, ENDPOINT, Refusal, lock},
    template::QueueSpec,
};

pub(crate) const INVALID: &str = "InvalidParameterValue";

/// "aren't delivered during the 5-minute deduplication interval" (API reference, SendMessage).
const DEDUPLICATION_MS: u64 = 5 * 60 * 1000;
/// CloudFormation's default, in seconds.
const VISIBILITY_TIMEOUT: u64 = 30;
/// "Values range: 0 to 43200. Maximum: 12 hours" (API reference, ChangeMessageVisibility), in seconds; also
/// the most since the receive.
pub(crate) const MAX_VISIBILITY_TIMEOUT: u64 = 43_200;

/// A message that waits in a queue, or is in flight. Times are in Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// SQS's id of the message.
    pub id: String,
    /// The body.
    pub body: String,
    /// The message group.
    pub group: Option<String>,
    /// The de-duplication id, on a FIFO queue.
    pub deduplication_id: Option<String>,
    /// The time at which the message was sent.
    pub sent: u64,
    /// The time from which on the message can be received, again if it is in flight.
    pub due: u64,
    /// Whether the message was sent with a delay of its own.
    pub delayed: bool,
    /// The message attributes in SQS's JSON.
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) receives: u64,
    /// The time of the latest receive.
    pub(crate) received: u64,
    /// The message's place in the order of all messages of all queues.
    pub(crate) sequence: u64,
}

impl Message {
    pub(crate) fn in_flight(&self, now: u64) -> bool {
        self.receives > 0 && self.due > now
    }
}

/// A message as a consumer receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMessage {
    /// The message.
    pub message: Message,
    /// The receipt handle, by which the message is deleted.
    pub receipt_handle: String,
}

impl ReceivedMessage {
    /// The system attributes, by SQS's names.
    pub fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let it = &self.message;
        // Only FIFO messages have a sequence number, of 20 digits.
        let fifo = it.deduplication_id.as_ref();
        let all = [
            ("SenderId", Some("FAKE".to_owned())),
            ("SentTimestamp", Some(it.sent.to_string())),
            ("ApproximateReceiveCount", Some(it.receives.to_string())),
            ("MessageGroupId", it.group.clone()),
            ("MessageDeduplicationId", it.deduplication_id.clone()),
            (
                "SequenceNumber",
                fifo.map(|_| format!("{:020}", it.sequence)),
            ),
        ];
        let present = |(name, value): (_, Option<_>)| Some((name, value?));
        all.into_iter().filter_map(present).collect()
    }
}

/// All queues.
pub(crate) struct Queues {
    queues: BTreeMap<String, (QueueSpec, Mutex<Messages>)>,
    clock: Clock,
    /// The number of messages that were sent to any queue.
    sent: AtomicU64,
}

impl Queues {
    pub(crate) fn new(specs: &[QueueSpec], clock: Clock) -> Self {
        let queue = |spec: &QueueSpec| (spec.id.clone(), (spec.clone(), Mutex::default()));
        Self {
            queues: specs.iter().map(queue).collect(),
            clock,
            sent: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Queue<'_>> {
        let (spec, messages) = self.queues.get(id)?;
        Some(Queue {
            queues: self,
            spec,
            messages,
        })
    }

    /// The queue that has an address.
    pub(crate) fn by_url(&self, url: &str) -> Option<Queue<'_>> {
        self.all().find(|queue| queue.url() == url)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Queue<'_>> {
        self.queues.keys().filter_map(|id| self.get(id))
    }

    fn next_sequence(&self) -> u64 {
        self.sent.fetch_add(1, Relaxed) + 1
    }
}

/// A queue, as its event source sees it. What is done here is no call to SQS.
pub struct Queue<'a> {
    queues: &'a Queues,
    spec: &'a QueueSpec,
    messages: &'a Mutex<Messages>,
}

impl<'a> Queue<'a> {
    /// The queue's address.
    pub fn url(&self) -> String {
        // "A FIFO queue name must end with the .fifo suffix" (API reference, CreateQueue).
        let suffix = if self.spec.fifo { ".fifo" } else { "" };
        format!("{ENDPOINT}/000000000000/{}{suffix}", self.spec.id)
    }

    /// The queue's properties.
    pub const fn spec(&self) -> &'a QueueSpec {
        self.spec
    }

    /// Receives up to `max` visible messages: on a FIFO queue, none of a group with a message in flight.
    /// Messages that were received `maxReceiveCount` times go to the dead-letter queue instead.
    pub fn receive(&self, max: usize) -> Vec<ReceivedMessage> {
        self.receive_for(max, None)
    }

    /// Deletes a received message.
    ///
    /// # Panics
    /// If the receipt handle is invalid, or has expired on a FIFO queue.
    pub fn delete(&self, receipt_handle: &str) {
        let deleted = self.try_delete(receipt_handle);
        deleted.expect("a receipt handle of this queue");
    }

    /// All messages without receiving them, by the time at which they can be received.
    pub fn peek(&self) -> Vec<Message> {
        let messages = lock(self.messages);
        let by_due = messages.due.iter();
        by_due
            .filter_map(|(_, sequence)| messages.by_sequence.get(sequence).cloned())
            .collect()
    }

    /// Receives and deletes the messages that are wanted, whether they are due or not.
    pub fn take(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let taken: Vec<_> = self.peek().into_iter().filter(wanted).collect();
        let mut messages = lock(self.messages);
        for message in &taken {
            messages.remove(message.sequence);
        }
        taken
    }

    /// Loses all messages.
    pub fn purge(&self) {
        self.take(|_| true);
    }

    /// The time at which the next message can be received, in Unix milliseconds: in the past, if one
    /// waits. On a FIFO queue, the next is the first of its group.
    pub fn next_due(&self) -> Option<u64> {
        let messages = lock(self.messages);
        if !self.spec.fifo {
            return messages.due.first().map(|(due, _)| *due);
        }
        let heads = messages.groups.values().filter_map(BTreeSet::first);
        heads.map(|head| messages.by_sequence[head].due).min()
    }

    pub(crate) fn now(&self) -> u64 {
        (self.queues.clock)()
    }

    /// Sends a message and returns its id; or the id of the message that was sent under the same
    /// de-duplication id before.
    pub(crate) fn send(&self, message: Message, delay_seconds: Option<u64>) -> String {
        let mut messages = lock(self.messages);
        let (now, sequence) = (self.now(), self.queues.next_sequence());
        let id = format!("00000000-0000-4000-8000-{sequence:012x}");
        if let Some(once) = &message.deduplication_id {
            let by_group = self.spec.deduplication_scope == "messageGroup";
            let group = message.group.clone().filter(|_| by_group);
            if let Some(earlier) = messages.sent_before((group, once.clone()), &id, now) {
                return earlier;
            }
        }
        messages.insert(Message {
            id: id.clone(),
            sent: now,
            due: now + delay_seconds.unwrap_or(self.spec.delay_seconds) * 1000,
            delayed: delay_seconds.is_some_and(|delay| delay > 0),
            sequence,
            ..message
        });
        id
    }

    pub(crate) fn receive_for(
        &self,
        max: usize,
        visibility_timeout: Option<u64>,
    ) -> Vec<ReceivedMessage> {
        let (mut messages, now) = (lock(self.messages), self.now());
        let visible = loop {
            let visible = messages.visible(now, max, self.spec.fifo);
            let Some(policy) = &self.spec.redrive_policy else {
                break visible;
            };
            let mut exhausted = visible.clone();
            exhausted.retain(|it| messages.by_sequence[it].receives >= policy.max_receive_count);
            if exhausted.is_empty() {
                break visible;
            }
            let dead = exhausted.into_iter().filter_map(|it| messages.remove(it));
            let dead_letters = self.queues.get(policy.dead_letter_queue());
            let dead_letters = dead_letters.expect("the template was checked");
            dead.for_each(|message| dead_letters.bury(message, now));
        };
        let timeout = visibility_timeout.or(self.spec.visibility_timeout);
        let due = now + timeout.unwrap_or(VISIBILITY_TIMEOUT) * 1000;
        let received = visible.into_iter().filter_map(|sequence| {
            let mut message = messages.remove(sequence)?;
            message.receives += 1;
            (message.received, message.due) = (now, due);
            messages.insert(message.clone());
            Some(ReceivedMessage {
                receipt_handle: format!("{sequence}:{}", message.receives),
                message,
            })
        });
        received.collect()
    }

    /// "For standard queues, the expiration of a message is always based on its original enqueue
    /// timestamp. […] For FIFO queues, the enqueue timestamp resets when the message is moved to a
    /// dead-letter queue" (developer guide, "Setting-up dead-letter queue retention").
    fn bury(&self, message: Message, now: u64) {
        lock(self.messages).insert(Message {
            sent: if self.spec.fifo { now } else { message.sent },
            due: now,
            sequence: self.queues.next_sequence(),
            ..message
        });
    }

    /// Deletes a received message. A handle of an earlier receive deletes nothing, as may be (API
    /// reference, DeleteMessage); on a FIFO queue it is refused, and so is any after the visibility
    /// timeout.
    pub(crate) fn try_delete(&self, receipt_handle: &str) -> Answer<()> {
        let (mut messages, now) = (lock(self.messages), self.now());
        if let Some((message, latest)) = messages.by_handle(receipt_handle)? {
            let (sequence, held) = (message.sequence, latest && message.in_flight(now));
            if self.spec.fifo && !held {
                return refuse(INVALID, "the receipt handle has expired");
            }
            if latest {
                messages.remove(sequence);
            }
        }
        Ok(())
    }

    /// Makes a message in flight visible after so many seconds.
    pub(crate) fn change_visibility(&self, receipt_handle: &str, seconds: u64) -> Answer<()> {
        let (mut messages, now) = (lock(self.messages), self.now());
        let Some((message, latest)) = messages.by_handle(receipt_handle)? else {
            return refuse(INVALID, "the message does not exist");
        };
        if !latest || !message.in_flight(now) {
            let code = "AWS.SimpleQueueService.MessageNotInflight";
            return refuse(code, "it was given back, or received again");
        }
        let (sequence, due) = (message.sequence, now + seconds * 1000);
        if due > message.received + MAX_VISIBILITY_TIMEOUT * 1000 {
            return refuse(INVALID, "over 12 hours since the receive");
        }
        if let Some(message) = messages.remove(sequence) {
            messages.insert(Message { due, ..message });
        }
        Ok(())
    }
}

pub(crate) fn refuse<T>(code: &'static str, message: &str) -> Answer<T> {
    Err(Refusal::new(400, code, message))
}

/// A de-duplication id, and the message group if the id counts within the group only.
type DeduplicationKey = (Option<String>, String);

/// The messages of a queue.
#[derive(Debug, Default)]
struct Messages {
    /// The messages in the order in which they were sent.
    by_sequence: BTreeMap<u64, Message>,
    /// The time at which each message can be received, and the message's sequence number.
    due: BTreeSet<(u64, u64)>,
    /// The sequence numbers of each message group.
    groups: BTreeMap<String, BTreeSet<u64>>,
    /// The ids of the messages that were sent under de-duplication ids.
    deduplicated: HashMap<DeduplicationKey, String>,
    /// The time at which each de-duplication id was used, the oldest first.
    deduplicated_at: VecDeque<(u64, DeduplicationKey)>,
}

impl Messages {
    fn insert(&mut self, message: Message) {
        let sequence = message.sequence;
        self.due.insert((message.due, sequence));
        if let Some(group) = &message.group {
            let group = self.groups.entry(group.clone()).or_default();
            group.insert(sequence);
        }
        self.by_sequence.insert(sequence, message);
    }

    fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.by_sequence.remove(&sequence)?;
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

    /// The messages that can be received: on a standard queue by the time at which they became visible; on
    /// a FIFO queue each group in order, up to a message that is in flight or delayed.
    fn visible(&self, now: u64, max: usize, fifo: bool) -> Vec<u64> {
        let due = self.due.range(..=(now, u64::MAX));
        let due = due.map(|(_, sequence)| sequence);
        if !fifo {
            return due.take(max).copied().collect();
        }
        let mut seen = HashSet::new();
        let groups = due.filter_map(|it| self.by_sequence[it].group.as_ref());
        let groups = groups.filter(|group| seen.insert(*group));
        let visible = groups.flat_map(|group| {
            let of_group = self.groups[group].iter().copied();
            of_group.take_while(|it| self.by_sequence[it].due <= now)
        });
        visible.take(max).collect()
    }

    /// The id of the message that was sent under a de-duplication id; else, `id` is from now on.
    ///
    /// "any messages sent with the same MessageDeduplicationId are accepted successfully but aren't
    /// delivered during the 5-minute deduplication interval" (API reference, SendMessage).
    fn sent_before(&mut self, key: DeduplicationKey, id: &str, now: u64) -> Option<String> {
        while let Some((at, expired)) = self.deduplicated_at.front()
            && at + DEDUPLICATION_MS <= now
        {
            self.deduplicated.remove(expired);
            self.deduplicated_at.pop_front();
        }
        if let Some(earlier) = self.deduplicated.get(&key) {
            return Some(earlier.clone());
        }
        self.deduplicated.insert(key.clone(), id.to_owned());
        self.deduplicated_at.push_back((now, key));
        None
    }

    /// The message of a receipt handle, if it is still there, and whether the handle is of its latest
    /// receive.
    fn by_handle(&self, handle: &str) -> Answer<Option<(&Message, bool)>> {
        let numbers = handle.split_once(':');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let Some::<(u64, u64)>((sequence, receives)) = numbers else {
            return refuse("ReceiptHandleIsInvalid", handle);
        };
        let message = self.by_sequence.get(&sequence);
        Ok(message.map(|message| (message, message.receives == receives)))
    }
}
