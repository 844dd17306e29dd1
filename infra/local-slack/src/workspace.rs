//! The workspace: channels, people, messages and interactions. The module does no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::config::{
    APP_ID, BOT_ID, BOT_NAME, BOT_USER_ID, Channel, Config, TEAM_DOMAIN, TEAM_ID, TEAM_NAME, User,
};
use crate::error::Code;
use crate::message::{Author, Content, Message};
use crate::ts::Ts;

/// The number of ephemeral messages that a channel keeps.
const MAX_EPHEMERAL_MESSAGES: usize = 100;
/// The number of changes that a slow page may lag behind before it gets a new snapshot.
const CHANGE_BUFFER_SIZE: usize = 1_024;
/// The number of messages of a channel that a page gets when it opens.
const MAX_SNAPSHOT_MESSAGES: usize = 500;
/// The number of interactions that are kept.
const MAX_INTERACTIONS: usize = 1_000;
/// Slack's limit of posts to one `response_url`.
const MAX_RESPONSE_URL_POSTS: u8 = 5;
/// How long a `response_url` is valid, in seconds.
const RESPONSE_URL_LIFETIME_SECS: u64 = 30 * 60;
/// How long a `trigger_id` is valid, in seconds.
const TRIGGER_LIFETIME_SECS: u64 = 3;

/// A person who acts in a channel.
#[derive(Debug, Clone)]
pub(crate) struct UserInChannel {
    pub(crate) channel: Channel,
    pub(crate) user: User,
}

/// An interaction of a person with the app, to which the app may respond.
#[derive(Debug, Clone)]
pub(crate) struct Interaction {
    pub(crate) actor: UserInChannel,
    /// The message whose button was pressed, if that was the interaction.
    pub(crate) message: Option<Ts>,
    /// The time of the interaction, in Unix seconds.
    at: u64,
    /// The number of responses so far.
    responses: u8,
}

/// A workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) config: Arc<Config>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) users: Vec<User>,
    /// The address of the app's webhook.
    pub(crate) webhook: Option<String>,
    /// The messages by channel, ephemeral ones too.
    messages: HashMap<String, BTreeMap<Ts, Message>>,
    /// The newest interactions, by `trigger_id` or by the end of the `response_url`.
    interactions: VecDeque<(String, Interaction)>,
    last_unique: u64,
    /// The changes that open pages show.
    pub(crate) changes: broadcast::Sender<Value>,
}

impl Workspace {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            channels: config.channels.clone(),
            users: config.users.clone(),
            webhook: None,
            messages: HashMap::new(),
            interactions: VecDeque::new(),
            last_unique: 0,
            changes: broadcast::Sender::new(CHANGE_BUFFER_SIZE),
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

    fn publish_message(&self, channel: &str, message: &Message) {
        let message = || message.json(false);
        self.publish(|| json!({ "type": "message", "channel": channel, "message": message() }));
    }

    /// Returns a unique number, close to the time in Unix microseconds.
    pub(crate) fn next_unique_micros(&mut self) -> u64 {
        self.last_unique = self.config.clock.micros().max(self.last_unique + 1);
        self.last_unique
    }

    /// Returns a unique id, such as `Ev0634F…`.
    pub(crate) fn next_unique_id(&mut self, prefix: &str) -> String {
        format!("{prefix}{:014X}", self.next_unique_micros())
    }

    /// Gives an id to every block that has none, as Slack does.
    pub(crate) fn assign_block_ids(&mut self, blocks: &mut Value) {
        for block in blocks.as_array_mut().into_iter().flatten() {
            if block["block_id"].is_null() {
                block["block_id"] = json!(self.next_unique_id("b"));
            }
        }
    }

    /// Finds a channel by its id, or by `#name`, which Slack allows for posting.
    pub(crate) fn channel(&self, id: &str) -> Result<&Channel, Code> {
        let name = id.strip_prefix('#');
        let mut channels = self.channels.iter();
        let found = channels.find(|c| c.id == id || Some(c.name.as_str()) == name);
        found.ok_or("channel_not_found")
    }

