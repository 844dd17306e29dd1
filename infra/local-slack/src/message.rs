//! A message, and its JSON in the Web API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::config::Config;
use crate::ts::Ts;

/// The author of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// A person, by user id.
    User(String),
    /// The app's bot.
    Bot,
    /// Slack itself, which posts notes about failures.
    Slackbot,
}

/// The content of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The text, in Slack's mrkdwn.
    pub text: String,
    /// The blocks: an array with at least one.
    pub blocks: Option<Value>,
    /// The metadata: `event_type` and `event_payload`.
    pub metadata: Option<Value>,
}

impl Content {
    /// Returns a content with a text only.
    pub(crate) fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

/// A message of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message's id in its channel, and the time at which it was posted.
    pub ts: Ts,
    /// The first message of the thread, if this message is a reply.
    pub thread: Option<Ts>,
    /// The author.
    pub author: Author,
    /// The content after the last update.
    pub content: Content,
    /// The time of the last update.
    pub edited: Option<Ts>,
    /// The number of updates.
    pub updates: usize,
    /// The replies, if this message is the first of a thread.
    pub replies: BTreeSet<Ts>,
    /// The only user who sees the message, if it is ephemeral. Ephemeral messages are in no history.
    pub only_for: Option<String>,
}

impl Message {
    pub(crate) fn new(ts: Ts, thread: Option<Ts>, author: Author, content: Content) -> Self {
        Self {
            ts,
            thread,
            author,
            content,
            edited: None,
            updates: 0,
            replies: BTreeSet::new(),
            only_for: None,
        }
    }
}

/// Returns a message as JSON of the Web API.
pub(crate) fn render(message: &Message, config: &Config, with_metadata: bool) -> Value {
    let content = &message.content;
    let mut view = json!({ "type": "message", "ts": message.ts, "text": content.text });
    sign(&mut view, message, config);
    if let Some(blocks) = &content.blocks {
        view["blocks"] = blocks.clone();
    }
    if let Some(metadata) = content.metadata.as_ref().filter(|_| with_metadata) {
        view["metadata"] = metadata.clone();
    }
    if let Some(at) = message.edited {
        view["edited"] = json!({ "user": view["user"], "ts": at });
    }
    thread(&mut view, message);
    view
}

fn sign(view: &mut Value, message: &Message, config: &Config) {
    view["team"] = json!(config.team.id);
    let bot = &config.bot;
    match &message.author {
        Author::User(id) => view["user"] = json!(id),
        Author::Slackbot => view["user"] = json!("USLACKBOT"),
        Author::Bot => {
            view["user"] = json!(bot.user_id);
            view["bot_id"] = json!(bot.id);
            view["app_id"] = json!(bot.app_id);
            view["bot_profile"] = json!({ "id": bot.id, "app_id": bot.app_id, "name": bot.name });
        }
    }
}

fn thread(view: &mut Value, message: &Message) {
    if let Some(first) = message.thread {
        view["thread_ts"] = json!(first);
    } else if let Some(latest) = message.replies.last() {
        view["thread_ts"] = json!(message.ts);
        view["reply_count"] = json!(message.replies.len());
        view["latest_reply"] = json!(latest);
    }
}
