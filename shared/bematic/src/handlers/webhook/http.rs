//! Requests and responses of the webhook, independent of what carries them.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::slack::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// A request from API Gateway.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The path, such as `/slack/commands`.
    pub path: &'a str,
    /// The header `X-Slack-Request-Timestamp`.
    pub timestamp: Option<&'a str>,
    /// The header `X-Slack-Signature`.
    pub signature: Option<&'a str>,
    /// The raw body, which the signature is over.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Creates a request from a path, a function that looks up a header, and the body.
    pub fn new(path: &'a str, header: impl Fn(&str) -> Option<&'a str>, body: &'a [u8]) -> Self {
        let (timestamp, signature) = (header(TIMESTAMP_HEADER), header(SIGNATURE_HEADER));
        Self {
            path,
            timestamp,
            signature,
            body,
        }
    }
}

/// A response: JSON, or no body.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body, if any.
    pub body: Option<Value>,
}

impl Response {
    /// Returns a response with status 200.
    pub(super) const fn ok(body: Option<Value>) -> Self {
        Self { status: 200, body }
    }

    /// Returns a response with an error's status and stable code.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = Some(json!({ "error": code }));
        Self { status, body }
    }
}

impl TryFrom<Response> for http::Response<String> {
    type Error = http::Error;

    fn try_from(response: Response) -> Result<Self, http::Error> {
        let builder = http::Response::builder().status(response.status);
        match response.body {
            Some(body) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            None => builder.body(String::new()),
        }
    }
}
