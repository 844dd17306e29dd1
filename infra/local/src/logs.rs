//! The log lines of a function, from the emulator's CloudWatch Logs.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::deploy::STACK_NAME;
use crate::stack::StackFile;

/// The beginnings of the lines that Lambda itself writes around an invocation.
const PLATFORM: [&str; 3] = ["START RequestId", "END RequestId", "REPORT RequestId"];
/// The largest number of pages that are read; one has up to 10 000 lines.
const PAGES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    events: Vec<Event>,
    next_token: Option<String>,
}

/// A log line and its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Event {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// The line.
    pub message: String,
}

/// Returns the last `count` lines of a function that contain `text` (all do contain an empty one), oldest
/// first. A function that never ran has none.
pub async fn tail(
    stack: &StackFile,
    function: &str,
    text: &str,
    count: usize,
) -> Result<Vec<String>> {
    let mut events = events(stack, function, text).await?;
    let newest = events.drain(events.len().saturating_sub(count)..);
    Ok(newest.map(|event| event.message).collect())
}

/// Returns the lines of a function that contain `text`, oldest first.
pub async fn events(stack: &StackFile, function: &str, text: &str) -> Result<Vec<Event>> {
    let cannot = || format!("the log lines of {function} cannot be read");
    let http = reqwest::Client::new();
    let mut request = json!({ "logGroupName": format!("/aws/lambda/{STACK_NAME}-{function}") });
    if !text.is_empty() {
        // The emulator filters first: of more than 10 000 lines, it returns no others.
        request["filterPattern"] = format!("\"{text}\"").into();
    }
    let mut events = Vec::new();
    for _ in 0..PAGES {
        let page: Page = http
            .post(&stack.aws.aws_endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .body(request.to_string())
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(cannot)?
            .json()
            .await
            .with_context(cannot)?;
        events.extend(page.events.into_iter().filter(|event| {
            let line = &event.message;
            line.contains(text) && !PLATFORM.iter().any(|start| line.starts_with(start))
        }));
        let Some(token) = page.next_token else {
            break;
        };
        request["nextToken"] = token.into();
    }
    Ok(events)
}

/// Returns a log line for a person: its level, its message and its fields.
pub fn readable(line: &str) -> String {
    let Ok(json) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let level = json["level"].as_str().unwrap_or("-");
    let fields = json["fields"].as_object().or_else(|| json.as_object());
    let message = json["fields"]["message"]
        .as_str()
        .or(json["message"].as_str())
        .unwrap_or("");
    let shown = ["message", "level", "timestamp", "target"];
    let mut text = format!("{level} {message}");
    for (name, value) in fields.into_iter().flatten() {
        if !shown.contains(&name.as_str()) {
            let _ = write!(text, " {name}={value}");
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_by_what_matters() {
        let line = r#"{"timestamp":"x","level":"WARN","fields":{"message":"late","task":"t1"}}"#;
        assert_eq!(readable(line), r#"WARN late task="t1""#);
        assert_eq!(readable("thread panicked"), "thread panicked");
    }
}
