//! What is sent: to queues, to connections, to Slack.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bematic_protocol::{
    ids::{AgentId, BatchId, ChannelId, ConnectionId, MessageTs, Subject, TaskId, UserId},
    messages::{CloudMessage, Envelope, Spelling},
    time::Timestamp,
};

use super::Calls;
use crate::{
    batch::Batch,
    dead_letter::{DeadLetter, DeadLetters, QueueName, Reason},
    error::{GatewayError, QueueError},
    ports::{
        BatchMessage, BatchQueue, DeadLetterQueues, Delivery, DispatchMessage, DispatchQueue,
        Gateway, Notifications, NotifyMessage, Received, Show, SourceQueue,
    },
    slack::{
        Message,
        api::{Destination, SlackApi, SlackError},
    },
};

/// A message in Slack.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Post {
    pub(crate) to: Destination,
    pub(crate) message: Message,
    pub(crate) marker: Option<Subject>,
    pub(crate) updates: usize,
}

/// Everything that left.
#[derive(Default)]
pub(crate) struct Outbox {
    calls: Arc<Calls>,
    pub(crate) dispatched: Mutex<Vec<(DispatchMessage, Duration)>>,
    pub(crate) notified: Mutex<Vec<NotifyMessage>>,
    pub(crate) batches: Mutex<Vec<BatchMessage>>,
    pub(crate) sent: Mutex<Vec<(ConnectionId, CloudMessage)>>,
    pub(crate) wire: Mutex<Vec<String>>,
    pub(crate) closed: Mutex<BTreeSet<ConnectionId>>,
    pub(crate) gone: Mutex<BTreeSet<ConnectionId>>,
    pub(crate) slack: Mutex<BTreeMap<MessageTs, Post>>,
    pub(crate) dead: Mutex<Vec<DeadLetter>>,
    pub(crate) postponed: Mutex<Vec<(String, Duration)>>,
    /// What Slack answers instead of doing the next thing that it is asked.
    pub(crate) slack_says: Mutex<Option<SlackError>>,
}

impl Outbox {
    pub(crate) fn new(calls: Arc<Calls>) -> Self {
        Self {
            calls,
            ..Self::default()
        }
    }

    /// What was sent to the dispatcher since the last time.
    pub(crate) fn take_dispatched(&self) -> Vec<(DispatchMessage, Duration)> {
        std::mem::take(&mut self.dispatched.lock().unwrap())
    }

    /// What was sent to the notifier since the last time.
    pub(crate) fn take_notified(&self) -> Vec<NotifyMessage> {
        std::mem::take(&mut self.notified.lock().unwrap())
    }

    /// The tasks that are to be shown, by way of either queue.
    pub(crate) fn to_show(&self) -> Vec<TaskId> {
        let dispatched = self.dispatched.lock().unwrap();
        let by_drain = dispatched.iter().filter_map(|(message, _)| match message {
            DispatchMessage::Drain { show, .. } => show.as_ref().map(|show| show.task_id),
            _ => None,
        });
        let notified = self.notified.lock().unwrap();
        let directly = notified.iter().filter_map(|message| match message {
            NotifyMessage::Refresh { task_id } => Some(*task_id),
            _ => None,
        });
        by_drain.chain(directly).collect()
    }

