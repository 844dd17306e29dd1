//! Follows a Slack channel as a person reads it, through `conversations.history`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::sleep;

use crate::stack::StackFile;
use crate::ui::Ui;

const POLL: Duration = Duration::from_millis(250);

/// The lines of every message of a channel that were seen.
#[derive(Debug)]
pub struct Watch {
    http: reqwest::Client,
    stack: StackFile,
    channel: String,
    seen: BTreeMap<String, BTreeSet<String>>,
}

/// How a task ended, as its message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It completed.
    Completed,
    /// It failed, or was cancelled.
    Otherwise,
}

impl Watch {
    /// Follows the stack's channel, from its first message on.
    pub fn new(stack: &StackFile) -> Self {
        Self {
            http: reqwest::Client::new(),
            stack: stack.clone(),
            channel: stack.channel_id.clone(),
            seen: BTreeMap::new(),
        }
    }

    /// Prints each new line of the channel, until a message tells that its task has ended.
    pub async fn until_ended(&mut self, ui: &Ui) -> Result<Ended> {
        loop {
            for message in self.messages().await? {
                for line in self.news(&message) {
                    ui.line(&format!("  │ {line}"));
                }
                if let Some(ended) = ended(&message) {
                    return Ok(ended);
                }
            }
            sleep(POLL).await;
        }
    }

    async fn messages(&self) -> Result<Vec<Value>> {
        let form = [("channel", self.channel.as_str()), ("limit", "20")];
        let mut answer = history(&self.http, &self.stack, &form).await?;
        let mut messages = match answer["messages"].take() {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        };
        messages.reverse();
        Ok(messages)
    }

    fn news(&mut self, message: &Value) -> Vec<String> {
        let seen = self.seen.entry(message["ts"].to_string()).or_default();
        lines(message)
            .into_iter()
            .filter(|line| seen.insert(line.clone()))
            .collect()
    }
}

/// A page of a channel, the newest message first.
pub(crate) async fn history(
    http: &reqwest::Client,
    stack: &StackFile,
    form: &[(&str, &str)],
) -> Result<Value> {
    let answer: Value = http
        .post(format!("{}/conversations.history", stack.slack_api_url))
        .bearer_auth(&stack.slack_bot_token)
        .form(form)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .context("the local Slack does not answer")?
        .json()
        .await
        .context("the local Slack did not answer with JSON")?;
    if answer["ok"] != true {
        bail!("conversations.history was refused: {}", answer["error"]);
    }
    Ok(answer)
}

/// What a message shows, without its markup.
fn lines(message: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    match message["blocks"].as_array() {
        Some(blocks) if !blocks.is_empty() => {
            blocks
                .iter()
                .filter(|block| block["type"] != "actions")
                .for_each(|b| collect(b, &mut texts));
        }
        _ => texts.push(message["text"].as_str().unwrap_or_default().to_owned()),
    }
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    lines
        .filter(|line| !line.is_empty() && *line != "```")
        .map(ToOwned::to_owned)
        .collect()
}

/// Every text inside a block, in order.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, texts)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "text" => texts.push(text.clone()),
                    other => collect(other, texts),
                }
            }
        }
        _ => {}
    }
}

/// The fallback text of a task's message begins with an emoji and the status.
fn ended(message: &Value) -> Option<Ended> {
    let (_, status) = message["text"].as_str()?.split_once(' ')?;
    let is = |word| status.starts_with(word);
    if is("Completed") {
        Some(Ended::Completed)
    } else {
        (is("Failed") || is("Cancelled")).then_some(Ended::Otherwise)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_is_shown() {
        let message = json!({"ts": "1.2", "text": "fallback", "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "*Running*\n```\nout\n```"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "step 1"}]},
            {"type": "actions", "elements": [{"type": "button", "text": {"text": "Cancel"}}]},
        ]});
        assert_eq!(lines(&message), ["*Running*", "out", "step 1"]);
        assert_eq!(lines(&json!({"text": "plain"})), ["plain"]);
    }

    #[test]
    fn the_end_is_told_by_the_status() {
        let ended = |text| ended(&json!({ "text": text }));
        assert_eq!(
            ended(":white_check_mark: Completed in 2 s: x"),
            Some(Ended::Completed)
        );
        assert_eq!(ended(":x: Failed after 2 s: x"), Some(Ended::Otherwise));
        assert_eq!(
            ended(":gear: Running on agent a: repair the test that Failed"),
            None
        );
    }
}
