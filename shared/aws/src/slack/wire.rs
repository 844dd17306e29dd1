//! Slack's Web API as JSON: the bodies of requests, and how responses are interpreted.

use std::{error::Error, time::Duration};

use bematic::{
    access::{Membership, Outsider},
    slack::api::SlackError,
};
use bematic_protocol::ids::{CardSubject, MessageTs};
use http::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The wait after a 429 without a `Retry-After` header.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Returns a message's metadata, which names the task, bulk operation or notice that it shows.
pub(super) fn marker_metadata(subject: CardSubject) -> Value {
    let (kind, id) = match subject {
        CardSubject::Task(id) => ("task", id.to_string()),
        CardSubject::Batch(id) => ("batch", id.to_string()),
        CardSubject::Notice(id) => ("notice", id.to_string()),
    };
    let id_field = format!("{kind}_id");
    json!({ "event_type": format!("bematic_{kind}"), "event_payload": { id_field: id } })
}

#[derive(Deserialize)]
pub(super) struct PostedMessage {
    pub(super) ts: MessageTs,
}

#[derive(Deserialize)]
pub(super) struct MessagesPage {
    messages: Vec<Value>,
    response_metadata: Option<ResponseMetadata>,
}

#[derive(Deserialize)]
struct ResponseMetadata {
    next_cursor: Option<String>,
}

impl MessagesPage {
    /// Returns the `ts` of the message that carries the marker of `subject`. Messages with other
    /// metadata are skipped.
    pub(super) fn find_marked_ts(&self, subject: CardSubject) -> Option<MessageTs> {
        let wanted = marker_metadata(subject);
        let is_marked = |message: &&Value| {
            let metadata = &message["metadata"];
            ["event_type", "event_payload"].map(|field| &metadata[field])
                == ["event_type", "event_payload"].map(|field| &wanted[field])
        };
        let found = self.messages.iter().find(is_marked)?;
        MessageTs::deserialize(&found["ts"]).ok()
    }

    pub(super) fn next_cursor(self) -> Option<String> {
        self.response_metadata?
            .next_cursor
            .filter(|cursor| !cursor.is_empty())
    }
}

/// The answer of `users.info`, of which only the membership is read.
#[derive(Deserialize)]
pub(super) struct UserInfo {
    user: User,
}

/// A person or a bot. Slack leaves fields out that do not apply, such as those of guests for a
/// deactivated account.
///
/// <https://api.slack.com/types/user>
#[derive(Deserialize)]
struct User {
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    is_bot: bool,
    /// Whether the person is of another workspace, and in no channel that the app sees.
    #[serde(default)]
    is_stranger: bool,
    /// Whether the person is a guest, of one channel or of several.
    is_restricted: Option<bool>,
    /// Whether the person is a guest of one channel.
    is_ultra_restricted: Option<bool>,
}

impl UserInfo {
    /// Returns how the person belongs to the workspace. An answer that does not say whether the person
    /// is a guest is no valid one: it must let nobody in.
    pub(super) fn membership(self, method: &'static str) -> Result<Membership, SlackError> {
        let User {
            deleted,
            is_bot,
            is_stranger,
            is_restricted,
            is_ultra_restricted,
        } = self.user;
        let outsider = if deleted {
            Outsider::Deactivated
        } else if is_bot {
            Outsider::Bot
        } else if is_stranger {
            Outsider::External
        } else {
            match (is_restricted, is_ultra_restricted) {
                (Some(false), Some(false)) => return Ok(Membership::Full),
                (Some(true), _) | (_, Some(true)) => Outsider::Guest,
                _ => {
                    let problem = "the answer does not say whether the user is a guest";
                    return Err(unavailable_error(method, problem));
                }
            }
        };
        Ok(Membership::Outsider(outsider))
    }
}

/// Whether Slack's name of an error says that the workspace does not know the user.
pub(super) fn is_unknown_user(error: &str) -> bool {
    ["user_not_found", "user_not_visible"].contains(&error)
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    secs.parse().ok().map(Duration::from_secs)
}

#[derive(Deserialize)]
struct ResponseEnvelope {
    ok: bool,
    error: Option<String>,
}

/// Interprets a response: its result, or the error that its status and body stand for.
pub(super) fn interpret_response<T: DeserializeOwned>(
    method: &'static str,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Result<T, SlackError> {
    let limited = || SlackError::RateLimited {
        method,
        retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
    };
    match status {
        429 => return Err(limited()),
        500.. => return Err(unavailable_error(method, format!("HTTP status {status}"))),
        _ => {}
    }
    let envelope: ResponseEnvelope = parse(method, status, body)?;
    if envelope.ok {
        return parse(method, status, body);
    }
    let error = envelope.error.unwrap_or_else(|| "unknown_error".to_owned());
    Err(match &*error {
        "ratelimited" | "rate_limited" => limited(),
        "message_not_found" | "cant_update_message" | "edit_window_closed" => {
            SlackError::Gone { method, error }
        }
        // Slack's internal errors, as its documentation lists them for every method.
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => unavailable_error(method, error),
        // Until the token is repaired or replaced, the message is retried.
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired"
        | "missing_scope" => SlackError::TokenRefused { method, error },
        _ => SlackError::Refused { method, error },
    })
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
        unavailable_error(method, format!("HTTP status {status}: {error}"))
    })
}

pub(super) fn unavailable_error(
    method: &'static str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> SlackError {
    SlackError::Unavailable {
        method,
        source: source.into(),
    }
}
