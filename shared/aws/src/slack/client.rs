//! The client of Slack's Web API.
//!
//! It is built on `reqwest`: slack-morphism's client supports no metadata in `chat.postMessage` and
//! `conversations.replies`, and depends on another TLS provider than the AWS SDK's.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bematic::{
    access::{Membership, Outsider},
    ports::MembershipSource,
    secret::CachedSecret,
    slack::{
        Message,
        api::{Destination, MAX_SEARCHED_MESSAGES, SlackApi, SlackError},
    },
};
use bematic_protocol::{
    ids::{CardSubject, ChannelId, MessageTs, UserId},
    time::Timestamp,
};
use http::{
    Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use url::{Url, form_urlencoded::Serializer};

use super::wire::{self, MessagesPage, PostedMessage, UserInfo};

/// Messages of one page of history (Slack allows 999, and advises at most 200).
const PAGE_SIZE: usize = 200;
/// How far this machine's clock may be ahead of Slack's.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// A client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientSetupError {
    /// The address is not a URL.
    #[error("the address of Slack's Web API is not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// The HTTP client, such as its TLS, cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// The HTTP transport of a [`SlackClient`]. Production uses `reqwest`; a test passes each request
/// to the local Slack in process.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request, and reads the whole response.
    ///
    /// # Errors
    /// When there is no complete response.
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>>;
}

#[async_trait]
impl Transport for reqwest::Client {
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        // The error goes into log lines, which do not need the address.
        let answer = self.execute(request.try_into()?).await;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await;
        let mut response = Response::new(body.map_err(reqwest::Error::without_url)?.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// A client of Slack's Web API for one bot. It is cheap to clone, and keeps connections open.
#[derive(Debug, Clone)]
pub struct SlackClient {
    transport: Arc<dyn Transport>,
    base: String,
    token: Arc<CachedSecret>,
}

impl SlackClient {
    /// The time limit of a call. Slack itself ends a slow call after some seconds.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);

    /// Returns a client for the API at `base` that gives up after `timeout`.
    pub fn new(
        base: &str,
        token: Arc<CachedSecret>,
        timeout: Duration,
    ) -> Result<Self, ClientSetupError> {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(3)))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Self::with_transport(Arc::new(http), base, token)
    }

