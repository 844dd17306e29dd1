//! One queue: its messages, and which of them can be received.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use crate::template::QueueSpec;

/// "aren't delivered during the 5-minute deduplication interval" (API reference, SendMessage).
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
    pub(crate) first_received: u64,
    pub(crate) received: u64,
    pub(crate) sequence: u64,
    /// The queue that it is a dead letter of.
    pub(crate) source: Option<String>,
}

impl Message {
    pub(crate) fn in_flight(&self, now: u64) -> bool {
        self.receives > 0 && self.due > now
    }
}

/// A de-duplication id, and the group within which it counts, if it does so within a group only.
pub(crate) type Once = (Option<String>, String);

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) spec: QueueSpec,
    /// By the order in which they were sent.
    pub(crate) messages: BTreeMap<u64, Message>,
    /// When each can be received.
    pub(crate) due: BTreeSet<(u64, u64)>,
    /// The messages of each group, of a FIFO queue.
    groups: BTreeMap<String, BTreeSet<u64>>,
    /// The id and number of the message that was sent under a de-duplication id.
    known: HashMap<Once, (String, u64)>,
    /// The same ids since when they are known, the oldest first.
    since: VecDeque<(u64, Once)>,
}

impl Queue {
    pub(crate) fn new(spec: &QueueSpec) -> Self {
        Self {
            spec: spec.clone(),
            messages: BTreeMap::new(),
            due: BTreeSet::new(),
            groups: BTreeMap::new(),
            known: HashMap::new(),
            since: VecDeque::new(),
        }
    }

    pub(crate) fn insert(&mut self, message: Message) {
        let sequence = message.sequence;
        self.due.insert((message.due, sequence));
        if let Some(group) = message.group.as_ref().filter(|_| self.spec.fifo) {
            let group = self.groups.entry(group.clone()).or_default();
            group.insert(sequence);
        }
        self.messages.insert(sequence, message);
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Message> {
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

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.due.clear();
        self.groups.clear();
    }

    pub(crate) fn set_due(&mut self, sequence: u64, due: u64) {
        if let Some(message) = self.messages.get_mut(&sequence) {
            self.due.remove(&(message.due, sequence));
            message.due = due;
            self.due.insert((due, sequence));
        }
    }

    /// Marks a message as received, and in flight until `due`.
    pub(crate) fn receive(&mut self, sequence: u64, now: u64, due: u64) -> Option<Message> {
        let message = self.messages.get_mut(&sequence)?;
        message.receives += 1;
        message.received = now;
        if message.receives == 1 {
            message.first_received = now;
        }
        self.set_due(sequence, due);
        self.messages.get(&sequence).cloned()
    }

    /// What can be received: on a standard queue by when it became visible; on a FIFO queue each group
    /// in order, and nothing of it behind a message that is in flight or delayed.
    pub(crate) fn visible(&self, now: u64, max: usize) -> Vec<u64> {
        let due = self.due.range(..=(now, u64::MAX));
        let due = due.map(|(_, sequence)| *sequence);
        if !self.spec.fifo {
            return due.take(max).collect();
        }
        let (mut visible, mut seen) = (Vec::new(), HashSet::new());
        for message in due.filter_map(|it| self.messages.get(&it)) {
            let new = message.group.as_ref().filter(|it| seen.insert(*it));
            let of_group = new.and_then(|it| self.groups.get(it)).into_iter().flatten();
            let of_group = of_group.filter_map(|it| self.messages.get(it));
            let open = of_group.take_while(|it| it.due <= now);
            visible.extend(open.map(|it| it.sequence));
            if visible.len() >= max {
                break;
            }
        }
        visible.truncate(max);
        visible
    }

    /// When the next message can be received: on a FIFO queue, the first of a group.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if !self.spec.fifo {
            return self.due.first().map(|(due, _)| *due);
        }
        let heads = self.groups.values().filter_map(BTreeSet::first);
        let heads = heads.filter_map(|head| self.messages.get(head));
        heads.map(|head| head.due).min()
    }

    /// The message that was sent under a de-duplication id; else, it is this one from now on.
    ///
    /// "any messages sent with the same MessageDeduplicationId are accepted successfully but aren't
    /// delivered during the 5-minute deduplication interval" (API reference, SendMessage).
    pub(crate) fn sent_before(
        &mut self,
        once: Once,
        (id, sequence): (&str, u64),
        now: u64,
    ) -> Option<(String, u64)> {
        if let Some(known) = self.known.get(&once) {
            return Some(known.clone());
        }
        self.known.insert(once.clone(), (id.to_owned(), sequence));
        self.since.push_back((now, once));
        None
    }

    /// Messages are gone after the retention period, and de-duplication ids after theirs.
    pub(crate) fn expire(&mut self, now: u64) {
        while let Some((sequence, message)) = self.messages.first_key_value()
            && message.sent + self.spec.retention_ms <= now
        {
            let sequence = *sequence;
            self.remove(sequence);
        }
        while let Some((at, once)) = self.since.front()
            && at + DEDUPLICATION_MS <= now
        {
            self.known.remove(once);
            self.since.pop_front();
        }
    }
}
