//! Requests to the webhook, signed as Slack signs them or not.

use std::time::Duration;

use bematic::slack::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use bematic_local::stack::StackFile;
use bematic_protocol::time::{Clock as _, SystemClock, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::Channel;

/// Sends to the webhook what Slack would.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    url: String,
    secret: String,
    channel: String,
    user: String,
    http: reqwest::Client,
}

/// A request before it is sent, so that a test can spoil it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: &'static str,
    pub(crate) body: String,
    pub(crate) timestamp: Option<String>,
    pub(crate) signature: Option<String>,
}

impl Webhook {
    pub(crate) fn new(stack: &StackFile, channel: &Channel) -> Self {
        Self {
            url: stack.webhook_url.clone(),
            secret: stack.slack_signing_secret.clone(),
            channel: channel.id.clone(),
            user: stack.admin_user_id.clone(),
            http: reqwest::Client::new(),
        }
    }

    /// A slash command, signed `age` ago.
    pub(crate) fn command(&self, text: &str, trigger: &str, age: Duration) -> Request {
        let mut form = Serializer::new(String::new());
        form.append_pair("team_id", "T0BEMATIC")
            .append_pair("channel_id", &self.channel);
        form.append_pair("user_id", &self.user)
            .append_pair("command", "/bm");
        form.append_pair("text", text)
            .append_pair("trigger_id", trigger);
        self.signed("/slack/commands", form.finish(), age)
    }

    /// A mention in the channel.
    pub(crate) fn mention(&self, text: &str, event_id: &str) -> Request {
        let now = SystemClock.now();
        let event = json!({
            "type": "app_mention", "user": self.user, "text": format!("<@U0BEMATIC> {text}"),
            "ts": format!("{}.000100", now.as_secs()), "channel": self.channel,
        });
        let body = json!({
            "type": "event_callback", "team_id": "T0BEMATIC", "event_id": event_id, "event": event,
        });
        self.signed("/slack/events", body.to_string(), Duration::ZERO)
    }

    fn signed(&self, path: &'static str, body: String, age: Duration) -> Request {
        let at: Timestamp = SystemClock.now() - age;
        let timestamp = at.as_secs().to_string();
        let secret = SecretString::from(self.secret.as_str());
        let signature = sign(&secret, &timestamp, body.as_bytes()).expect("a signature");
        Request {
            path,
            body,
            timestamp: Some(timestamp),
            signature: Some(signature),
        }
    }

    /// Sends it; gives the status and the body.
    pub(crate) async fn send(&self, request: &Request) -> (u16, Value) {
        let kind = match request.path {
            "/slack/commands" => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        let mut sending = self.http.post(format!("{}{}", self.url, request.path));
        sending = sending
            .header("content-type", kind)
            .body(request.body.clone());
        if let Some(timestamp) = &request.timestamp {
            sending = sending.header(TIMESTAMP_HEADER, timestamp);
        }
        if let Some(signature) = &request.signature {
            sending = sending.header(SIGNATURE_HEADER, signature);
        }
        let answer = sending.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    }
}
