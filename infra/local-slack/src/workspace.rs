//! The workspace: channels, people and messages. The module does no I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::config::{Channel, Config, User};
use crate::error::Code;
use crate::message::{Author, Content, Message, render};
use crate::place::{Place, Ticket};
use crate::ts::Ts;

/// The number of ephemeral messages that a channel keeps.
const EPHEMERAL: usize = 100;
/// The number of changes that a slow page may lag behind before it gets a new snapshot.
const CHANGES: usize = 1_024;
/// The number of messages of a channel that a page gets when it opens.
const SNAPSHOT: usize = 500;

#[derive(Debug, Default)]
struct Timeline {
    messages: BTreeMap<Ts, Message>,
    ephemeral: BTreeMap<Ts, Message>,
}

/// A workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) config: Arc<Config>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) users: Vec<User>,
    timelines: HashMap<String, Timeline>,
    /// The newest tickets, by id.
    pub(crate) tickets: VecDeque<(String, Ticket)>,
    last: u64,
    /// The changes that open pages show.
    pub(crate) changes: broadcast::Sender<Value>,
}

impl Workspace {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            channels: config.channels.clone(),
            users: config.users.clone(),
            timelines: HashMap::new(),
            tickets: VecDeque::new(),
            last: 0,
            changes: broadcast::Sender::new(CHANGES),
            config,
        }
    }

    /// Publishes a change to the open pages, if there are any.
    pub(crate) fn publish(&self, change: impl FnOnce() -> Value) {
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
    pub(crate) fn unique(&mut self) -> u64 {
        self.last = self.config.clock.micros().max(self.last + 1);
        self.last
    }

    /// Returns a unique id, such as `Ev0634F…`.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}{:014X}", self.unique())
    }

    /// Finds a channel by its id, or by `#name`, which Slack allows for posting.
    pub(crate) fn channel(&self, id: &str) -> Result<&Channel, Code> {
        let name = id.strip_prefix('#');
        let mut channels = self.channels.iter();
        let found = channels.find(|c| c.id == id || Some(c.name.as_str()) == name);
        found.ok_or(Code::ChannelNotFound)
    }

    /// Finds a channel that the bot is a member of.
    pub(crate) fn joined_channel(&self, id: &str) -> Result<&Channel, Code> {
        let channel = self.channel(id)?;
        channel.has_bot.then_some(channel).ok_or(Code::NotInChannel)
    }

    pub(crate) fn user(&self, id: &str) -> Result<&User, Code> {
        let found = self.users.iter().find(|user| user.id == id);
        found.ok_or(Code::UserNotFound)
    }

    /// Finds a channel and a person by id; the first of each if none is named.
    pub(crate) fn place(&self, channel: Option<&str>, user: Option<&str>) -> Result<Place, Code> {
        let channel = match channel {
            Some(id) => self.channel(id)?,
            None => self.channels.first().ok_or(Code::ChannelNotFound)?,
        };
        let user = match user {
            Some(id) => self.user(id)?,
            None => self.users.first().ok_or(Code::UserNotFound)?,
        };
        Ok(Place {
            channel: channel.clone(),
            user: user.clone(),
        })
    }

    /// Finds a message that is not ephemeral.
    pub(crate) fn message(&self, channel: &str, ts: Ts) -> Result<&Message, Code> {
        let found = self.message_or_ephemeral(channel, ts)?;
        let is_ephemeral = found.only_for.is_some();
        (!is_ephemeral)
            .then_some(found)
            .ok_or(Code::MessageNotFound)
    }

    pub(crate) fn message_or_ephemeral(&self, channel: &str, ts: Ts) -> Result<&Message, Code> {
        let timeline = self.timelines.get(channel).ok_or(Code::MessageNotFound)?;
        let message = timeline.messages.get(&ts);
        let found = message.or_else(|| timeline.ephemeral.get(&ts));
        found.ok_or(Code::MessageNotFound)
    }

    /// Returns the newest ephemeral messages of a channel, oldest first.
    pub(crate) fn ephemeral(&self, channel: &str) -> impl Iterator<Item = &Message> {
        let timeline = self.timelines.get(channel).into_iter();
        timeline.flat_map(|timeline| timeline.ephemeral.values())
    }

    /// Returns all messages of a channel, oldest first.
    pub(crate) fn messages(&self, channel: &str) -> impl DoubleEndedIterator<Item = &Message> {
        let timeline = self.timelines.get(channel).into_iter();
        timeline.flat_map(|timeline| timeline.messages.values())
    }

    /// Returns a thread's first message and its replies, oldest first.
    pub(crate) fn thread(&self, channel: &str, first: Ts) -> impl Iterator<Item = &Message> {
        let messages = self.messages(channel);
        messages.filter(move |one| one.ts == first || one.thread == Some(first))
    }

    /// Posts a message to a channel. A thread's first message must exist, and must not be a reply.
    pub(crate) fn post(
        &mut self,
        channel: &str,
        thread: Option<Ts>,
        author: Author,
        content: Content,
    ) -> Result<Ts, Code> {
        if let Some(first) = thread {
            let parent = self.message(channel, first);
            let parent = parent.map_err(|_| Code::ThreadNotFound)?;
            if parent.thread.is_some() {
                return Err(Code::CannotReplyToMessage);
            }
        }
        let ts = Ts(self.unique());
        let message = Message::new(ts, thread, author, content);
        self.publish_message(channel, &message);
        let messages = &mut self
            .timelines
            .entry(channel.to_owned())
            .or_default()
            .messages;
        messages.insert(ts, message);
        let is_full = messages.len() > self.config.max_messages.max(1);
        let oldest = messages.keys().next().copied().filter(|_| is_full);
        if let Some(first) = thread {
            self.change(channel, first, |parent| _ = parent.replies.insert(ts));
        }
        if let Some(oldest) = oldest {
            self.remove(channel, oldest);
        }
        Ok(ts)
    }

    /// Posts an ephemeral message to one person.
    pub(crate) fn post_ephemeral(
        &mut self,
        channel: &str,
        user: &str,
        thread: Option<Ts>,
        author: Author,
        content: Content,
    ) -> Ts {
        let ts = Ts(self.unique());
        let mut message = Message::new(ts, thread, author, content);
        message.only_for = Some(user.to_owned());
        self.publish_message(channel, &message);
        let timeline = self.timelines.entry(channel.to_owned()).or_default();
        timeline.ephemeral.insert(ts, message);
        if timeline.ephemeral.len() > EPHEMERAL {
            timeline.ephemeral.pop_first();
        }
        ts
    }

    /// Posts a note about a failure to one person, from Slackbot.
    pub(crate) fn post_note(&mut self, place: &Place, thread: Option<Ts>, text: &str) -> Ts {
        let (channel, user) = (&place.channel.id, &place.user.id);
        self.post_ephemeral(
            channel,
            user,
            thread,
            Author::Slackbot,
            Content::plain(text),
        )
    }

    /// Changes a message in place, ephemeral or not, and publishes it.
    fn change(&mut self, channel: &str, ts: Ts, change: impl FnOnce(&mut Message)) {
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        let message = timeline.messages.get_mut(&ts);
        if let Some(message) = message.or_else(|| timeline.ephemeral.get_mut(&ts)) {
            change(message);
        }
        if let Ok(message) = self.message_or_ephemeral(channel, ts) {
            self.publish_message(channel, message);
        }
    }

    /// Replaces the content of a message, ephemeral or not.
    pub(crate) fn rewrite(&mut self, channel: &str, ts: Ts, content: Content) {
        let at = Ts(self.unique());
        self.change(channel, ts, |message| {
            message.content = content;
            message.edited = message.only_for.is_none().then_some(at);
            message.updates += 1;
        });
    }

    /// Removes a message, ephemeral or not.
    pub(crate) fn remove(&mut self, channel: &str, ts: Ts) {
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        timeline.ephemeral.remove(&ts);
        let removed = timeline.messages.remove(&ts);
        self.publish(|| json!({ "type": "deleted", "channel": channel, "ts": ts }));
        if let Some(first) = removed.and_then(|message| message.thread) {
            self.change(channel, first, |parent| _ = parent.replies.remove(&ts));
        }
    }

    /// Returns the message as the page shows it.
    fn view(&self, message: &Message) -> Value {
        let mut view = render(message, &self.config, false);
        if let Some(user) = &message.only_for {
            view["only_for"] = json!(user);
        }
        view
    }

    /// Returns the state that a page shows when it opens.
    pub(crate) fn snapshot(&self) -> Value {
        let newest = |timeline: &Timeline| -> Vec<_> {
            let skipped = timeline.messages.len().saturating_sub(SNAPSHOT);
            let messages = timeline.messages.values().skip(skipped);
            let shown = messages.chain(timeline.ephemeral.values());
            shown.map(|message| self.view(message)).collect()
        };
        let timelines = self.timelines.iter();
        let messages: HashMap<_, _> = timelines.map(|(id, one)| (id, newest(one))).collect();
        json!({
            "type": "snapshot", "team": self.config.team, "bot": self.config.bot,
            "channels": self.channels, "users": self.users, "messages": messages,
        })
    }
}