    /// Finds a channel that the bot is a member of.
    pub(crate) fn joined_channel(&self, id: &str) -> Result<&Channel, Code> {
        let channel = self.channel(id)?;
        channel.has_bot.then_some(channel).ok_or("not_in_channel")
    }

    pub(crate) fn user(&self, id: &str) -> Result<&User, Code> {
        let found = self.users.iter().find(|user| user.id == id);
        found.ok_or("user_not_found")
    }

    /// Finds a channel and a person by id; the first of each if none is named.
    pub(crate) fn actor(
        &self,
        channel: Option<&str>,
        user: Option<&str>,
    ) -> Result<UserInChannel, Code> {
        let channel = match channel {
            Some(id) => self.channel(id)?,
            None => self.channels.first().ok_or("channel_not_found")?,
        };
        let user = match user {
            Some(id) => self.user(id)?,
            None => self.users.first().ok_or("user_not_found")?,
        };
        Ok(UserInChannel {
            channel: channel.clone(),
            user: user.clone(),
        })
    }

    /// Finds a message that is not ephemeral.
    pub(crate) fn find_non_ephemeral_message(
        &self,
        channel: &str,
        ts: Ts,
    ) -> Result<&Message, Code> {
        let found = self.find_including_ephemeral(channel, ts)?;
        let for_all = found.only_for.is_none();
        for_all.then_some(found).ok_or("message_not_found")
    }

    /// Finds a message, ephemeral or not.
    pub(crate) fn find_including_ephemeral(&self, channel: &str, ts: Ts) -> Result<&Message, Code> {
        let found = self.messages.get(channel).and_then(|all| all.get(&ts));
        found.ok_or("message_not_found")
    }

