//! Follows a Slack channel as a person reads it, through `conversations.history`.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::sleep;

use crate::stack::StackFile;
use crate::ui::Ui;

const POLL: Duration = Duration::from_millis(250);

/// Prints each new line of the stack's channel, until a message says that its task has ended. Returns
/// whether the task completed.
pub async fn until_ended(stack: &StackFile, ui: &Ui) -> Result<bool> {
    let http = reqwest::Client::new();
    let form = [("channel", stack.channel_id.as_str()), ("limit", "20")];
    let mut seen = HashSet::new();
    loop {
        let page = history(&http, stack, &form).await?;
        for message in page["messages"].as_array().into_iter().flatten().rev() {
            for line in lines(message) {
                if seen.insert((message["ts"].to_string(), line.clone())) {
                    ui.line(&format!("  │ {line}"));
                }
            }
            if let Some(completed) = completed(message) {
                return Ok(completed);
            }
        }
        sleep(POLL).await;
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

/// Returns the visible lines of a message, without markup.
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

/// Collects every text inside a block, in order.
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

/// Whether a task has completed, from its message's fallback text, which begins with an emoji and the
/// status. `None` if the task has not ended.
fn completed(message: &Value) -> Option<bool> {
    let (_, status) = message["text"].as_str()?.split_once(' ')?;
    let is = |word| status.starts_with(word);
    let completed = is("Completed");
    (completed || is("Failed") || is("Cancelled")).then_some(completed)
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
    fn the_status_says_whether_the_task_has_ended() {
        let completed = |text| completed(&json!({ "text": text }));
        assert_eq!(
            completed(":white_check_mark: Completed in 2 s: x"),
            Some(true)
        );
        assert_eq!(completed(":x: Failed after 2 s: x"), Some(false));
        assert_eq!(
            completed(":gear: Running on agent a: repair the test that Failed"),
            None
        );
    }
}
