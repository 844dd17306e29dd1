//! Follows a Slack channel as a person reads it.

use std::collections::HashSet;
use std::time::Duration;

use local_slack::Content;
use serde_json::Value;
use tokio::time::sleep;

use crate::stack::Stack;
use crate::ui::Ui;

const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Prints each new line of the stack's channel until a task has ended. Returns whether the task completed.
pub(crate) async fn watch_until_task_ends(stack: &Stack, ui: &Ui) -> bool {
    let mut seen = HashSet::new();
    loop {
        for message in stack.slack.state().messages(&stack.file.channel_id) {
            for line in visible_lines(&message.content) {
                if seen.insert((message.ts, line.clone())) {
                    ui.print_line(&format!("  │ {line}"));
                }
            }
            if let Some(completed) = parse_outcome(&message.content.text) {
                return completed;
            }
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns the visible lines of a message, without markup.
fn visible_lines(content: &Content) -> Vec<String> {
    let mut texts = Vec::new();
    match content.blocks.as_ref().and_then(Value::as_array) {
        Some(blocks) => {
            let visible = blocks.iter().filter(|block| block["type"] != "actions");
            visible.for_each(|block| collect_texts(block, &mut texts));
        }
        None => texts.push(content.text.as_str()),
    }
    texts
        .into_iter()
        .flat_map(str::lines)
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "```")
        .map(ToOwned::to_owned)
        .collect()
}

/// Collects every text inside a block, in order.
fn collect_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect_texts(one, texts)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "text" => texts.push(text),
                    other => collect_texts(other, texts),
                }
            }
        }
        _ => {}
    }
}

/// Whether a task has completed, by its message's text: an emoji and the status. `None` if it has not ended.
fn parse_outcome(text: &str) -> Option<bool> {
    let (_, status) = text.split_once(' ')?;
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
        let blocks = json!([
            {"type": "section", "text": {"type": "mrkdwn", "text": "*Running*\n```\nout\n```"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "step 1"}]},
            {"type": "actions", "elements": [{"type": "button", "text": {"text": "Cancel"}}]},
        ]);
        let content = |text: &str, blocks| Content {
            text: text.to_owned(),
            blocks,
            ..Content::default()
        };
        let message = content("fallback", Some(blocks));
        assert_eq!(visible_lines(&message), ["*Running*", "out", "step 1"]);
        assert_eq!(visible_lines(&content("plain", None)), ["plain"]);
    }

    #[test]
    fn the_status_says_whether_the_task_has_ended() {
        assert_eq!(
            parse_outcome(":white_check_mark: Completed in 2 s: x"),
            Some(true)
        );
        assert_eq!(parse_outcome(":x: Failed after 2 s: x"), Some(false));
        assert_eq!(
            parse_outcome(":gear: Running on agent a: repair the test that Failed"),
            None
        );
    }
}