    /// Returns the messages of a channel, oldest first: either those that are ephemeral or the
    /// others.
    pub(crate) fn messages(
        &self,
        channel: &str,
        ephemeral: bool,
    ) -> impl DoubleEndedIterator<Item = &Message> {
        let messages = self.messages.get(channel).into_iter();
        messages
            .flat_map(BTreeMap::values)
            .filter(move |message| message.only_for.is_some() == ephemeral)
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
            let parent = self.find_non_ephemeral_message(channel, first);
            if parent.map_err(|_| "thread_not_found")?.thread.is_some() {
                return Err("cannot_reply_to_message");
            }
        }
        let ts = self.add_message(channel, None, thread, author, content);
        if let Some(first) = thread {
            self.change_message(channel, first, |parent| _ = parent.replies.insert(ts));
        }
        Ok(ts)
    }

    /// Adds a message, ephemeral if it is only for one person. The oldest of its kind is removed if
    /// there are too many.
    pub(crate) fn add_message(
        &mut self,
        channel: &str,
        only_for: Option<&str>,
        thread: Option<Ts>,
        author: Author,
        content: Content,
    ) -> Ts {
        let ephemeral = only_for.is_some();
        let message = Message {
            ts: Ts(self.next_unique_micros()),
            thread,
            author,
            content,
            edited: None,
            updates: 0,
            replies: BTreeSet::new(),
            only_for: only_for.map(str::to_owned),
        };
        let ts = message.ts;
        self.publish_message(channel, &message);
        let messages = self.messages.entry(channel.to_owned());
        messages.or_default().insert(ts, message);
        let most = if ephemeral {
            MAX_EPHEMERAL_MESSAGES
        } else {
            self.config.max_messages.max(1)
        };
        let oldest = self.messages(channel, ephemeral).rev().nth(most);
        if let Some(oldest) = oldest.map(|message| message.ts) {
            self.remove(channel, oldest);
        }
        ts
    }

    /// Posts a note about a failure to one person, from Slackbot.
    pub(crate) fn post_note(&mut self, to: &UserInChannel, thread: Option<Ts>, text: &str) -> Ts {
        let (channel, only_for) = (&to.channel.id, Some(&*to.user.id));
        let note = Content::plain(text);
        self.add_message(channel, only_for, thread, Author::Slackbot, note)
    }

    /// Changes a message in place, ephemeral or not, and publishes it.
    fn change_message(&mut self, channel: &str, ts: Ts, change: impl FnOnce(&mut Message)) {
        let messages = self.messages.get_mut(channel);
        if let Some(message) = messages.and_then(|all| all.get_mut(&ts)) {
            change(message);
        }
        if let Ok(message) = self.find_including_ephemeral(channel, ts) {
            self.publish_message(channel, message);
        }
    }

    /// Replaces the content of a message, ephemeral or not.
    pub(crate) fn replace_content(&mut self, channel: &str, ts: Ts, content: Content) {
        let at = Ts(self.next_unique_micros());
        self.change_message(channel, ts, |message| {
            message.content = content;
            message.edited = message.only_for.is_none().then_some(at);
            message.updates += 1;
        });
    }

    /// Removes a message, ephemeral or not.
    pub(crate) fn remove(&mut self, channel: &str, ts: Ts) {
        let messages = self.messages.get_mut(channel);
        let removed = messages.and_then(|all| all.remove(&ts));
        self.publish(|| json!({ "type": "deleted", "channel": channel, "ts": ts }));
        if let Some(first) = removed.and_then(|message| message.thread) {
            self.change_message(channel, first, |parent| _ = parent.replies.remove(&ts));
        }
    }

    /// Returns the state that a page shows when it opens.
    pub(crate) fn page_snapshot(&self) -> Value {
        let newest = |channel: &String| -> Vec<_> {
            let messages = self
                .messages(channel, false)
                .rev()
                .take(MAX_SNAPSHOT_MESSAGES);
            let shown = messages.chain(self.messages(channel, true));
            shown.map(|message| message.json(false)).collect()
        };
        let channels = self.messages.keys();
        let messages: HashMap<_, _> = channels.map(|id| (id, newest(id))).collect();
        json!({
            "type": "snapshot", "channels": self.channels, "users": self.users, "messages": messages,
            "team": { "id": TEAM_ID, "name": TEAM_NAME, "domain": TEAM_DOMAIN },
            "bot": { "id": BOT_ID, "user_id": BOT_USER_ID, "name": BOT_NAME, "app_id": APP_ID },
        })
    }

    /// Keeps an interaction, and returns its id for a `response_url` or as a `trigger_id`.
    pub(crate) fn add_interaction(
        &mut self,
        prefix: &str,
        actor: &UserInChannel,
        message: Option<Ts>,
    ) -> String {
        let interaction = Interaction {
            actor: actor.clone(),
            message,
            at: self.config.clock.secs(),
            responses: 0,
        };
        let id = self.next_unique_id(prefix);
        self.interactions.push_back((id.clone(), interaction));
        if self.interactions.len() > MAX_INTERACTIONS {
            self.interactions.pop_front();
        }
        id
    }

    /// Uses a `response_url` once more.
    pub(crate) fn use_response_url(&mut self, id: &str) -> Result<Interaction, Code> {
        let now = self.config.clock.secs();
        let found = self.interactions.iter_mut().find(|(known, _)| known == id);
        let (_, interaction) = found.ok_or("expired_url")?;
        if now > interaction.at + RESPONSE_URL_LIFETIME_SECS {
            return Err("expired_url");
        }
        if interaction.responses >= MAX_RESPONSE_URL_POSTS {
            return Err("used_url");
        }
        interaction.responses += 1;
        Ok(interaction.clone())
    }

    /// Uses a `trigger_id`, which opens one modal, of the returned user.
    pub(crate) fn use_trigger(&mut self, id: &str) -> Result<String, Code> {
        let at = self.interactions.iter().position(|(known, _)| known == id);
        let found = at.and_then(|at| self.interactions.remove(at));
        let (_, interaction) = found.ok_or("invalid_trigger_id")?;
        if self.config.clock.secs() > interaction.at + TRIGGER_LIFETIME_SECS {
            return Err("expired_trigger_id");
        }
        Ok(interaction.actor.user.id)
    }
}