    /// Returns a client for the API at `base` over another transport.
    pub fn with_transport(
        transport: Arc<dyn Transport>,
        base: &str,
        token: Arc<CachedSecret>,
    ) -> Result<Self, ClientSetupError> {
        let base = Url::parse(base)?.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            transport,
            base,
            token,
        })
    }

    /// Calls a method with a JSON body; fields that are null are left out.
    async fn call_json<T: DeserializeOwned>(
        &self,
        method: &'static str,
        mut body: Value,
    ) -> Result<T, SlackError> {
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        self.call(method, "application/json", body.to_string())
            .await
    }

    /// Posts a message, only for `user` if that is given. An agent's text must not notify people,
    /// and must not unfurl links.
    async fn post_message<T: DeserializeOwned>(
        &self,
        method: &'static str,
        to: &Destination,
        message: &Message,
        marker: Option<CardSubject>,
        user: Option<&UserId>,
    ) -> Result<T, SlackError> {
        let blocks = Some(&message.blocks).filter(|blocks| !blocks.is_empty());
        let body = json!({
            "channel": to.channel, "thread_ts": to.thread_ts, "user": user,
            "text": message.text, "blocks": blocks, "metadata": marker.map(wire::marker_metadata),
            "link_names": false, "parse": "none", "unfurl_links": false, "unfurl_media": false,
        });
        self.call_json(method, body).await
    }

    /// Calls a method. If Slack refuses the token and the token has changed, as after a rotation,
    /// the call is made once more.
    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        content_type: &str,
        body: String,
    ) -> Result<T, SlackError> {
        let token = self.token.get().await;
        let token = token.map_err(|error| SlackError::TokenUnknown {
            method,
            source: error.into(),
        })?;
        let called = self
            .call_with_token(method, content_type, &body, &token.current)
            .await;
        if matches!(called, Err(SlackError::TokenRefused { .. }))
            && let Some(changed) = self.token.changed_since(&token).await
        {
            return self
                .call_with_token(method, content_type, &body, &changed.current)
                .await;
        }
        called
    }

    async fn call_with_token<T: DeserializeOwned>(
        &self,
        method: &'static str,
        content_type: &str,
        body: &str,
        token: &SecretString,
    ) -> Result<T, SlackError> {
        let sent = async {
            let token = format!("Bearer {}", token.expose_secret());
            let mut token = HeaderValue::try_from(token)?;
            token.set_sensitive(true);
            let request = Request::post(format!("{}/{method}", self.base))
                .header(AUTHORIZATION, token)
                .header(CONTENT_TYPE, content_type)
                .body(body.as_bytes().to_vec())?;
            self.transport.send(request).await
        };
        let answer = sent
            .await
            .map_err(|error| wire::unavailable_error(method, error))?;
        let (answer, body) = answer.into_parts();
        let retry_after = wire::retry_after(&answer.headers);
        wire::interpret_response(method, answer.status.as_u16(), retry_after, &body)
    }

    /// Returns a page of a conversation's newest messages, or of a thread's messages.
    async fn fetch_page(
        &self,
        to: &Destination,
        oldest: &str,
        cursor: Option<&str>,
    ) -> Result<MessagesPage, SlackError> {
        let (method, ts) = match &to.thread_ts {
            Some(ts) => ("conversations.replies", Some(ts.as_str())),
            None => ("conversations.history", None),
        };
        let limit = PAGE_SIZE.to_string();
        let fields = [
            ("channel", Some(to.channel.as_str())),
            ("ts", ts),
            ("oldest", Some(oldest)),
            ("limit", Some(&limit)),
            ("include_all_metadata", Some("true")),
            ("cursor", cursor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
        self.call_form(method, fields).await
    }

    /// Calls a method with a form, the body of those methods that take no JSON.
    async fn call_form<'a, T: DeserializeOwned>(
        &self,
        method: &'static str,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<T, SlackError> {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let content_type = "application/x-www-form-urlencoded";
        self.call(method, content_type, body).await
    }
}

#[async_trait]
impl MembershipSource for SlackClient {
    async fn membership(&self, user: &UserId) -> Result<Membership, SlackError> {
        const METHOD: &str = "users.info";
        let fields = [("user", user.as_str())].into_iter();
        match self.call_form::<UserInfo>(METHOD, fields).await {
            Ok(info) => info.membership(METHOD),
            Err(SlackError::Refused { error, .. }) if wire::is_unknown_user(&error) => {
                Ok(Membership::Outsider(Outsider::External))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl SlackApi for SlackClient {
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<CardSubject>,
    ) -> Result<MessageTs, SlackError> {
        let posted: PostedMessage = self
            .post_message("chat.postMessage", to, message, marker, None)
            .await?;
        Ok(posted.ts)
    }

    /// Slack keeps the message's metadata, and its blocks if the body has none: an empty list
    /// removes them.
    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError> {
        let body = json!({
            "channel": channel, "ts": ts, "text": message.text, "blocks": message.blocks,
            "link_names": false, "parse": "none",
        });
        self.call_json("chat.update", body)
            .await
            .map(|_: IgnoredAny| ())
    }

    async fn find_marked_message(
        &self,
        to: &Destination,
        subject: CardSubject,
        since: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError> {
        let oldest = format!("{}.000000", (since - CLOCK_SKEW).as_secs());
        let mut cursor = None;
        for _ in 0..MAX_SEARCHED_MESSAGES / PAGE_SIZE {
            let page = self.fetch_page(to, &oldest, cursor.as_deref()).await?;
            if let Some(ts) = page.find_marked_ts(subject) {
                return Ok(Some(ts));
            }
            cursor = page.next_cursor();
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
        self.post_message("chat.postEphemeral", to, message, None, Some(user))
            .await
            .map(|_: IgnoredAny| ())
    }
}
