//! What the workspace holds: channels, people, messages. No I/O; the caller brings the time.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::config::{App, Channel, Config, User};
use super::error::Code;
use super::message::{Author, Content, Message, render};
use super::tickets::{Ticket, Tickets};
use super::ts::Ts;

/// Whispers (messages for one person's eyes) that a channel keeps.
const WHISPERS: usize = 100;
/// Changes that a slow page may lag behind before it gets a new snapshot.
const CHANGES: usize = 1_024;
/// Messages of a channel that a page gets when it opens.
const SNAPSHOT: usize = 500;

/// A change that open pages are told of.
pub(super) type Change = Value;

#[derive(Debug, Default)]
struct Timeline {
    messages: BTreeMap<Ts, Message>,
    whispers: VecDeque<Message>,
}

/// Everything the workspace holds.
pub(super) struct Workspace {
    pub(super) app: App,
    pub(super) channels: Vec<Channel>,
    pub(super) users: Vec<User>,
    timelines: HashMap<String, Timeline>,
    pub(super) tickets: Tickets,
    max_messages: usize,
    last: u64,
    changes: broadcast::Sender<Change>,
}

impl Workspace {
    pub(super) fn new(config: &Config) -> Self {
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

    /// What happens from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn tell(&self, change: Change) {
        // Nobody may be looking, which is fine.
        let _ = self.changes.send(change);
    }

    /// A number never given before, close to the time in Unix microseconds.
    pub(super) fn unique(&mut self, now: u64) -> u64 {
        self.last = now.max(self.last + 1);
        self.last
    }

    /// An id never given before, such as `Ev0634F…`.
    pub(super) fn id(&mut self, prefix: &str, now: u64) -> String {
        format!("{prefix}{:014X}", self.unique(now))
    }

    /// A channel by id, or by `#name` as posting allows.
    pub(super) fn channel(&self, id: &str) -> Result<&Channel, Code> {
        let name = id.strip_prefix('#');
        let found = self
            .channels
            .iter()
            .find(|c| c.id == id || Some(c.name.as_str()) == name);
        found.ok_or(Code::ChannelNotFound)
    }

    pub(super) fn user(&self, id: &str) -> Result<&User, Code> {
        self.users
            .iter()
            .find(|user| user.id == id)
            .ok_or(Code::UserNotFound)
    }

    pub(super) fn message(&self, channel: &str, ts: Ts) -> Result<&Message, Code> {
        let timeline = self.timelines.get(channel).ok_or(Code::MessageNotFound)?;
        timeline.messages.get(&ts).ok_or(Code::MessageNotFound)
    }

    /// A message that only one person saw.
    pub(super) fn whisper(&self, channel: &str, ts: Ts) -> Option<&Message> {
        self.timelines
            .get(channel)?
            .whispers
            .iter()
            .find(|whisper| whisper.ts == ts)
    }

    /// All messages of a channel, oldest first.
    pub(super) fn messages(&self, channel: &str) -> impl DoubleEndedIterator<Item = &Message> {
        self.timelines
            .get(channel)
            .into_iter()
            .flat_map(|timeline| timeline.messages.values())
    }

    /// Adds a channel or a person; one with the same id is replaced.
    pub(super) fn add_channel(&mut self, channel: Channel) {
        self.channels.retain(|other| other.id != channel.id);
        self.channels.push(channel);
        self.tell(json!({ "type": "workspace", "channels": self.channels }));
    }

    pub(super) fn add_user(&mut self, user: User) {
        self.users.retain(|other| other.id != user.id);
        self.users.push(user);
        self.tell(json!({ "type": "workspace", "users": self.users }));
    }

    /// Posts to a channel's timeline. A thread's first message must exist and be no reply itself.
    pub(super) fn post(
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

    /// Shows a message to one person only.
    pub(super) fn post_whisper(
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
        let view = self.view(&message);
        let timeline = self.timelines.entry(channel.to_owned()).or_default();
        timeline.whispers.push_back(message);
        if timeline.whispers.len() > WHISPERS {
            timeline.whispers.pop_front();
        }
        self.tell(json!({ "type": "message", "channel": channel, "message": view }));
        ts
    }

    /// Changes a message in place and shows it.
    pub(super) fn change<T>(
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

    /// Replaces what a message, or a whisper, says.
    pub(super) fn rewrite(&mut self, channel: &str, ts: Ts, content: Content, now: u64) {
        if self.whisper(channel, ts).is_none() {
            let at = Ts(self.unique(now));
            self.change(channel, ts, |message| {
                message.content = content;
                message.edited = Some(at);
            });
            return;
        }
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        let whisper = timeline
            .whispers
            .iter_mut()
            .find(|whisper| whisper.ts == ts);
        let Some(whisper) = whisper.map(|whisper| {
            whisper.content = content;
            whisper.clone()
        }) else {
            return;
        };
        let view = self.view(&whisper);
        self.tell(json!({ "type": "message", "channel": channel, "message": view }));
    }

    /// Takes a message, or a whisper, away.
    pub(super) fn remove(&mut self, channel: &str, ts: Ts) {
        let Some(timeline) = self.timelines.get_mut(channel) else {
            return;
        };
        timeline.whispers.retain(|whisper| whisper.ts != ts);
        let removed = timeline.messages.remove(&ts);
        self.tell(json!({ "type": "deleted", "channel": channel, "ts": ts }));
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
            let view = self.view(message);
            self.tell(json!({ "type": "message", "channel": channel, "message": view }));
        }
    }

    /// The message as the page gets it.
    fn view(&self, message: &Message) -> Value {
        let mut view = render(message, &self.app, false);
        if let Some(user) = &message.only_for {
            view["only_for"] = json!(user);
        }
        view
    }

    /// Opens a modal on the pages of a person.
    pub(super) fn open_view(&self, user: &str, view: &Value) {
        self.tell(json!({ "type": "view", "user": user, "view": view }));
    }

    /// All that a page needs to begin with.
    pub(super) fn snapshot(&self) -> Change {
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
            .chain(&timeline.whispers);
        newest.map(|message| self.view(message)).collect()
    }

    /// Issues a ticket, for a `response_url` or as a `trigger_id`.
    pub(super) fn issue(&mut self, prefix: &str, ticket: Ticket, now: u64) -> String {
        let id = self.id(prefix, now);
        self.tickets.add(id.clone(), ticket);
        id
    }
}
