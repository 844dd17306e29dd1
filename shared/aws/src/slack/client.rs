//! The adapter to Slack's Web API.
//!
//! On `reqwest`, since slack-morphism's client has no metadata on `chat.postMessage` and none in
//! `conversations.replies`, and brings a second TLS provider beside the AWS SDK's.

use std::time::Duration;

use async_trait::async_trait;
use bematic::slack::{
    Message,
    api::{Destination, FIND_LIMIT, SlackApi, SlackError},
};
use bematic_protocol::{
    ids::{ChannelId, MessageTs, Subject, UserId},
    time::Timestamp,
};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::wire::{self, Done, Page, Post, Posted, Update};

/// Slack's own address. Another one is for tests and the local Slack.
pub const DEFAULT_URL: &str = "https://slack.com/api";
/// Messages of one page of history (Slack allows 999, and advises at most 200).
const PAGE: usize = 200;
/// By how much our clock may be ahead of Slack's.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("the address of Slack's Web API is not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// TLS or the like cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// Talks to Slack's Web API as one bot. Cheap to clone; connections are kept.
#[derive(Debug, Clone)]
pub struct SlackClient {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

impl SlackClient {
    /// How long a call may take in all. Slack itself gives up on a slow one after some seconds.
    pub const TIMEOUT: Duration = Duration::from_secs(6);

    /// A client for the API at `base`, such as [`DEFAULT_URL`], that gives up after `timeout`.
    pub fn new(base: &str, token: SecretString, timeout: Duration) -> Result<Self, ClientError> {
        let base = Url::parse(base)?.as_str().trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(3)))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base, token })
    }

    fn request(&self, method: &'static str) -> RequestBuilder {
        self.http
            .post(format!("{}/{method}", self.base))
            .bearer_auth(self.token.expose_secret())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        request: RequestBuilder,
    ) -> Result<T, SlackError> {
        let response = request.send().await.map_err(unavailable(method))?;
        let status = response.status().as_u16();
        let retry_after = wire::retry_after(response.headers());
        let body = response.bytes().await.map_err(unavailable(method))?;
        wire::read(method, status, retry_after, &body)
    }

    /// The newest messages of a conversation, or those of a thread, a page at a time.
    async fn page(
        &self,
        to: &Destination,
        oldest: &str,
        cursor: Option<&str>,
    ) -> Result<Page, SlackError> {
        let (method, ts) = match &to.thread_ts {
            Some(ts) => ("conversations.replies", Some(ts.as_str())),
            None => ("conversations.history", None),
        };
        let limit = PAGE.to_string();
        let form: Vec<_> = [
            ("channel", Some(to.channel.as_str())),
            ("ts", ts),
            ("oldest", Some(oldest)),
            ("limit", Some(&limit)),
            ("include_all_metadata", Some("true")),
            ("cursor", cursor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        self.call(method, self.request(method).form(&form)).await
    }
}

/// Without the address, which a log line does not need.
fn unavailable(method: &'static str) -> impl Fn(reqwest::Error) -> SlackError {
    move |error| SlackError::Unavailable {
        method,
        source: error.without_url().into(),
    }
}

#[async_trait]
impl SlackApi for SlackClient {
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<Subject>,
    ) -> Result<MessageTs, SlackError> {
        const METHOD: &str = "chat.postMessage";
        let body = Post::new(to, message, marker);
        let posted: Posted = self.call(METHOD, self.request(METHOD).json(&body)).await?;
        Ok(posted.ts)
    }

    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError> {
        const METHOD: &str = "chat.update";
        let body = Update::new(channel, ts, message);
        let _: Done = self.call(METHOD, self.request(METHOD).json(&body)).await?;
        Ok(())
    }

    async fn find_marked(
        &self,
        to: &Destination,
        subject: Subject,
        since: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        let oldest = format!("{}.000000", (since - CLOCK_SKEW).as_secs());
        let mut cursor = None;
        for _ in 0..FIND_LIMIT / PAGE {
            let page = self.page(to, &oldest, cursor.as_deref()).await?;
            if let Some(ts) = page.marked(subject) {
                return Ok(Some(ts));
            }
            cursor = page.next();
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn post_ephemeral(
        &self,
        to: &Destination,
        user: &UserId,
        message: &Message,
    ) -> Result<(), SlackError> {
        const METHOD: &str = "chat.postEphemeral";
        let body = Post::new(to, message, None).only_for(user);
        let _: Done = self.call(METHOD, self.request(METHOD).json(&body)).await?;
        Ok(())
    }
}
