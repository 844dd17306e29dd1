//! The workspace: channels, people and messages. The module does no I/O; the time is passed in.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::config::{App, Channel, Config, User};
use crate::error::Code;
use crate::message::{Author, Content, Message, render};
use crate::tickets::{Ticket, Tickets};
use crate::ts::Ts;

/// The number of ephemeral messages that a channel keeps.
const EPHEMERAL: usize = 100;
/// The number of changes that a slow page may lag behind before it gets a new snapshot.
const CHANGES: usize = 1_024;
/// The number of messages of a channel that a page gets when it opens.
const SNAPSHOT: usize = 500;

/// A change that is published to open pages.
pub(crate) type Change = Value;

#[derive(Debug, Default)]
struct Timeline {
    messages: BTreeMap<Ts, Message>,
    ephemeral: VecDeque<Message>,
}

/// A workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) app: App,
    pub(crate) channels: Vec<Channel>,
    pub(crate) users: Vec<User>,
    timelines: HashMap<String, Timeline>,
    pub(crate) tickets: Tickets,
    max_messages: usize,
    last: u64,
    changes: broadcast::Sender<Change>,
}

impl Workspace {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            app: App {
                team: config.team.clone(),
                bot: config.bot.clone(),
            },
            channels: config.channels.clone(),
            users: config.users.clone(),
            timelines: HashMap::new(),
            tickets: Tickets::default(),
            max_messages: config.max_messages.max(1),
            last: 0,
            changes: broadcast::Sender::new(CHANGES),
        }
    }

    /// Subscribes to later changes.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Publishes a change to the open pages, if there are any.
    fn publish(&self, change: impl FnOnce() -> Change) {
        if self.changes.receiver_count() > 0 {
            // The send fails only if the last page has closed, which needs no change any more.
            let _ = self.changes.send(change());
        }
    }

    /// Publishes a new or changed message.
    fn publish_message(&self, channel: &str, message: &Message) {
        self.publish(|| {
            let view = self.view(message);
            json!({ "type": "message", "channel": channel, "message": view })
        });
    }

    /// Returns a unique number, close to the time in Unix microseconds.
    pub(crate) fn unique(&mut self, now: u64) -> u64 {
        self.last = now.max(self.last + 1);
        self.last
    }

    /// Returns a unique id, such as `Ev0634F…`.
    pub(crate) fn id(&mut self, prefix: &str, now: u64) -> String {
        format!("{prefix}{:014X}", self.unique(now))
    }

    /// Finds a channel by its id, or by `#name`, which Slack allows for posting.
    pub(crate) fn channel(&self, id: &str) -> Result<&Channel, Code> {
        let name = id.strip_prefix('#');
        let found = self
            .channels
            .iter()
            .find(|c| c.id == id || Some(c.name.as_str()) == name);
        found.ok_or(Code::ChannelNotFound)
    }

    pub(crate) fn user(&self, id: &str) -> Result<&User, Code> {
        self.users
            .iter()
            .find(|user| user.id == id)
            .ok_or(Code::UserNotFound)
    }

    pub(crate) fn message(&self, channel: &str, ts: Ts) -> Result<&Message, Code> {
        let timeline = self.timelines.get(channel).ok_or(Code::MessageNotFound)?;
        timeline.messages.get(&ts).ok_or(Code::MessageNotFound)
    }

    /// Returns the newest ephemeral messages of a channel, oldest first.
    pub(crate) fn ephemeral(&self, channel: &str) -> impl Iterator<Item = &Message> {
        self.timelines
            .get(channel)
            .into_iter()
            .flat_map(|timeline| &timeline.ephemeral)
    }

    /// Returns all messages of a channel, oldest first.
    pub(crate) fn messages(&self, channel: &str) -> impl DoubleEndedIterator<Item = &Message> {
        self.timelines
            .get(channel)
            .into_iter()
            .flat_map(|timeline| timeline.messages.values())
    }

    /// Adds a channel; one with the same id is replaced.
    pub(crate) fn add_channel(&mut self, channel: Channel) {
        self.channels.retain(|other| other.id != channel.id);
        self.channels.push(channel);
        self.publish(|| json!({ "type": "workspace", "channels": self.channels }));
    }

    /// Adds a person; one with the same id is replaced.
    pub(crate) fn add_user(&mut self, user: User) {
        self.users.retain(|other| other.id != user.id);
        self.users.push(user);
        self.publish(|| json!({ "type": "workspace", "users": self.users }));
    }

    /// Posts a message to a channel. A thread's first message must exist, and must not be a reply.
    pub(crate) fn post(
        &mut self,
        channel: &str,
        thread: Option<Ts>,
        author: Author,
        content: Content,
        now: u64,
    ) -> Result<Ts, Code> {
        let thread = thread.map(|ts| self.thread(channel, ts)).transpose()?;
        let ts = Ts(self.unique(now));
        let timeline = self.timelines.entry(channel.to_owned()).or_default();
        timeline
            .messages
            .insert(ts, Message::new(ts, thread, author, content));
        self.show(channel, ts);
        if let Some(first) = thread {
            self.change(channel, first, |parent| parent.replies.insert(ts));
        }
        self.forget_oldest(channel);
        Ok(ts)
    }

    fn thread(&self, channel: &str, ts: Ts) -> Result<Ts, Code> {
        match self.message(channel, ts) {
            Ok(Message {
                thread: Some(_), ..
            }) => Err(Code::CannotReplyToMessage),
            Ok(_) => Ok(ts),
            Err(_) => Err(Code::ThreadNotFound),
        }
    }

    /// Posts an ephemeral message to one person.
    pub(crate) fn post_ephemeral(
        &mut self,
        channel: &str,
        user: &str,
        thread: Option<Ts>,
        author: Author,
        content: Content,
        now: u64,
    ) -> Ts {
        let ts = Ts(self.unique(now));
        let mut message = Message::new(ts, thread, author, content);
        message.only_for = Some(user.to_owned());
        self.publish_message(channel, &message);
        let timeline = self.timelines.entry(channel.to_owned()).or_default();
        timeline.ephemeral.push_back(message);
        if timeline.ephemeral.len() > EPHEMERAL {
            timeline.ephemeral.pop_front();
        }
        ts
    }

    /// Changes a message in place and publishes it.
    fn change<T>(
        &mut self,
        channel: &str,
        ts: Ts,
        change: impl FnOnce(&mut Message) -> T,
    ) -> Option<T> {
        let message = self.timelines.get_mut(channel)?.messages.get_mut(&ts)?;
        let outcome = change(message);
        self.show(channel, ts);
        Some(outcome)
    }

    /// Replaces the content of a message, ephemeral or not.
    pub(crate) fn rewrite(&mut self, channel: &str, ts: Ts, content: Content, now: u64) {
        let at = Ts(self.unique(now));
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        let ephemeral = timeline.ephemeral.iter_mut().find(|one| one.ts == ts);
        let Some(message) = ephemeral.or_else(|| timeline.messages.get_mut(&ts)) else {
            return;
        };
        message.content = content;
        message.edited = message.only_for.is_none().then_some(at);
        message.updates += 1;
        let message = message.clone();
        self.publish_message(channel, &message);
    }

    /// Removes a message, ephemeral or not.
    pub(crate) fn remove(&mut self, channel: &str, ts: Ts) {
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        timeline.ephemeral.retain(|one| one.ts != ts);
        let removed = timeline.messages.remove(&ts);
        self.publish(|| json!({ "type": "deleted", "channel": channel, "ts": ts }));
        if let Some(first) = removed.and_then(|message| message.thread) {
            self.change(channel, first, |parent| parent.replies.remove(&ts));
        }
    }

    fn forget_oldest(&mut self, channel: &str) {
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        if timeline.messages.len() <= self.max_messages {
            return;
        }
        let oldest = timeline.messages.keys().next().copied();
        if let Some(oldest) = oldest {
            self.remove(channel, oldest);
        }
    }

    fn show(&self, channel: &str, ts: Ts) {
        if let Ok(message) = self.message(channel, ts) {
            self.publish_message(channel, message);
        }
    }

    /// Returns the message as the page shows it.
    fn view(&self, message: &Message) -> Value {
        let mut view = render(message, &self.app, false);
        if let Some(user) = &message.only_for {
            view["only_for"] = json!(user);
        }
        view
    }

    /// Opens a modal on the pages of a person.
    pub(crate) fn open_view(&self, user: &str, view: &Value) {
        self.publish(|| json!({ "type": "view", "user": user, "view": view }));
    }

    /// Returns the state that a page shows when it opens.
    pub(crate) fn snapshot(&self) -> Change {
        let timelines: HashMap<_, _> = self
            .timelines
            .iter()
            .map(|(id, timeline)| (id, self.newest(timeline)))
            .collect();
        json!({
            "type": "snapshot", "team": self.app.team, "bot": self.app.bot,
            "channels": self.channels, "users": self.users, "messages": timelines,
        })
    }

    fn newest(&self, timeline: &Timeline) -> Vec<Value> {
        let skip = timeline.messages.len().saturating_sub(SNAPSHOT);
        let newest = timeline
            .messages
            .values()
            .skip(skip)
            .chain(&timeline.ephemeral);
        newest.map(|message| self.view(message)).collect()
    }

    /// Issues a ticket, and returns its id for a `response_url` or as a `trigger_id`.
    pub(crate) fn issue(&mut self, prefix: &str, ticket: Ticket, now: u64) -> String {
        let id = self.id(prefix, now);
        self.tickets.add(id.clone(), ticket);
        id
    }
}
