//! The messages that the functions send to queues and connections.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Mutex,
    time::Duration,
};

use bematic::ports::{BatchMessage, DispatchMessage, NotifyMessage};
use bematic_protocol::{
    ids::{ConnectionId, TaskId},
    messages::{CloudMessage, decode},
};
use fake_aws::{ConnectionState, FakeAws, Message};
use serde::de::DeserializeOwned;

pub(super) const DISPATCH: &str = "DispatchQueue";
pub(super) const NOTIFICATIONS: &str = "NotificationsQueue";
pub(super) const BATCHES: &str = "BatchQueue";

/// The messages that were sent to agents and functions.
pub(crate) struct Out {
    aws: FakeAws,
    /// The messages that agents have received and no test has taken.
    sent: Mutex<Vec<(ConnectionId, CloudMessage)>>,
    /// All messages to agents since the start, as they were on the wire.
    wire: Mutex<Vec<String>>,
    closed: Mutex<BTreeSet<ConnectionId>>,
    /// The names of all connections since the start.
    known: Mutex<HashSet<String>>,
    /// The ids of the messages that were in the dispatcher's queue when it was last received from.
    seen: Mutex<HashSet<String>>,
}

impl Out {
    pub(super) fn new(aws: FakeAws) -> Self {
        Self {
            aws,
            sent: Mutex::default(),
            wire: Mutex::default(),
            closed: Mutex::default(),
            known: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Takes the messages that were sent to the dispatcher since its queue was last received from, with
    /// their delays.
    pub(crate) fn take_dispatched(&self) -> Vec<(DispatchMessage, Duration)> {
        let seen = self.seen.lock().unwrap();
        let queue = self.aws.queue(DISPATCH);
        let mut messages = queue.take_all_matching(|message| !seen.contains(&message.id));
        messages.sort_by(|a, b| a.id.cmp(&b.id));
        let delayed = |message: &Message| Duration::from_millis(message.due - message.sent);
        let messages = messages.iter();
        messages.map(|it| (body(it), delayed(it))).collect()
    }

    /// Receives and deletes the next message of the dispatcher's queue that is due.
    pub(super) fn next_dispatched(&self) -> Option<DispatchMessage> {
        let queue = self.aws.queue(DISPATCH);
        let next = queue.receive(1).pop();
        let waiting = queue.peek().into_iter().map(|message| message.id);
        self.seen.lock().unwrap().extend(waiting);
        let next = next?;
        queue.delete(&next.receipt_handle);
        Some(body(&next.message))
    }

    /// Purges the dispatcher's queue.
    pub(super) fn lose_dispatched(&self) {
        self.aws.queue(DISPATCH).purge();
    }

    /// Takes the messages of the notifier's queue, due or not.
    pub(crate) fn take_notified(&self) -> Vec<NotifyMessage> {
        let messages = self.aws.queue(NOTIFICATIONS).take_all_matching(|_| true);
        messages.iter().map(body).collect()
    }

    /// Returns the tasks whose refresh is enqueued in either queue.
    pub(crate) fn to_show(&self) -> Vec<TaskId> {
        let dispatched = self.aws.queue(DISPATCH).peek();
        let by_dispatch = dispatched.iter().filter_map(|message| match body(message) {
            DispatchMessage::AgentQueue { refresh, .. } => refresh,
            _ => None,
        });
        let notified = self.aws.queue(NOTIFICATIONS).peek();
        let directly = notified.iter().filter_map(|message| match body(message) {
            NotifyMessage::Refresh { task_id } => Some(task_id),
            _ => None,
        });
        by_dispatch.chain(directly).collect()
    }

    /// Returns the messages of the queue of bulk operations.
    pub(crate) fn batches(&self) -> Vec<BatchMessage> {
        self.aws.queue(BATCHES).peek().iter().map(body).collect()
    }

    /// Takes the messages of the queue of bulk operations.
    pub(crate) fn take_batches(&self) -> Vec<BatchMessage> {
        let messages = self.aws.queue(BATCHES).take_all_matching(|_| true);
        messages.iter().map(body).collect()
    }

    /// Takes the messages that were sent over connections.
    pub(crate) fn take_sent(&self) -> Vec<(ConnectionId, CloudMessage)> {
        self.receive();
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Returns the messages that were sent over connections and not taken.
    pub(crate) fn sent(&self) -> Vec<(ConnectionId, CloudMessage)> {
        self.receive();
        self.sent.lock().unwrap().clone()
    }

    /// Returns messages that were taken, so that they can be taken again.
    pub(crate) fn put_back(&self, sent: Vec<(ConnectionId, CloudMessage)>) {
        self.sent.lock().unwrap().extend(sent);
    }

    /// Returns all messages that were ever sent over connections, as they were on the wire.
    pub(crate) fn wire(&self) -> Vec<String> {
        self.receive();
        self.wire.lock().unwrap().clone()
    }

    /// Returns the connections that the functions have closed.
    pub(crate) fn closed(&self) -> BTreeSet<ConnectionId> {
        let deleted = self.aws.connections().take_deleted().into_iter();
        let mut closed = self.closed.lock().unwrap();
        closed.extend(deleted.map(|id| id.parse::<ConnectionId>().unwrap()));
        closed.clone()
    }

    /// Opens a connection.
    pub(crate) fn open(&self, connection: &str) {
        self.set(connection, ConnectionState::Open);
    }

    /// Opens the connection of a sender, unless it was open before.
    pub(super) fn speaks(&self, connection: &str) {
        if !self.known.lock().unwrap().contains(connection) {
            self.open(connection);
        }
    }

    /// Closes a connection: a post to it is answered with 410.
    pub(crate) fn gone(&self, connection: &str) {
        self.set(connection, ConnectionState::Gone);
    }

    /// Has posts to a connection answered with 410 although they arrive.
    pub(crate) fn seems_gone(&self, connection: &str) {
        self.set(connection, ConnectionState::GoneButDelivered);
    }

    fn set(&self, connection: &str, state: ConnectionState) {
        self.known.lock().unwrap().insert(connection.to_owned());
        self.aws.connections().set_state(connection, state);
    }

    /// Collects the messages that have arrived at agents.
    fn receive(&self) {
        for (to, posted) in self.aws.connections().take_posts() {
            let text = String::from_utf8(posted).unwrap();
            let (envelope, _) = decode(&text).unwrap();
            let to = to.parse().unwrap();
            self.sent.lock().unwrap().push((to, envelope.message));
            self.wire.lock().unwrap().push(text);
        }
    }
}

fn body<T: DeserializeOwned>(message: &Message) -> T {
    serde_json::from_str(&message.body).unwrap()
}
