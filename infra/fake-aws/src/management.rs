//! API Gateway's management API of WebSocket connections.

use std::collections::BTreeMap;

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::json;

use crate::{calls::Failure, reply::Reply};

/// "Message payload size 128 KB" (API Gateway developer guide, "Quotas for configuring and running a
/// WebSocket API"); a larger one is a `PayloadTooLargeException`, 413.
const PAYLOAD: usize = 128 * 1024;

/// What a connection is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// What is posted arrives.
    Open,
    /// There is none: every call is answered 410.
    Gone,
    /// The client is gone and API Gateway has not noticed: a post succeeds and nobody receives it.
    Dead,
    /// What is posted arrives, and is answered 410 all the same.
    GoneButDelivered,
}

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    lines: BTreeMap<String, (Line, u64)>,
    posts: Vec<(String, Vec<u8>)>,
    deleted: Vec<String>,
}

impl Connections {
    pub(crate) fn set(&mut self, id: &str, line: Line, now: u64) {
        let since = self.lines.get(id).map_or(now, |(_, since)| *since);
        self.lines.insert(id.to_owned(), (line, since));
    }

    pub(crate) fn line(&self, id: &str) -> Line {
        self.lines.get(id).map_or(Line::Gone, |(line, _)| *line)
    }

    pub(crate) fn take_posts(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.posts)
    }

    pub(crate) fn take_deleted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.deleted)
    }

    pub(crate) fn call(&mut self, operation: &str, id: &str, body: &[u8]) -> Reply {
        let line = self.line(id);
        match operation {
            "PostToConnection" if body.len() > PAYLOAD => refuse(413, "PayloadTooLargeException"),
            "PostToConnection" => {
                if matches!(line, Line::Open | Line::GoneButDelivered) {
                    self.posts.push((id.to_owned(), body.to_vec()));
                }
                match line {
                    Line::Open | Line::Dead => Reply::new(200, None, String::new()),
                    Line::Gone | Line::GoneButDelivered => gone(),
                }
            }
            "DeleteConnection" | "GetConnection"
                if matches!(line, Line::Gone | Line::GoneButDelivered) =>
            {
                gone()
            }
            "DeleteConnection" => {
                self.lines.remove(id);
                self.deleted.push(id.to_owned());
                Reply::new(204, None, String::new())
            }
            "GetConnection" => {
                let since = self.lines.get(id).map_or(0, |(_, since)| *since);
                let since = DateTime::from_millis(i64::try_from(since).unwrap_or(i64::MAX));
                let since = since.fmt(Format::DateTime).unwrap_or_default();
                let body = json!({
                    "connectedAt": since,
                    "lastActiveAt": since,
                    "identity": { "sourceIp": "192.0.2.1", "userAgent": "fake" },
                });
                Reply::new(200, None, body.to_string())
            }
            _ => refuse(403, "ForbiddenException"),
        }
    }
}

/// Also of a connection that never was: "The connection has been terminated, or the connection doesn't
/// exist anymore", or "a message was posted […] before the connection was established" (AWS re:Post,
/// "410 GoneException").
fn gone() -> Reply {
    refuse(410, "GoneException")
}

fn refuse(status: u16, code: &'static str) -> Reply {
    let body = json!({ "message": code }).to_string();
    Reply::new(status, Some(code), body).header("x-amzn-errortype", code.to_owned())
}

/// What the management API answers instead of doing what it was asked to.
pub(crate) fn failed(failure: Failure) -> Reply {
    match failure {
        Failure::Throttled => refuse(429, "LimitExceededException"),
        _ => refuse(500, "InternalServerErrorException"),
    }
}
