//! Messages, and the order in which the messages of a queue can be received.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::Value;

/// "aren't delivered during the 5-minute deduplication interval" (API reference, SendMessage).
const DEDUPLICATION_MS: u64 = 5 * 60 * 1000;

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

/// A de-duplication id, and the message group if the id counts within the group only.
pub(crate) type DeduplicationKey = (Option<String>, String);

/// The messages of a queue.
#[derive(Debug, Default)]
pub(crate) struct Messages {
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
    pub(crate) fn insert(&mut self, message: Message) {
        let sequence = message.sequence;
        self.due.insert((message.due, sequence));
        if let Some(group) = &message.group {
            let group = self.groups.entry(group.clone()).or_default();
            group.insert(sequence);
        }
        self.by_sequence.insert(sequence, message);
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Message> {
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
    pub(crate) fn visible(&self, now: u64, max: usize, fifo: bool) -> Vec<&Message> {
        let due = self.due.range(..=(now, u64::MAX));
        let due = due.map(|(_, sequence)| &self.by_sequence[sequence]);
        if !fifo {
            return due.take(max).collect();
        }
        let mut seen = HashSet::new();
        let groups = due.filter_map(|message| message.group.as_ref());
        let groups = groups.filter(|group| seen.insert(*group));
        let visible = groups.flat_map(|group| {
            let of_group = self.groups[group].iter().map(|it| &self.by_sequence[it]);
            of_group.take_while(|message| message.due <= now)
        });
        visible.take(max).collect()
    }

    /// The id of the message that was sent under a de-duplication id; if there is none, `id` counts for
    /// that from now on.
    ///
    /// "any messages sent with the same MessageDeduplicationId are accepted successfully but aren't
    /// delivered during the 5-minute deduplication interval" (API reference, SendMessage).
    pub(crate) fn deduplicate(
        &mut self,
        key: DeduplicationKey,
        id: &str,
        now: u64,
    ) -> Option<String> {
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

    /// The messages by the time at which they can be received.
    pub(crate) fn by_due(&self) -> impl Iterator<Item = &Message> {
        self.due
            .iter()
            .map(|(_, sequence)| &self.by_sequence[sequence])
    }

    /// The time at which the next message can be received: on a FIFO queue, the next is the first of its
    /// group.
    pub(crate) fn next_due(&self, fifo: bool) -> Option<u64> {
        if !fifo {
            return self.due.first().map(|(due, _)| *due);
        }
        let heads = self.groups.values().filter_map(BTreeSet::first);
        heads.map(|head| self.by_sequence[head].due).min()
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Message> {
        self.by_sequence.get(&sequence)
    }
}
