//! The adapter to the dead-letter queues. It moves messages one at a time. StartMessageMoveTask would
//! move only messages that SQS itself put into a dead-letter queue, and would keep the attributes
//! with the outdated reason.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName,
        QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use bematic::{
    dead_letter::{DeadLetter, DeadLetterQueueSummary, QueueName, Reason},
    error::QueueError,
    ports::DeadLetterQueues,
};
use bematic_protocol::time::Timestamp;
use futures::future::join_all;

use super::{CODE_ATTRIBUTE, REASON_ATTRIBUTE, SqsQueue, call_error};
use crate::config::QueueUrlPair;

/// The most messages of one ReceiveMessage (SQS's limit).
const MAX_MESSAGES_PER_RECEIVE: i32 = 10;
/// The visibility timeout, in seconds, of a message that is listed or redriven.
const VISIBILITY_TIMEOUT: i32 = 20;

/// The queues, each with its dead-letter queue.
#[derive(Debug, Clone)]
pub struct SqsDeadLetters(BTreeMap<QueueName, (SqsQueue, SqsQueue)>);

impl SqsDeadLetters {
    /// Creates the adapter from each queue's name and URLs.
    pub fn new(
        client: &Client,
        queues: impl IntoIterator<Item = (QueueName, QueueUrlPair)>,
    ) -> Self {
        let queue = |url| SqsQueue::new(client.clone(), url);
        let queues = queues
            .into_iter()
            .map(|(name, urls)| (name, (queue(urls.source), queue(urls.dead_letters))));
        Self(queues.collect())
    }

    fn queue_pair(&self, name: QueueName) -> Result<&(SqsQueue, SqsQueue), QueueError> {
        self.0
            .get(&name)
            .ok_or("no such dead-letter queue")
            .map_err(call_error("ReceiveMessage"))
    }
}

#[async_trait]
impl DeadLetterQueues for SqsDeadLetters {
    async fn list(&self, queue: QueueName) -> Result<DeadLetterQueueSummary, QueueError> {
        let (_, dead_letters) = self.queue_pair(queue)?;
        let messages = dead_letters.receive().await?;
        let count = dead_letters.count().await?.max(messages.len());
        dead_letters.make_visible(&messages).await?;
        Ok(DeadLetterQueueSummary {
            queue,
            count,
            letters: messages.into_iter().map(to_dead_letter).collect(),
        })
    }

    async fn count(&self, queue: QueueName) -> Result<usize, QueueError> {
        self.queue_pair(queue)?.1.count().await
    }

    async fn redrive(&self, queue: QueueName, limit: usize) -> Result<usize, QueueError> {
        let (queue, dead_letters) = self.queue_pair(queue)?;
        let mut messages = dead_letters.receive().await?;
        // A redriven message may fail again and come back: only those present now are moved.
        let limit = limit.min(dead_letters.count().await?.max(messages.len()));
        let mut redriven = 0;
        while !messages.is_empty() {
            // A message that cannot be moved stays in the dead-letter queue; the others are moved.
            let moves = messages
                .iter()
                .map(|it| dead_letters.redrive_message(it, queue));
            let moves = join_all(moves).await;
            redriven += moves.iter().filter(|moved| moved.is_ok()).count();
            moves.into_iter().collect::<Result<(), _>>()?;
            if redriven >= limit {
                break;
            }
            messages = dead_letters.receive().await?;
        }
        Ok(redriven)
    }
}

impl SqsQueue {
    /// Sends a dead letter of this queue to the queue it came from, then deletes it. A failure in
    /// between has it sent twice; handlers are idempotent.
    async fn redrive_message(&self, message: &Message, to: &Self) -> Result<(), QueueError> {
        let group = system_attribute(message, &MessageSystemAttributeName::MessageGroupId);
        let fifo = system_attribute(message, &MessageSystemAttributeName::MessageDeduplicationId);
        let id = message.message_id.as_deref().unwrap_or_default();
        let again = SendMessageBatchRequestEntry::builder()
            .message_body(message.body.as_deref().unwrap_or_default())
            .set_message_group_id(group)
            .set_message_deduplication_id(fifo.map(|_| format!("redrive-{id}")));
        to.send_message(again).await?;
        self.client
            .delete_message()
            .queue_url(&self.url)
            .set_receipt_handle(message.receipt_handle.clone())
            .send()
            .await
            .map(drop)
            .map_err(call_error("DeleteMessage"))
    }

    /// Receives up to [`MAX_MESSAGES_PER_RECEIVE`] messages by a long poll: a short one asks only a
    /// sample of SQS's servers.
    async fn receive(&self) -> Result<Vec<Message>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MAX_MESSAGES_PER_RECEIVE)
            .visibility_timeout(VISIBILITY_TIMEOUT)
            .wait_time_seconds(1)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .map_err(call_error("ReceiveMessage"))?;
        Ok(answer.messages.unwrap_or_default())
    }

    async fn count(&self) -> Result<usize, QueueError> {
        let visible = QueueAttributeName::ApproximateNumberOfMessages;
        let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(visible.clone())
            .attribute_names(in_flight.clone())
            .send()
            .await
            .map_err(call_error("GetQueueAttributes"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| attributes.get(name)?.parse::<usize>().ok();
        Ok([visible, in_flight].iter().filter_map(number).sum())
    }

    async fn make_visible(&self, messages: &[Message]) -> Result<(), QueueError> {
        if messages.is_empty() {
            return Ok(());
        }
        let handles = messages.iter().filter_map(|it| it.receipt_handle.as_ref());
        let entries = handles.enumerate().map(|(id, handle)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(handle)
                .visibility_timeout(0)
                .build()
                .map_err(call_error("ChangeMessageVisibilityBatch"))
        });
        let entries = entries.collect::<Result<_, _>>()?;
        // An entry that fails becomes visible when its visibility timeout ends.
        self.client
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map(drop)
            .map_err(call_error("ChangeMessageVisibilityBatch"))
    }
}

fn system_attribute(message: &Message, name: &MessageSystemAttributeName) -> Option<String> {
    let value = message.attributes.as_ref()?.get(name)?;
    Some(value.clone()).filter(|value| !value.is_empty())
}

fn to_dead_letter(message: Message) -> DeadLetter {
    let sent = system_attribute(&message, &MessageSystemAttributeName::SentTimestamp);
    let since = sent.and_then(|sent| sent.parse().ok()).unwrap_or_default();
    let attribute = |name| {
        let value = message.message_attributes.as_ref()?.get(name)?;
        value.string_value.clone()
    };
    let reason = attribute(CODE_ATTRIBUTE).zip(attribute(REASON_ATTRIBUTE));
    DeadLetter {
        since: Timestamp::from_millis(since),
        reason: reason.map(|(code, text)| Reason { code, text }),
        id: message.message_id.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
    }
}
