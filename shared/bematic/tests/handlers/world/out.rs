//! What the functions send: to queues and to connections.

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
use fake_aws::{FakeAws, Line, Message};
use serde::de::DeserializeOwned;

pub(super) const DISPATCH: &str = "DispatchQueue";
pub(super) const NOTIFICATIONS: &str = "NotificationsQueue";
pub(super) const BATCHES: &str = "BatchQueue";

/// Everything that left for agents and functions.
pub(crate) struct Out {
    aws: FakeAws,
    /// What agents have, and no test has taken.
    sent: Mutex<Vec<(ConnectionId, CloudMessage)>>,
    /// All that was ever sent, as it was on the wire.
    wire: Mutex<Vec<String>>,
    closed: Mutex<BTreeSet<ConnectionId>>,
    /// The connections that there have been.
    known: Mutex<HashSet<String>>,
    /// The messages of the dispatcher's queue that were there when it was worked off last.
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

    /// What was sent to the dispatcher since the last time, or since its queue was worked off, with the
    /// delay.
    pub(crate) fn take_dispatched(&self) -> Vec<(DispatchMessage, Duration)> {
        let seen = self.seen.lock().unwrap();
        let queue = self.aws.queue(DISPATCH);
        let mut messages = queue.take(|message| !seen.contains(&message.id));
        messages.sort_by(|a, b| a.id.cmp(&b.id));
        let delayed = |message: &Message| Duration::from_millis(message.due - message.sent);
        let messages = messages.iter();
        messages.map(|it| (body(it), delayed(it))).collect()
    }

    /// The next message of the dispatcher's queue that is due.
    pub(super) fn next_dispatched(&self) -> Option<DispatchMessage> {
        let queue = self.aws.queue(DISPATCH);
        let next = queue.receive(1).pop();
        let waiting = queue.peek().into_iter().map(|message| message.id);
        self.seen.lock().unwrap().extend(waiting);
        let next = next?;
        queue.delete(&next.receipt_handle);
        Some(body(&next.message))
    }

    /// The dispatcher's queue loses all that is in it.
    pub(super) fn lose_dispatched(&self) {
        self.aws.queue(DISPATCH).purge();
    }

    /// What waits for the notifier, taken whether or not it is due: a refresh waits for 3 s, in which a
    /// test has no interest.
    pub(crate) fn take_notified(&self) -> Vec<NotifyMessage> {
        let messages = self.aws.queue(NOTIFICATIONS).take(|_| true);
        messages.iter().map(body).collect()
    }

    /// The tasks that are to be shown, by way of either queue.
    pub(crate) fn to_show(&self) -> Vec<TaskId> {
        let dispatched = self.aws.queue(DISPATCH).peek();
        let by_drain = dispatched.iter().filter_map(|message| match body(message) {
            DispatchMessage::AgentQueue { refresh, .. } => refresh,
            _ => None,
        });
        let notified = self.aws.queue(NOTIFICATIONS).peek();
        let directly = notified.iter().filter_map(|message| match body(message) {
            NotifyMessage::Refresh { task_id } => Some(task_id),
            _ => None,
        });
        by_drain.chain(directly).collect()
    }

    /// What waits in the queue of bulk work.
    pub(crate) fn batches(&self) -> Vec<BatchMessage> {
        self.aws.queue(BATCHES).peek().iter().map(body).collect()
    }

    /// The same, taken.
    pub(crate) fn take_batches(&self) -> Vec<BatchMessage> {
        let messages = self.aws.queue(BATCHES).take(|_| true);
        messages.iter().map(body).collect()
    }

    /// What was sent over connections since the last time.
    pub(crate) fn take_sent(&self) -> Vec<(ConnectionId, CloudMessage)> {
        self.receive();
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// The same, and it stays.
    pub(crate) fn sent(&self) -> Vec<(ConnectionId, CloudMessage)> {
        self.receive();
        self.sent.lock().unwrap().clone()
    }

    /// Something that was taken is to be taken again.
    pub(crate) fn put_back(&self, sent: Vec<(ConnectionId, CloudMessage)>) {
        self.sent.lock().unwrap().extend(sent);
    }

    /// All that was ever sent over connections, as it was on the wire.
    pub(crate) fn wire(&self) -> Vec<String> {
        self.receive();
        self.wire.lock().unwrap().clone()
    }

    /// The connections that were closed from our side.
    pub(crate) fn closed(&self) -> BTreeSet<ConnectionId> {
        let deleted = self.aws.connections().take_deleted().into_iter();
        let mut closed = self.closed.lock().unwrap();
        closed.extend(deleted.map(|id| id.parse::<ConnectionId>().unwrap()));
        closed.clone()
    }

    /// Somebody connects.
    pub(crate) fn open(&self, connection: &str) {
        self.set(connection, Line::Open);
    }

    /// Somebody speaks: the connection is open, unless it was before and is not any more.
    pub(super) fn speaks(&self, connection: &str) {
        if !self.known.lock().unwrap().contains(connection) {
            self.open(connection);
        }
    }

    /// What is posted to the connection is answered with 410 from now on.
    pub(crate) fn gone(&self, connection: &str) {
        self.set(connection, Line::Gone);
    }

    /// What is posted to the connection is answered with 410 from now on, though it arrives.
    pub(crate) fn seems_gone(&self, connection: &str) {
        self.set(connection, Line::GoneButDelivered);
    }

    fn set(&self, connection: &str, line: Line) {
        self.known.lock().unwrap().insert(connection.to_owned());
        self.aws.connections().set(connection, line);
    }

    /// Looks at what has arrived at agents.
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
