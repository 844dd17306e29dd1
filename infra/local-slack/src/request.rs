//! The signed requests that Slack sends to an app: for the local Slack, and for tests and tools that
//! send requests themselves.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::form_urlencoded::Serializer;

use crate::config::{APP_ID, BOT_USER_ID, SLASH_COMMAND, TEAM_DOMAIN, TEAM_ID};

/// The header with the time at which the request was signed, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "x-slack-request-timestamp";
/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "x-slack-signature";
// Paths below the webhook's address.
pub(crate) const COMMANDS_PATH: &str = "/slack/commands";
pub(crate) const EVENTS_PATH: &str = "/slack/events";
pub(crate) const INTERACTIONS_PATH: &str = "/slack/interactions";

/// Returns the value of [`SIGNATURE_HEADER`] for the raw `body` sent at `timestamp` (Unix seconds):
/// `v0=` and the hex HMAC-SHA256 of `v0:{timestamp}:{body}` under the app's signing secret.
#[expect(clippy::expect_used, reason = "HMAC accepts a key of any length")]
pub(crate) fn sign(secret: &str, timestamp: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

/// A signed request to the app.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// The path below the webhook's address.
    pub path: &'static str,
    /// The headers, by name in lower case.
    pub headers: BTreeMap<&'static str, String>,
    /// The body.
    pub body: String,
}

impl SignedRequest {
    /// Signs a request at `timestamp` (Unix seconds).
    pub(crate) fn new(secret: &str, timestamp: u64, path: &'static str, body: String) -> Self {
        let content_type = if path == EVENTS_PATH {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let headers = BTreeMap::from([
            ("content-type", content_type.to_owned()),
            (TIMESTAMP_HEADER, timestamp.to_string()),
            (SIGNATURE_HEADER, sign(secret, timestamp, &body)),
        ]);
        Self {
            path,
            headers,
            body,
        }
    }
}

/// A slash command.
#[derive(Debug, Clone)]
pub struct SlashCommand<'a> {
    pub(crate) channel_id: &'a str,
    pub(crate) channel_name: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) user_name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) response_url: &'a str,
    pub(crate) trigger_id: &'a str,
}

impl<'a> SlashCommand<'a> {
    /// Returns the command `/bm {text}`; the `trigger_id` is unique for each command.
    pub const fn new(
        channel_id: &'a str,
        user_id: &'a str,
        text: &'a str,
        trigger_id: &'a str,
    ) -> Self {
        Self {
            channel_id,
            channel_name: "engineering",
            user_id,
            user_name: "ada",
            text,
            response_url: "https://hooks.slack.com/commands/T0BEMATIC/1/x",
            trigger_id,
        }
    }

    pub(crate) fn body(&self) -> String {
        let fields = [
            ("token", "local"),
            ("team_id", TEAM_ID),
            ("team_domain", TEAM_DOMAIN),
            ("channel_id", self.channel_id),
            ("channel_name", self.channel_name),
            ("user_id", self.user_id),
            ("user_name", self.user_name),
            ("command", SLASH_COMMAND),
            ("text", self.text),
            ("api_app_id", APP_ID),
            ("is_enterprise_install", "false"),
            ("response_url", self.response_url),
            ("trigger_id", self.trigger_id),
        ];
        encode_form(fields)
    }

    /// Returns the command as a request, signed at `timestamp` (Unix seconds).
    pub fn signed_request(&self, secret: &str, timestamp: u64) -> SignedRequest {
        SignedRequest::new(secret, timestamp, COMMANDS_PATH, self.body())
    }
}

/// Returns the body of a form.
pub(crate) fn encode_form<const N: usize>(fields: [(&str, &str); N]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// An event that the bot was mentioned.
#[derive(Debug, Clone)]
pub struct Mention<'a> {
    channel_id: &'a str,
    user_id: &'a str,
    text: &'a str,
    ts: &'a str,
    /// The `ts` of the thread's first message, if the mention is a reply.
    pub(crate) thread_ts: Option<&'a str>,
    event_id: &'a str,
}

impl<'a> Mention<'a> {
    /// Returns a mention in the message `ts`, outside of threads. `text` is mrkdwn and includes the
    /// mention; `event_id` is the same in retries.
    pub const fn new(
        channel_id: &'a str,
        user_id: &'a str,
        text: &'a str,
        ts: &'a str,
        event_id: &'a str,
    ) -> Self {
        Self {
            channel_id,
            user_id,
            text,
            ts,
            thread_ts: None,
            event_id,
        }
    }

    /// Returns the event's body, with the time `event_time` (Unix seconds).
    pub(crate) fn body(&self, event_time: u64) -> Value {
        let mut event = json!({
            "type": "app_mention", "user": self.user_id, "text": self.text, "ts": self.ts,
            "team": TEAM_ID, "channel": self.channel_id, "event_ts": self.ts,
        });
        if let Some(thread) = self.thread_ts {
            event["thread_ts"] = json!(thread);
        }
        json!({
            "token": "local", "team_id": TEAM_ID, "api_app_id": APP_ID,
            "event": event, "type": "event_callback",
            "event_id": self.event_id, "event_time": event_time,
            "authorizations": [{
                "enterprise_id": null, "team_id": TEAM_ID, "user_id": BOT_USER_ID,
                "is_bot": true, "is_enterprise_install": false,
            }],
            "is_ext_shared_channel": false,
        })
    }

    /// Returns the mention as a request, signed at `timestamp` (Unix seconds).
    pub fn signed_request(&self, secret: &str, timestamp: u64) -> SignedRequest {
        let body = self.body(timestamp).to_string();
        SignedRequest::new(secret, timestamp, EVENTS_PATH, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_slacks_documentation() {
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
            &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
            &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F\
            commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
            &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        assert_eq!(
            sign("8f742231b10e8888abcd99yyyzzz85a5", 1_531_420_618, body),
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
        );
    }
}
