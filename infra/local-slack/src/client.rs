//! A client of the local Slack, for programs that act as a person.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::{Channel, User};
use crate::say::SayOutcome;
use crate::ts::Ts;

/// A client that acts as one person in one channel.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    page_url: String,
    channel: String,
    user: String,
}

/// A call of the local Slack that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The local Slack could not be reached, or did not answer with JSON.
    #[error("the local Slack at {url} does not answer; is the stack up?")]
    Http {
        /// The address of the call.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The local Slack refused, with one of Slack's error codes.
    #[error("the local Slack refused: {0}")]
    Refused(String),
}

impl Client {
    /// Returns a client that acts as `user` in `channel` (ids) of the local Slack whose page is at
    /// `page_url`.
    pub fn new(page_url: &str, channel: &str, user: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            page_url: page_url.trim_end_matches('/').to_owned(),
            channel: channel.to_owned(),
            user: user.to_owned(),
        }
    }

    /// Types a slash command, such as `/bm status`, and waits for the webhook's answer.
    pub async fn send_command(&self, text: &str) -> Result<SayOutcome, ClientError> {
        let say = json!({ "channel": self.channel, "user": self.user, "text": text });
        self.post_to_control("say", &say).await
    }

    /// Mentions the bot, in `thread` or in the channel, and waits for the first delivery.
    pub async fn mention(&self, text: &str, thread: Option<Ts>) -> Result<SayOutcome, ClientError> {
        let say = json!({
            "channel": self.channel, "user": self.user, "text": text, "thread_ts": thread,
            "mention": true,
        });
        self.post_to_control("say", &say).await
    }

    /// Presses the button with this `action_id`.
    pub async fn click(&self, message: Ts, action_id: &str) -> Result<Value, ClientError> {
        let click = json!({
            "channel": self.channel, "user": self.user,
            "message_ts": message, "action_id": action_id,
        });
        self.post_to_control("click", &click).await
    }

    /// Adds a channel.
    pub async fn add_channel(&self, channel: &Channel) -> Result<(), ClientError> {
        self.post_to_control::<Value>("channels", channel)
            .await
            .map(drop)
    }

    /// Adds a person; one with the same id is replaced, as to make a guest of a member.
    pub async fn add_user(&self, user: &User) -> Result<(), ClientError> {
        self.post_to_control::<Value>("users", user).await.map(drop)
    }

    async fn post_to_control<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let url = format!("{}/control/{path}", self.page_url);
        let sending = async {
            let response = self.http.post(&url).json(body).send().await?;
            response.error_for_status()?.json().await
        };
        let answer = sending.await;
        let answer: Value = answer.map_err(|source| ClientError::Http { url, source })?;
        if answer["ok"] == false {
            let error = answer["error"].as_str().unwrap_or("unknown");
            return Err(ClientError::Refused(error.to_owned()));
        }
        serde_json::from_value(answer).map_err(|error| ClientError::Refused(error.to_string()))
    }
}
