//! A message, and how Slack shows it to a caller.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::config::App;
use super::ts::Ts;

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Author {
    /// A person, by user id.
    User(String),
    /// The app's bot.
    Bot,
    /// Slack itself, telling what went wrong.
    Slackbot,
}

/// What a message says.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) blocks: Option<Value>,
    pub(super) metadata: Option<Value>,
}

/// A message of a channel's timeline.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) ts: Ts,
    /// The thread's first message; for that one itself, nothing.
    pub(super) thread: Option<Ts>,
    pub(super) author: Author,
    pub(super) content: Content,
    pub(super) edited: Option<Ts>,
    /// The replies, if it is a thread's first message.
    pub(super) replies: BTreeSet<Ts>,
    /// Only this user sees it, and no history has it.
    pub(super) only_for: Option<String>,
}

impl Message {
    pub(super) fn new(ts: Ts, thread: Option<Ts>, author: Author, content: Content) -> Self {
        let replies = BTreeSet::new();
        Self {
            ts,
            thread,
            author,
            content,
            edited: None,
            replies,
            only_for: None,
        }
    }
}

/// The message as the Web API gives it.
pub(super) fn render(message: &Message, app: &App, with_metadata: bool) -> Value {
    let content = &message.content;
    let mut view = json!({ "type": "message", "ts": message.ts, "text": content.text });
    sign(&mut view, message, app);
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

fn sign(view: &mut Value, message: &Message, app: &App) {
    view["team"] = json!(app.team.id);
    let bot = &app.bot;
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
