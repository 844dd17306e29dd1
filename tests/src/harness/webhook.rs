//! Requests to the webhook, signed as Slack signs them, which a test may spoil.

use std::time::Duration;

use bematic_local::stack::StackFile;
use bematic_protocol::time::{Clock as _, SystemClock};
use local_slack::{Mention, SignedRequest, SlashCommand};
use serde_json::Value;

use super::Channel;

/// Sends requests to the webhook in place of Slack.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    url: String,
    secret: String,
    channel: String,
    user: String,
    http: reqwest::Client,
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
    pub(crate) fn command(&self, text: &str, trigger: &str, age: Duration) -> SignedRequest {
        let at = (SystemClock.now() - age).as_secs();
        SlashCommand::new(&self.channel, &self.user, text, trigger).signed_request(&self.secret, at)
    }

    /// A mention in the channel.
    pub(crate) fn mention(&self, text: &str, event_id: &str) -> SignedRequest {
        let now = SystemClock.now().as_secs();
        let (text, ts) = (format!("<@U0BEMATIC> {text}"), format!("{now}.000100"));
        let mention = Mention::new(&self.channel, &self.user, &text, &ts, event_id);
        mention.signed_request(&self.secret, now)
    }

    /// Sends a request; gives the status and the body.
    pub(crate) async fn send(&self, request: &SignedRequest) -> (u16, Value) {
        let mut sending = self.http.post(format!("{}{}", self.url, request.path));
        for (name, value) in &request.headers {
            sending = sending.header(*name, value);
        }
        let answer = sending.body(request.body.clone()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    }
}