    /// What was sent over connections since the last time.
    pub(crate) fn take_sent(&self) -> Vec<(ConnectionId, CloudMessage)> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    fn slack_says(&self) -> Result<(), SlackError> {
        self.slack_says.lock().unwrap().take().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl DispatchQueue for Outbox {
    async fn send(&self, message: &DispatchMessage, delay: Duration) -> Result<(), QueueError> {
        self.calls.call("sqs dispatch").await?;
        self.dispatched
            .lock()
            .unwrap()
            .push((message.clone(), delay));
        Ok(())
    }

    async fn send_all(&self, messages: &[(DispatchMessage, Duration)]) -> Result<(), QueueError> {
        for some in messages.chunks(10) {
            self.calls.call("sqs dispatch").await?;
            self.dispatched.lock().unwrap().extend_from_slice(some);
        }
        Ok(())
    }
}

#[async_trait]
impl BatchQueue for Outbox {
    async fn work(&self, batch_id: BatchId) -> Result<(), QueueError> {
        self.calls.call("sqs batch").await?;
        self.batches.lock().unwrap().push(BatchMessage { batch_id });
        Ok(())
    }
}

#[async_trait]
impl Notifications for Outbox {
    async fn show(&self, show: &Show) -> Result<(), QueueError> {
        self.show_all(std::slice::from_ref(show)).await
    }

    async fn show_all(&self, shows: &[Show]) -> Result<(), QueueError> {
        for some in shows.chunks(10) {
            self.calls.call("sqs notify").await?;
            let messages = some.iter().map(|show| NotifyMessage::Refresh {
                task_id: show.task_id,
            });
            self.notified.lock().unwrap().extend(messages);
        }
        Ok(())
    }

    async fn batch_changed(&self, batch: &Batch) -> Result<(), QueueError> {
        self.calls.call("sqs notify").await?;
        let batch_id = batch.id;
        self.notified
            .lock()
            .unwrap()
            .push(NotifyMessage::Batch { batch_id });
        Ok(())
    }

    async fn reported(&self, task_id: TaskId, _: Timestamp) -> Result<(), QueueError> {
        self.calls.call("sqs notify").await?;
        self.notified
            .lock()
            .unwrap()
            .push(NotifyMessage::Refresh { task_id });
        Ok(())
    }

    async fn breaker_changed(&self, agent: &AgentId, _: u64) -> Result<(), QueueError> {
        self.calls.call("sqs notify").await?;
        self.notified.lock().unwrap().push(NotifyMessage::Breaker {
            agent_id: agent.clone(),
        });
        Ok(())
    }

    async fn reply(&self, message: &NotifyMessage) -> Result<(), QueueError> {
        self.calls.call("sqs notify").await?;
        self.notified.lock().unwrap().push(message.clone());
        Ok(())
    }
}

#[async_trait]
impl SourceQueue for Outbox {
    fn max_receives(&self) -> u32 {
        50
    }

    async fn retry_after(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        self.calls.call("sqs visibility").await?;
        self.postponed
            .lock()
            .unwrap()
            .push((receipt_handle.to_owned(), delay));
        Ok(())
    }

    async fn bury(&self, message: Received<'_>, reason: &Reason) -> Result<(), QueueError> {
        self.calls.call("sqs bury").await?;
        let letter = DeadLetter {
            id: message.id.to_owned(),
            reason: Some(reason.clone()),
            since: Timestamp::from_millis(1_700_000_000_000),
            body: message.body.to_owned(),
        };
        self.dead.lock().unwrap().push(letter);
        Ok(())
    }
}

/// All of them are the notifier's.
#[async_trait]
impl DeadLetterQueues for Outbox {
    async fn list(&self, queue: QueueName) -> Result<DeadLetters, QueueError> {
        self.calls.call("sqs receive").await?;
        let letters = match queue {
            QueueName::Notifications => self.dead.lock().unwrap().clone(),
            _ => Vec::new(),
        };
        Ok(DeadLetters {
            queue,
            count: letters.len(),
            letters,
        })
    }

    async fn count(&self, queue: QueueName) -> Result<usize, QueueError> {
        self.calls.call("sqs count").await?;
        Ok(match queue {
            QueueName::Notifications => self.dead.lock().unwrap().len(),
            _ => 0,
        })
    }

    async fn redrive(&self, queue: QueueName, _: usize) -> Result<usize, QueueError> {
        self.calls.call("sqs receive").await?;
        if queue != QueueName::Notifications {
            return Ok(0);
        }
        let letters = std::mem::take(&mut *self.dead.lock().unwrap());
        let messages = letters.iter();
        let messages = messages.filter_map(|letter| serde_json::from_str(&letter.body).ok());
        self.notified.lock().unwrap().extend(messages);
        Ok(letters.len())
    }
}

#[async_trait]
impl Gateway for Outbox {
    async fn send(
        &self,
        connection: &ConnectionId,
        spelling: Spelling,
        message: CloudMessage,
    ) -> Result<Delivery, GatewayError> {
        self.calls.call::<GatewayError>("gateway post").await?;
        let dead = self.gone.lock().unwrap().contains(connection)
            || self.closed.lock().unwrap().contains(connection);
        if dead {
            return Ok(Delivery::Gone);
        }
        let timestamp = Timestamp::from_millis(1);
        let envelope = Envelope {
            id: "sent".parse().unwrap(),
            timestamp,
            message,
        };
        self.wire.lock().unwrap().push(envelope.encode(spelling)?);
        self.sent
            .lock()
            .unwrap()
            .push((connection.clone(), envelope.message));
        Ok(Delivery::Sent)
    }

    async fn close(&self, connection: &ConnectionId) -> Result<(), GatewayError> {
        self.calls.call::<GatewayError>("gateway close").await?;
        self.closed.lock().unwrap().insert(connection.clone());
        Ok(())
    }
}

#[async_trait]
impl SlackApi for Outbox {
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<Subject>,
    ) -> Result<MessageTs, SlackError> {
        self.slack_says()?;
        self.calls.call("slack post").await?;
        let mut slack = self.slack.lock().unwrap();
        let ts: MessageTs = format!("1700000000.{:06}", slack.len() + 1)
            .parse()
            .unwrap();
        let post = Post {
            to: to.clone(),
            message: message.clone(),
            marker,
            updates: 0,
        };
        slack.insert(ts.clone(), post);
        Ok(ts)
    }

    async fn update(
        &self,
        _: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError> {
        self.slack_says()?;
        self.calls.call("slack update").await?;
        let mut slack = self.slack.lock().unwrap();
        let post = slack.get_mut(ts).ok_or(SlackError::Gone {
            method: "chat.update",
            error: "message_not_found".into(),
        })?;
        post.message = message.clone();
        post.updates += 1;
        Ok(())
    }

    async fn find_marked(
        &self,
        _: &Destination,
        about: Subject,
        _: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        self.calls.call("slack find").await?;
        let slack = self.slack.lock().unwrap();
        Ok(slack
            .iter()
            .find(|(_, post)| post.marker == Some(about))
            .map(|(ts, _)| ts.clone()))
    }

    async fn post_ephemeral(
        &self,
        _: &Destination,
        _: &UserId,
        _: &Message,
    ) -> Result<(), SlackError> {
        self.calls.call("slack ephemeral").await
    }
}
