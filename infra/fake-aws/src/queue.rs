//! Queues, and what producers and consumers do with them.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    common::{Clock, ENDPOINT, ServiceError, ServiceResult, lock},
    message::{Message, Messages, ReceivedMessage},
    template::QueueSpec,
};

pub(crate) const INVALID_PARAMETER_VALUE: &str = "InvalidParameterValue";

/// CloudFormation's default, in seconds.
const DEFAULT_VISIBILITY_TIMEOUT: u64 = 30;
/// "Values range: 0 to 43200. Maximum: 12 hours" (API reference, ChangeMessageVisibility), in seconds; also
/// the most since the receive.
pub(crate) const MAX_VISIBILITY_TIMEOUT: u64 = 43_200;

/// All queues.
pub(crate) struct Queues {
    by_id: BTreeMap<String, (QueueSpec, Mutex<Messages>)>,
    clock: Clock,
    /// The number of messages that were sent to any queue.
    sent: AtomicU64,
}

impl Queues {
    pub(crate) fn new(specs: &[QueueSpec], clock: Clock) -> Self {
        let queue = |spec: &QueueSpec| (spec.id.clone(), (spec.clone(), Mutex::default()));
        Self {
            by_id: specs.iter().map(queue).collect(),
            clock,
            sent: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Queue<'_>> {
        let (spec, messages) = self.by_id.get(id)?;
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
        self.by_id.keys().filter_map(|id| self.get(id))
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
        self.receive_with_visibility_timeout(max, None)
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
        lock(self.messages).by_due().cloned().collect()
    }

    /// Receives and deletes the messages that are wanted, whether they are due or not.
    pub fn take_all_matching(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let taken: Vec<_> = self.peek().into_iter().filter(wanted).collect();
        let mut messages = lock(self.messages);
        for message in &taken {
            messages.remove(message.sequence);
        }
        taken
    }

    /// Deletes all messages.
    pub fn purge(&self) {
        self.take_all_matching(|_| true);
    }

    /// The time at which the next message can be received, in Unix milliseconds: in the past, if one
    /// waits.
    pub fn next_due(&self) -> Option<u64> {
        lock(self.messages).next_due(self.spec.fifo)
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
        if let Some(deduplication_id) = &message.deduplication_id {
            let by_group = self.spec.deduplication_scope == "messageGroup";
            let group = message.group.clone().filter(|_| by_group);
            if let Some(earlier) = messages.deduplicate((group, deduplication_id.clone()), &id, now)
            {
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

    pub(crate) fn receive_with_visibility_timeout(
        &self,
        max: usize,
        visibility_timeout: Option<u64>,
    ) -> Vec<ReceivedMessage> {
        let (mut messages, now) = (lock(self.messages), self.now());
        if let Some(policy) = &self.spec.redrive_policy {
            let dead_letters = self.queues.get(policy.dead_letter_queue());
            let dead_letters = dead_letters.expect("the template was checked");
            let exhausted = |messages: &Messages| {
                let mut visible = messages.visible(now, max, self.spec.fifo).into_iter();
                let found = visible.find(|it| it.receives >= policy.max_receive_count);
                found.map(|it| it.sequence)
            };
            while let Some(message) = exhausted(&messages).and_then(|it| messages.remove(it)) {
                dead_letters.add_dead_letter(message, now);
            }
        }
        let visible = messages.visible(now, max, self.spec.fifo);
        let visible: Vec<_> = visible.iter().map(|it| it.sequence).collect();
        let timeout = visibility_timeout.or(self.spec.visibility_timeout);
        let due = now + timeout.unwrap_or(DEFAULT_VISIBILITY_TIMEOUT) * 1000;
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
    fn add_dead_letter(&self, message: Message, now: u64) {
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
    pub(crate) fn try_delete(&self, receipt_handle: &str) -> ServiceResult<()> {
        let (mut messages, now) = (lock(self.messages), self.now());
        if let Some((message, latest)) = by_handle(&messages, receipt_handle)? {
            let (sequence, held) = (message.sequence, latest && message.in_flight(now));
            if self.spec.fifo && !held {
                return bad_request(INVALID_PARAMETER_VALUE, "the receipt handle has expired");
            }
            if latest {
                messages.remove(sequence);
            }
        }
        Ok(())
    }

    /// Makes a message in flight visible after so many seconds.
    pub(crate) fn change_visibility(
        &self,
        receipt_handle: &str,
        seconds: u64,
    ) -> ServiceResult<()> {
        let (mut messages, now) = (lock(self.messages), self.now());
        let Some((message, latest)) = by_handle(&messages, receipt_handle)? else {
            return bad_request(INVALID_PARAMETER_VALUE, "the message does not exist");
        };
        if !latest || !message.in_flight(now) {
            let code = "AWS.SimpleQueueService.MessageNotInflight";
            return bad_request(code, "it was given back, or received again");
        }
        let (sequence, due) = (message.sequence, now + seconds * 1000);
        if due > message.received + MAX_VISIBILITY_TIMEOUT * 1000 {
            return bad_request(INVALID_PARAMETER_VALUE, "over 12 hours since the receive");
        }
        if let Some(message) = messages.remove(sequence) {
            messages.insert(Message { due, ..message });
        }
        Ok(())
    }
}

pub(crate) fn bad_request<T>(code: &'static str, message: &str) -> ServiceResult<T> {
    Err(ServiceError::new(400, code, message))
}

/// The message of a receipt handle, if it is still there, and whether the handle is of its latest receive.
fn by_handle<'a>(
    messages: &'a Messages,
    handle: &str,
) -> ServiceResult<Option<(&'a Message, bool)>> {
    let numbers = handle.split_once(':');
    let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let Some::<(u64, u64)>((sequence, receives)) = numbers else {
        return bad_request("ReceiptHandleIsInvalid", handle);
    };
    let message = messages.get(sequence);
    Ok(message.map(|message| (message, message.receives == receives)))
}
