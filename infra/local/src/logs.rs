//! The log lines of a function, as CloudWatch Logs has them on the emulator.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::deploy::STACK_NAME;
use crate::stack::StackFile;

/// What Lambda itself writes around an invocation.
const PLATFORM: [&str; 3] = ["START RequestId", "END RequestId", "REPORT RequestId"];
/// Pages of log lines that are read at most; one has up to 10 000 lines.
const PAGES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    events: Vec<Event>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    message: String,
}

/// The last `count` lines of a function that contain `text` (all do contain an empty one), oldest
/// first. A function that never ran has none.
pub async fn tail(
    stack: &StackFile,
    function: &str,
    text: &str,
    count: usize,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let page = page(stack, function, token.as_deref()).await?;
        lines.extend(
            page.events
                .into_iter()
                .map(|event| event.message)
                .filter(|line| {
                    line.contains(text) && !PLATFORM.iter().any(|start| line.starts_with(start))
                }),
        );
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(lines.split_off(lines.len().saturating_sub(count)))
}

async fn page(stack: &StackFile, function: &str, token: Option<&str>) -> Result<Page> {
    let mut ask = json!({ "logGroupName": format!("/aws/lambda/{STACK_NAME}-{function}") });
    if let Some(token) = token {
        ask["nextToken"] = token.into();
    }
    let answer = reqwest::Client::new()
        .post(&stack.aws_endpoint)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Logs_20140328.FilterLogEvents")
        .body(ask.to_string())
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("the log lines of {function} cannot be read"))?;
    answer
        .json()
        .await
        .with_context(|| format!("the log lines of {function} cannot be read"))
}

/// A log line for a person: its level and message, and the fields that tell them apart.
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
    let others = fields
        .into_iter()
        .flatten()
        .filter(|(name, _)| !shown.contains(&name.as_str()));
    let others: Vec<_> = others
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{level} {message} {}", others.join(" "))
        .trim_end()
        .to_owned()
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
