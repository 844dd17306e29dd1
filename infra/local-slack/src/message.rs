//! A message, and its JSON in the Web API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::config::{APP_ID, BOT_ID, BOT_NAME, BOT_USER_ID, TEAM_ID};
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
    /// Returns the message as JSON of the Web API, which has no ephemeral ones, and of the page.
    pub(crate) fn json(&self, with_metadata: bool) -> Value {
        let content = &self.content;
        let user = match &self.author {
            Author::User(id) => id,
            Author::Slackbot => "USLACKBOT",
            Author::Bot => BOT_USER_ID,
        };
        let mut view = json!({
            "type": "message", "ts": self.ts, "text": content.text, "team": TEAM_ID, "user": user,
        });
        if self.author == Author::Bot {
            view["bot_id"] = json!(BOT_ID);
            view["app_id"] = json!(APP_ID);
            view["bot_profile"] = json!({ "id": BOT_ID, "app_id": APP_ID, "name": BOT_NAME });
        }
        if let Some(blocks) = &content.blocks {
            view["blocks"] = blocks.clone();
        }
        if let Some(metadata) = content.metadata.as_ref().filter(|_| with_metadata) {
            view["metadata"] = metadata.clone();
        }
        if let Some(at) = self.edited {
            view["edited"] = json!({ "user": user, "ts": at });
        }
        if let Some(user) = &self.only_for {
            view["only_for"] = json!(user);
        }
        if let Some(first) = self.thread {
            view["thread_ts"] = json!(first);
        } else if let Some(latest) = self.replies.last() {
            view["thread_ts"] = json!(self.ts);
            view["reply_count"] = json!(self.replies.len());
            view["latest_reply"] = json!(latest);
        }
        view
    }
}
