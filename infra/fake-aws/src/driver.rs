//! What a test plays itself: the event source of a queue, and the clients of a WebSocket API. Nothing of
//! this counts as a call.

use crate::{
    fake::FakeAws,
    management::Line,
    queue::Message,
    sqs::{self, ReceivedMessage},
    template::QueueSpec,
};

impl FakeAws {
    /// A queue of the template, to play its event source.
    ///
    /// # Panics
    /// If the template has no such queue.
    pub fn queue(&self, id: &str) -> Queue<'_> {
        let spec = self.sqs().spec_of(id).cloned();
        Queue {
            aws: self,
            spec: spec.unwrap_or_else(|| panic!("the template has no queue {id}")),
        }
    }

    /// The connections of the WebSocket API, to play its clients.
    pub fn connections(&self) -> Clients<'_> {
        Clients(self)
    }
}

/// A queue, as its event source sees it.
#[derive(Debug)]
pub struct Queue<'a> {
    aws: &'a FakeAws,
    spec: QueueSpec,
}

impl Queue<'_> {
    /// Its address.
    pub fn url(&self) -> String {
        sqs::queue_url(&self.spec)
    }

    /// Its configuration.
    pub const fn spec(&self) -> &QueueSpec {
        &self.spec
    }

    /// Receives what is visible, `max` messages at most: of a FIFO queue nothing of a group of which a
    /// message is in flight. What was received `maxReceiveCount` times goes to the dead-letter queue.
    pub fn receive(&self, max: usize) -> Vec<ReceivedMessage> {
        self.aws
            .sqs()
            .receive(&self.spec.id, max, None, self.aws.now())
    }

    /// Deletes a message that was received.
    ///
    /// # Panics
    /// If the handle is not of this queue, or has expired on a FIFO queue.
    pub fn delete(&self, receipt_handle: &str) {
        self.aws
            .sqs()
            .delete(&self.spec.id, receipt_handle, self.aws.now());
    }

    /// Makes a message that was received visible after so many seconds; at once, if 0.
    ///
    /// # Panics
    /// If the message is not in flight.
    pub fn set_visibility(&self, receipt_handle: &str, seconds: u64) {
        self.aws
            .sqs()
            .set_visibility(&self.spec.id, receipt_handle, seconds, self.aws.now());
    }

    /// How many messages there are: visible, delayed and in flight.
    pub fn depth(&self) -> usize {
        self.peek().len()
    }

    /// All messages by when they can be received, without receiving them.
    pub fn peek(&self) -> Vec<Message> {
        self.aws.sqs().peek(&self.spec.id, self.aws.now())
    }

    /// Takes the messages that are wanted out of the queue, whenever they are due: as if each had been
    /// received and deleted.
    pub fn take(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        self.aws.sqs().take(&self.spec.id, wanted, self.aws.now())
    }

    /// When the next message can be received, in Unix milliseconds: in the past, if one waits.
    pub fn next_due(&self) -> Option<u64> {
        self.aws
            .sqs()
            .due()
            .find(|(id, _)| *id == self.spec.id)
            .map(|(_, due)| due)
    }

    /// Loses all messages.
    pub fn purge(&self) {
        self.aws.sqs().queue(&self.spec.id, self.aws.now()).clear();
    }
}

/// The connections, as their clients see them.
#[derive(Debug)]
pub struct Clients<'a>(&'a FakeAws);

impl Clients<'_> {
    /// A client connects.
    pub fn open(&self, id: &str) {
        self.set(id, Line::Open);
    }

    /// A client disconnects.
    pub fn close(&self, id: &str) {
        self.set(id, Line::Gone);
    }

    /// What a connection is like from now on.
    pub fn set(&self, id: &str, line: Line) {
        self.0.gateway().set(id, line, self.0.now());
    }

    /// What a connection is like; [`Line::Gone`], if there is none.
    pub fn line(&self, id: &str) -> Line {
        self.0.gateway().line(id)
    }

    /// What arrived at clients since this was asked for last, each with its connection.
    pub fn take_posts(&self) -> Vec<(String, Vec<u8>)> {
        self.0.gateway().take_posts()
    }

    /// The connections that were closed by a call since this was asked for last.
    pub fn take_deleted(&self) -> Vec<String> {
        self.0.gateway().take_deleted()
    }
}
