//! Slack's Web API as JSON: the bodies of requests, and how responses are interpreted.

use std::{error::Error, time::Duration};

use bematic::slack::{
    Message,
    api::{Destination, SlackError},
};
use bematic_protocol::ids::{BatchId, ChannelId, MessageTs, NoticeId, Subject, TaskId, UserId};
use http::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use slack_morphism::prelude::SlackBlock;

/// The wait after a 429 without a `Retry-After` header.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub(super) struct Post<'a> {
    channel: &'a ChannelId,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a MessageTs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserId>,
    #[serde(flatten)]
    message: &'a Message,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Marker>,
    // An agent's text must not notify people, and must not unfurl links.
    link_names: bool,
    parse: &'static str,
    unfurl_links: bool,
    unfurl_media: bool,
}

impl<'a> Post<'a> {
    pub(super) fn new(to: &'a Destination, message: &'a Message, marker: Option<Subject>) -> Self {
        Self {
            channel: &to.channel,
            thread_ts: to.thread_ts.as_ref(),
            user: None,
            message,
            metadata: marker.map(Marker::from),
            link_names: false,
            parse: "none",
            unfurl_links: false,
            unfurl_media: false,
        }
    }

    pub(super) fn only_for(self, user: &'a UserId) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }
}

/// The body of `chat.update`. Slack keeps the message's metadata if the body has none.
#[derive(Serialize)]
pub(super) struct Update<'a> {
    channel: &'a ChannelId,
    ts: &'a MessageTs,
    text: &'a str,
    // Always present: without the field, Slack keeps the message's present blocks.
    blocks: &'a [SlackBlock],
    link_names: bool,
    parse: &'static str,
}

impl<'a> Update<'a> {
    pub(super) fn new(channel: &'a ChannelId, ts: &'a MessageTs, message: &'a Message) -> Self {
        Self {
            channel,
            ts,
            text: &message.text,
            blocks: &message.blocks,
            link_names: false,
            parse: "none",
        }
    }
}

/// A message's metadata, which names the task, bulk operation or notice that it shows.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event_type", content = "event_payload")]
enum Marker {
    #[serde(rename = "bematic_task")]
    Task { task_id: TaskId },
    #[serde(rename = "bematic_batch")]
    Batch { batch_id: BatchId },
    #[serde(rename = "bematic_notice")]
    Notice { notice_id: NoticeId },
}

impl From<Subject> for Marker {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Task(task_id) => Self::Task { task_id },
            Subject::Batch(batch_id) => Self::Batch { batch_id },
            Subject::Notice(notice_id) => Self::Notice { notice_id },
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Posted {
    pub(super) ts: MessageTs,
}

/// A successful response whose fields are not used.
#[derive(Deserialize)]
pub(super) struct Done {}

#[derive(Deserialize)]
pub(super) struct Page {
    messages: Vec<Value>,
    response_metadata: Option<PageEnd>,
}

#[derive(Deserialize)]
struct PageEnd {
    next_cursor: Option<String>,
}

impl Page {
    /// Returns the `ts` of the message that carries the marker of `subject`. Messages with other
    /// metadata are skipped.
    pub(super) fn marked(&self, subject: Subject) -> Option<MessageTs> {
        let wanted = Marker::from(subject);
        self.messages
            .iter()
            .find(|message| Marker::deserialize(&message["metadata"]).is_ok_and(|it| it == wanted))
            .and_then(|message| MessageTs::deserialize(&message["ts"]).ok())
    }

    pub(super) fn next(self) -> Option<String> {
        self.response_metadata?
            .next_cursor
            .filter(|cursor| !cursor.is_empty())
    }
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(secs))
}

#[derive(Deserialize)]
struct Outcome {
    ok: bool,
    error: Option<String>,
}

/// Interprets a response: its result, or the error that its status and body stand for.
pub(super) fn read<T: DeserializeOwned>(
    method: &'static str,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Result<T, SlackError> {
    let limited = || SlackError::RateLimited {
        method,
        retry_after: retry_after.unwrap_or(DEFAULT_WAIT),
    };
    match status {
        429 => return Err(limited()),
        500.. => return Err(unavailable(method, format!("HTTP status {status}"))),
        _ => {}
    }
    let outcome: Outcome = parse(method, status, body)?;
    match outcome.error.as_deref() {
        _ if outcome.ok => parse(method, status, body),
        Some("ratelimited" | "rate_limited") => Err(limited()),
        error => Err(refusal(method, error.unwrap_or("unknown_error"))),
    }
}

fn refusal(method: &'static str, error: &str) -> SlackError {
    match error {
        "message_not_found" | "cant_update_message" | "edit_window_closed" => SlackError::Gone {
            method,
            error: error.to_owned(),
        },
        // Slack's internal errors, as its documentation lists them for every method.
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        // Errors of the token, which a person repairs; until then the message is retried.
        | "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "missing_scope" => unavailable(method, error.to_owned()),
        _ => SlackError::Refused {
            method,
            error: error.to_owned(),
        },
    }
}

/// Parses a body. One that is not Slack's JSON, such as a proxy's error page, is a refusal if the
/// status is 4xx, and otherwise a temporary failure.
fn parse<T: DeserializeOwned>(
    method: &'static str,
    status: u16,
    body: &[u8],
) -> Result<T, SlackError> {
    serde_json::from_slice(body).map_err(|error| {
        if (400..500).contains(&status) {
            let error = format!("HTTP status {status}");
            return SlackError::Refused { method, error };
        }
        unavailable(method, format!("HTTP status {status}: {error}"))
    })
}

pub(super) fn unavailable(
    method: &'static str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> SlackError {
    SlackError::Unavailable {
        method,
        source: source.into(),
    }
}
