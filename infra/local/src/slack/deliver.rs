//! Sending to the app, signed.

use std::fmt;

use axum::http::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::sign::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use super::state::Slack;

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

/// What the app answered, with a status of success.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Why the app got nothing, or didn't take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    NoWebhook,
    Unreachable(String),
    Timeout,
    Status { status: u16, no_retry: bool },
}

impl Failure {
    /// Slack's `X-Slack-Retry-Reason`.
    pub(super) fn retry_reason(&self) -> &'static str {
        match self {
            Self::NoWebhook | Self::Unreachable(_) => "connection_failed",
            Self::Timeout => "http_timeout",
            Self::Status { .. } => "http_error",
        }
    }

    /// Slack's word for it, as a person sees it after a slash command.
    pub(super) fn shown(&self) -> &'static str {
        if matches!(self, Self::Timeout) {
            "operation_timeout"
        } else {
            "dispatch_failed"
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The app asked not to be sent this again.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Status { no_retry: true, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWebhook => f.write_str("no webhook is set yet: is the stack still starting?"),
            Self::Unreachable(why) => write!(f, "the webhook cannot be reached: {why}"),
            Self::Timeout => f.write_str("the webhook did not answer in time"),
            Self::Status { status, .. } => write!(f, "the webhook answered with HTTP {status}"),
        }
    }
}

/// How the webhook took a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The HTTP status, unless there was no answer.
    pub status: Option<u16>,
    /// What went wrong, in words; an event is sent again, the rest is not.
    pub error: Option<String>,
}

impl Delivery {
    pub(super) fn of<T>(outcome: &Result<T, Failure>, status: impl Fn(&T) -> u16) -> Self {
        match outcome {
            Ok(reply) => Self {
                status: Some(status(reply)),
                error: None,
            },
            Err(failure) => Self {
                status: failure.status(),
                error: Some(failure.to_string()),
            },
        }
    }
}

/// Posts `body` to the app, signed now.
pub(super) async fn post(
    slack: &Slack,
    path: &str,
    kind: &str,
    body: String,
    retry: Option<(usize, &str)>,
) -> Result<Reply, Failure> {
    let base = slack.webhook().ok_or(Failure::NoWebhook)?;
    let timestamp = slack.config.clock.secs();
    let signature = sign(
        slack.config.signing_secret.expose_secret(),
        timestamp,
        body.as_bytes(),
    );
    let mut request = slack
        .http
        .post(format!("{base}{path}"))
        .header(CONTENT_TYPE, kind)
        .header(TIMESTAMP_HEADER, timestamp)
        .header(SIGNATURE_HEADER, signature)
        .timeout(slack.config.answer_within);
    if let Some((number, reason)) = retry {
        request = request.header("X-Slack-Retry-Num", number);
        request = request.header("X-Slack-Retry-Reason", reason);
    }
    read(request.body(body).send().await).await
}

async fn read(sent: reqwest::Result<reqwest::Response>) -> Result<Reply, Failure> {
    let response = sent.map_err(|error| unreachable(&error))?;
    let status = response.status();
    if !status.is_success() {
        let no_retry = response
            .headers()
            .get("X-Slack-No-Retry")
            .is_some_and(|one| one == "1");
        return Err(Failure::Status {
            status: status.as_u16(),
            no_retry,
        });
    }
    let body = response
        .bytes()
        .await
        .map_err(|error| unreachable(&error))?
        .to_vec();
    Ok(Reply {
        status: status.as_u16(),
        body,
    })
}

fn unreachable(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    // The innermost cause is the one that tells a person something ("connection refused").
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::Unreachable(cause.to_string())
}
