//! The messages that are sent to Slack.

use serde::Serialize;
use sha2::{Digest, Sha256};
use slack_morphism::prelude::*;

/// A message: blocks, and the text that stands for them in a notification.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// The text in Slack's mrkdwn, shown where blocks are not.
    pub text: String,
    /// The blocks, in Block Kit; without any, the text is the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<SlackBlock>,
}

impl Message {
    /// The number of characters that Slack allows in one section's text.
    pub(crate) const MAX_SECTION_CHARS: usize = 3000;
    /// The limit of all texts' characters. Slack answers `msg_blocks_too_long` above some 11 000.
    pub const MAX_CHARS: usize = 9000;

    /// Returns a message of text only.
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            blocks: Vec::new(),
        }
    }

    /// Returns a digest of the rendering, by which an update that changes nothing is skipped.
    pub(crate) fn fingerprint(&self) -> String {
        let json = serde_json::json!({ "text": self.text, "blocks": self.blocks }).to_string();
        hex::encode(Sha256::digest(json))
    }
}

/// Renders a paragraph of mrkdwn. It is `verbatim`, so that Slack adds no links and mentions.
pub(super) fn section_block(text: String) -> SlackBlock {
    let text = SlackBlockMarkDownText::new(text).with_verbatim(true);
    SlackSectionBlock::new().with_text(text.into()).into()
}

/// Renders a small grey line of mrkdwn.
pub(super) fn context_block(text: String) -> SlackBlock {
    let text = SlackBlockMarkDownText::new(text).with_verbatim(true);
    SlackContextBlock::new(vec![SlackContextBlockElement::MarkDown(text)]).into()
}

/// Renders buttons from their action ids, labels and values.
pub(super) fn actions_block<'a>(
    buttons: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
) -> SlackBlock {
    let buttons = buttons.map(|(id, label, value)| {
        SlackActionBlockElement::Button(
            SlackBlockButtonElement::new(SlackBlockPlainTextOnly::from(label))
                .with_action_id(id.into())
                .with_value(value.into()),
        )
    });
    SlackActionsBlock::new(buttons.collect()).into()
}

/// The answer to a slash command, in the response. Only the operator who wrote the command sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "response_type", rename = "ephemeral")]
pub struct CommandReply {
    /// The content of the answer.
    #[serde(flatten)]
    pub message: Message,
}

impl CommandReply {
    /// Returns an answer of text only.
    pub fn ephemeral(text: impl Into<String>) -> Self {
        Self {
            message: Message::plain(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_the_shape_that_slack_reads() {
        let json = serde_json::to_value(CommandReply::ephemeral("hi")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "response_type": "ephemeral", "text": "hi" })
        );
    }

    #[test]
    fn blocks_have_the_shape_that_slack_reads() {
        let message = Message {
            text: "t".into(),
            blocks: vec![section_block("a".into()), context_block("b".into())],
        };
        assert_eq!(
            serde_json::to_value(&message).unwrap(),
            serde_json::json!({ "text": "t", "blocks": [
                { "type": "section", "text": { "type": "mrkdwn", "text": "a", "verbatim": true } },
                { "type": "context", "elements": [
                    { "type": "mrkdwn", "text": "b", "verbatim": true },
                ] },
            ] })
        );
    }

    #[test]
    fn a_fingerprint_follows_text_and_blocks() {
        let plain = Message::plain("a");
        let mut with_block = plain.clone();
        with_block.blocks.push(section_block("b".into()));
        assert_eq!(plain.fingerprint(), Message::plain("a").fingerprint());
        assert_ne!(plain.fingerprint(), with_block.fingerprint());
    }
}
