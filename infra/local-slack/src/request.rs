//! The signed requests that Slack sends to an app: for the local Slack, and for tests and tools that
//! send requests themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::sign::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

/// The content type of slash commands and interactions.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// The content type of events.
pub const JSON: &str = "application/json";

/// A signed request to the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The path below the webhook's address.
    pub path: &'static str,
    /// The headers, by name in lower case.
    pub headers: BTreeMap<&'static str, String>,
    /// The body.
    pub body: String,
}

impl SignedRequest {
    /// Signs a request at `timestamp` (Unix seconds); the content type is [`FORM`] or [`JSON`].
    pub fn new(
        secret: &str,
        timestamp: u64,
        path: &'static str,
        content_type: &str,
        body: String,
    ) -> Self {
        let headers = BTreeMap::from([
            ("content-type", content_type.to_owned()),
            (TIMESTAMP_HEADER, timestamp.to_string()),
            (SIGNATURE_HEADER, sign(secret, timestamp, body.as_bytes())),
        ]);
        Self {
            path,
            headers,
            body,
        }
    }
}

/// A slash command. [`SlashCommand::new`] sets defaults, which can be changed field by field.
#[derive(Debug, Clone)]
pub struct SlashCommand<'a> {
    /// The workspace's id, `T…`.
    pub team_id: &'a str,
    /// The workspace's subdomain.
    pub team_domain: &'a str,
    /// The app's id, `A…`.
    pub app_id: &'a str,
    /// The channel's id, `C…`.
    pub channel_id: &'a str,
    /// The channel's name, without the `#`.
    pub channel_name: &'a str,
    /// The person's id, `U…`.
    pub user_id: &'a str,
    /// The person's handle.
    pub user_name: &'a str,
    /// The command, with its slash.
    pub command: &'a str,
    /// The text after the command.
    pub text: &'a str,
    /// The address for later responses.
    pub response_url: &'a str,
    /// The id with which the app may open a modal; unique for each command.
    pub trigger_id: &'a str,
}

impl<'a> SlashCommand<'a> {
    /// Returns the command `/bm {text}` in the workspace of [`Config::new`](crate::Config::new).
    pub const fn new(
        channel_id: &'a str,
        user_id: &'a str,
        text: &'a str,
        trigger_id: &'a str,
    ) -> Self {
        Self {
            team_id: "T0BEMATIC",
            team_domain: "bematic-local",
            app_id: "A0BEMATIC",
            channel_id,
            channel_name: "engineering",
            user_id,
            user_name: "ada",
            command: "/bm",
            text,
            response_url: "https://hooks.slack.com/commands/T0BEMATIC/1/x",
            trigger_id,
        }
    }

    /// Returns the command as a request, signed at `timestamp` (Unix seconds).
    pub fn signed(&self, secret: &str, timestamp: u64) -> SignedRequest {
        let body = Serializer::new(String::new())
            .append_pair("token", "local")
            .append_pair("team_id", self.team_id)
            .append_pair("team_domain", self.team_domain)
            .append_pair("channel_id", self.channel_id)
            .append_pair("channel_name", self.channel_name)
            .append_pair("user_id", self.user_id)
            .append_pair("user_name", self.user_name)
            .append_pair("command", self.command)
            .append_pair("text", self.text)
            .append_pair("api_app_id", self.app_id)
            .append_pair("is_enterprise_install", "false")
            .append_pair("response_url", self.response_url)
            .append_pair("trigger_id", self.trigger_id)
            .finish();
        SignedRequest::new(secret, timestamp, "/slack/commands", FORM, body)
    }
}

/// An event that the bot was mentioned. [`Mention::new`] sets defaults, which can be changed field
/// by field.
#[derive(Debug, Clone)]
pub struct Mention<'a> {
    /// The workspace's id, `T…`.
    pub team_id: &'a str,
    /// The app's id, `A…`.
    pub app_id: &'a str,
    /// The id of the bot's user, `U…`.
    pub bot_user_id: &'a str,
    /// The channel's id, `C…`.
    pub channel_id: &'a str,
    /// The person's id, `U…`.
    pub user_id: &'a str,
    /// The message in Slack's mrkdwn, `<@U…>` included.
    pub text: &'a str,
    /// The message's `ts`.
    pub ts: &'a str,
    /// The `ts` of the thread's first message, if the mention is a reply.
    pub thread_ts: Option<&'a str>,
    /// The event's id, which is the same in retries.
    pub event_id: &'a str,
}

impl<'a> Mention<'a> {
    /// Returns a mention in the workspace of [`Config::new`](crate::Config::new).
    pub const fn new(
        channel_id: &'a str,
        user_id: &'a str,
        text: &'a str,
        ts: &'a str,
        event_id: &'a str,
    ) -> Self {
        Self {
            team_id: "T0BEMATIC",
            app_id: "A0BEMATIC",
            bot_user_id: "U0BEMATIC",
            channel_id,
            user_id,
            text,
            ts,
            thread_ts: None,
            event_id,
        }
    }

    /// Returns the event's body, with the time `event_time` (Unix seconds).
    pub fn body(&self, event_time: u64) -> Value {
        let mut event = json!({
            "type": "app_mention", "user": self.user_id, "text": self.text, "ts": self.ts,
            "team": self.team_id, "channel": self.channel_id, "event_ts": self.ts,
        });
        if let Some(thread) = self.thread_ts {
            event["thread_ts"] = json!(thread);
        }
        json!({
            "token": "local", "team_id": self.team_id, "api_app_id": self.app_id,
            "event": event, "type": "event_callback",
            "event_id": self.event_id, "event_time": event_time,
            "authorizations": [{
                "enterprise_id": null, "team_id": self.team_id, "user_id": self.bot_user_id,
                "is_bot": true, "is_enterprise_install": false,
            }],
            "is_ext_shared_channel": false,
        })
    }

    /// Returns the mention as a request, signed at `timestamp` (Unix seconds).
    pub fn signed(&self, secret: &str, timestamp: u64) -> SignedRequest {
        let body = self.body(timestamp).to_string();
        SignedRequest::new(secret, timestamp, EVENTS, JSON, body)
    }
}

/// The path for events, below the webhook's address.
pub(crate) const EVENTS: &str = "/slack/events";
