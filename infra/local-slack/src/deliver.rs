//! Delivery of signed requests to the app's webhook.

use axum::body::Bytes;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::request::SignedRequest;
use crate::state::Slack;

/// The app's response with a status of success.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// The reason that a request was not delivered, or was refused by the app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no webhook is set yet: is the stack still starting?")]
    NoWebhook,
    #[error("the webhook cannot be reached: {0}")]
    Unreachable(String),
    #[error("the webhook did not answer in time")]
    Timeout,
    #[error("the webhook answered with HTTP {status}")]
    Status { status: u16, no_retry: bool },
}

impl Failure {
    /// Returns the value of Slack's `X-Slack-Retry-Reason`.
    pub(crate) fn retry_reason(&self) -> &'static str {
        match self {
            Self::NoWebhook | Self::Unreachable(_) => "connection_failed",
            Self::Timeout => "http_timeout",
            Self::Status { .. } => "http_error",
        }
    }

    /// Returns the name of the failure that Slack shows after a slash command.
    pub(crate) fn shown(&self) -> &'static str {
        if matches!(self, Self::Timeout) {
            "operation_timeout"
        } else {
            "dispatch_failed"
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the app requested that the request not be sent again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Status { no_retry: true, .. })
    }
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
pub struct Delivery {
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The failure as text. An event is sent again after a failure, other requests are not.
    pub error: Option<String>,
}

impl From<&Result<Reply, Failure>> for Delivery {
    fn from(outcome: &Result<Reply, Failure>) -> Self {
        match outcome {
            Ok(reply) => Self {
                status: Some(reply.status),
                error: None,
            },
            Err(failure) => Self {
                status: failure.status(),
                error: Some(failure.to_string()),
            },
        }
    }
}

impl Slack {
    /// Signs a request with the current time.
    pub(crate) fn sign(
        &self,
        path: &'static str,
        content_type: &str,
        body: String,
    ) -> SignedRequest {
        let secret = self.config.signing_secret.expose_secret();
        SignedRequest::new(secret, self.config.clock.secs(), path, content_type, body)
    }
}

/// Posts a request to the app; `retry` is the number of the retry and its reason.
pub(crate) async fn post(
    slack: &Slack,
    request: SignedRequest,
    retry: Option<(usize, &str)>,
) -> Result<Reply, Failure> {
    let base = slack.webhook().ok_or(Failure::NoWebhook)?;
    let http = slack.http.as_ref();
    let mut sending = http
        .map_err(|error| Failure::Unreachable(error.to_string()))?
        .post(format!("{base}{}", request.path))
        .timeout(slack.config.answer_within);
    for (name, value) in &request.headers {
        sending = sending.header(*name, value);
    }
    if let Some((number, reason)) = retry {
        sending = sending.header("X-Slack-Retry-Num", number);
        sending = sending.header("X-Slack-Retry-Reason", reason);
    }
    let response = sending.body(request.body).send().await?;
    let status = response.status();
    if !status.is_success() {
        let no_retry = response.headers().get("X-Slack-No-Retry");
        return Err(Failure::Status {
            status: status.as_u16(),
            no_retry: no_retry.is_some_and(|one| one == "1"),
        });
    }
    Ok(Reply {
        status: status.as_u16(),
        body: response.bytes().await?,
    })
}
