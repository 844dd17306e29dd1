//! Delivery of signed requests to the app's webhook.

use axum::body::Bytes;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::request::SignedRequest;
use crate::state::Slack;

/// The app's response with a status of success.
pub(crate) struct WebhookResponse {
    status: u16,
    pub(crate) body: Bytes,
}

/// The reason that a request was not delivered, or was refused by the app. As a `&str` it is the
/// value of Slack's `X-Slack-Retry-Reason`.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub(crate) enum Failure {
    #[error("no webhook is set yet: is the stack still starting?")]
    #[strum(serialize = "connection_failed")]
    NoWebhook,
    #[error("the webhook cannot be reached: {0}")]
    #[strum(serialize = "connection_failed")]
    Unreachable(String),
    #[error("the webhook did not answer in time")]
    #[strum(serialize = "http_timeout")]
    Timeout,
    #[error("the webhook answered with HTTP {status}")]
    #[strum(serialize = "http_error")]
    Status {
        status: u16,
        /// Whether the app requested that the request not be sent again.
        no_retry: bool,
    },
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        // The innermost cause is the most specific ("connection refused").
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Self::Unreachable(cause.to_string())
    }
}

/// The outcome of a delivery to the webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryOutcome {
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The failure as text. An event is sent again after a failure, other requests are not.
    pub error: Option<String>,
}

impl From<&Result<WebhookResponse, Failure>> for DeliveryOutcome {
    fn from(outcome: &Result<WebhookResponse, Failure>) -> Self {
        let status = match outcome {
            Ok(WebhookResponse { status, .. }) | Err(Failure::Status { status, .. }) => {
                Some(*status)
            }
            Err(_) => None,
        };
        let error = outcome.as_ref().err().map(ToString::to_string);
        Self { status, error }
    }
}

/// Signs a request and posts it to the app; `retry` is the number of the retry and its reason.
pub(crate) async fn post_to_webhook(
    slack: &Slack,
    path: &'static str,
    body: String,
    retry: Option<(usize, &str)>,
) -> Result<WebhookResponse, Failure> {
    let base = slack.workspace().webhook.clone();
    let base = base.ok_or(Failure::NoWebhook)?;
    let secret = slack.config.signing_secret.expose_secret();
    let request = SignedRequest::new(secret, slack.config.clock.secs(), path, body);
    let http = slack.http.as_ref();
    let mut sending = http
        .map_err(|error| Failure::Unreachable(error.to_string()))?
        .post(format!("{base}{path}"))
        .timeout(slack.config.answer_within);
    for (name, value) in &request.headers {
        sending = sending.header(*name, value);
    }
    if let Some((number, reason)) = retry {
        sending = sending.header("X-Slack-Retry-Num", number);
        sending = sending.header("X-Slack-Retry-Reason", reason);
    }
    let response = sending.body(request.body).send().await?;
    let status = response.status().as_u16();
    if !response.status().is_success() {
        let no_retry = response.headers().get("X-Slack-No-Retry");
        let no_retry = no_retry.is_some_and(|value| value == "1");
        return Err(Failure::Status { status, no_retry });
    }
    let body = response.bytes().await?;
    Ok(WebhookResponse { status, body })
}
