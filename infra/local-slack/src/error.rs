//! The Web API's refusals: HTTP 200, `ok: false` and a code.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// One of Slack's error codes, such as `channel_not_found`.
pub(crate) type Code = &'static str;

/// The refusal of a call.
#[derive(Debug, thiserror::Error)]
#[error("Slack refuses: {code}")]
pub struct Refusal {
    pub(crate) code: Code,
    /// The problems as text, each with a JSON pointer.
    pub(crate) problems: Vec<String>,
}

impl Refusal {
    pub(crate) fn missing(field: &str) -> Self {
        Self::invalid(format!("missing required field: {field}"))
    }

    pub(crate) fn invalid(problem: String) -> Self {
        Self {
            code: "invalid_arguments",
            problems: vec![problem],
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self {
            code,
            problems: Vec::new(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "ok": false, "error": self.code });
        if !self.problems.is_empty() {
            let messages = self.problems.iter().map(|it| format!("[ERROR] {it}"));
            let messages: Vec<_> = messages.collect();
            body["response_metadata"] = json!({ "messages": messages });
            body["errors"] = json!(self.problems);
        }
        Json(body).into_response()
    }
}

/// Returns an HTTP 429 with the seconds to wait.
pub(crate) fn rate_limited_response(retry_after_secs: u64) -> Response {
    let body = Json(json!({ "ok": false, "error": "ratelimited" }));
    let wait = [(header::RETRY_AFTER, retry_after_secs.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, wait, body).into_response()
}
