//! The log lines of a function, from the emulator's CloudWatch Logs.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use axum::http::Request;
use bematic_admin::send_signed;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stack::{STACK_NAME, StackFile};

/// The beginnings of the lines that Lambda itself writes around an invocation.
const PLATFORM_LINE_PREFIXES: [&str; 3] = ["START RequestId", "END RequestId", "REPORT RequestId"];
/// The largest number of pages that are read; one has up to 10 000 lines.
const MAX_PAGES: usize = 100;

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

/// Returns the lines of a function that contain `text`, oldest first. A function that never ran has none.
pub async fn fetch_events(stack: &StackFile, function: &str, text: &str) -> Result<Vec<Event>> {
    let cannot = || format!("the log lines of {function} cannot be read");
    let config = stack.aws.sdk_config().await;
    let mut request = json!({ "logGroupName": format!("/aws/lambda/{STACK_NAME}-{function}") });
    if !text.is_empty() {
        // The emulator filters first: of more than 10 000 lines, it returns no others.
        request["filterPattern"] = format!("\"{text}\"").into();
    }
    let mut events = Vec::new();
    for _ in 0..MAX_PAGES {
        let call = Request::post(format!("{}/", stack.aws.aws_endpoint))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .body(request.to_string())?;
        let answer = send_signed(&config, "logs", call).await;
        let page: Page = answer
            .and_then(|answer| Ok(answer.error_for_status()?))
            .with_context(cannot)?
            .json()
            .await
            .with_context(cannot)?;
        events.extend(page.events.into_iter().filter(|event| {
            let line = &event.message;
            line.contains(text)
                && !PLATFORM_LINE_PREFIXES
                    .iter()
                    .any(|start| line.starts_with(start))
        }));
        match page.next_token {
            Some(token) => request["nextToken"] = token.into(),
            None => break,
        }
    }
    Ok(events)
}

/// Returns a log line for a person: its level, its message and its fields.
pub fn format_line(line: &str) -> String {
    let Ok(json) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let fields = json["fields"].as_object().or_else(|| json.as_object());
    let message = json["fields"]["message"].as_str();
    let message = message.or(json["message"].as_str()).unwrap_or("");
    let mut text = format!("{} {message}", json["level"].as_str().unwrap_or("-"));
    for (name, value) in fields.into_iter().flatten() {
        if !["message", "level", "timestamp", "target"].contains(&name.as_str()) {
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
        assert_eq!(format_line(line), r#"WARN late task="t1""#);
        assert_eq!(format_line("thread panicked"), "thread panicked");
    }
}
