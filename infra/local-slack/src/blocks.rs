//! Validation of blocks by the rules of Block Kit that Slack checks.

use std::collections::HashSet;

use serde_json::Value;

use crate::error::{Code, Refusal};
use crate::limits;

/// The block types that a message may have.
const KNOWN: [&str; 15] = [
    "actions",
    "context",
    "context_actions",
    "divider",
    "file",
    "header",
    "image",
    "input",
    "markdown",
    "plan",
    "rich_text",
    "section",
    "table",
    "task_card",
    "video",
];

/// Checks the blocks of a message.
pub(crate) fn check(blocks: &Value) -> Result<(), Refusal> {
    check_up_to(blocks, limits::BLOCKS)?;
    let (markdown, other) = lengths(blocks);
    if markdown > limits::ALL_MARKDOWN || other > limits::ALL_BLOCKS_TEXT {
        return Err(Code::MsgBlocksTooLong.into());
    }
    Ok(())
}

/// Checks the blocks of a message or a modal, which may have up to `most` blocks.
pub(crate) fn check_up_to(blocks: &Value, most: usize) -> Result<(), Refusal> {
    let list = blocks.as_array().ok_or(Code::InvalidBlocksFormat)?;
    if list.iter().any(|block| !block["type"].is_string()) {
        return Err(Code::InvalidBlocksFormat.into());
    }
    let mut checker = Checker::default();
    checker.at_most(list.len(), most, "/blocks");
    for (at, block) in list.iter().enumerate() {
        checker.block(block, &format!("/blocks/{at}"));
    }
    checker.verdict()
}

/// Counts the characters of `markdown` blocks, and those of all other blocks.
fn lengths(blocks: &Value) -> (usize, usize) {
    let list = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    let (markdown, other): (Vec<_>, Vec<_>) =
        list.iter().partition(|block| block["type"] == "markdown");
    (
        markdown.into_iter().map(text_in).sum(),
        other.into_iter().map(text_in).sum(),
    )
}

fn text_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(text_in).sum(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) if key == "text" => length(text),
                value => text_in(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Returns the length of a text as Slack counts it: in UTF-16 code units, as JavaScript does.
pub(crate) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

#[derive(Default)]
struct Checker {
    problems: Vec<String>,
    block_ids: HashSet<String>,
}

impl Checker {
    fn verdict(self) -> Result<(), Refusal> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Refusal {
            code: Code::InvalidBlocks,
            problems: self.problems,
        })
    }

    fn problem(&mut self, what: &str, at: &str) {
        self.problems.push(format!("{what} [json-pointer:{at}]"));
    }

    fn at_most(&mut self, count: usize, most: usize, at: &str) {
        if count > most {
            self.problem(&format!("no more than {most} items allowed"), at);
        }
    }

    fn block(&mut self, block: &Value, at: &str) {
        self.block_id(block, at);
        match block["type"].as_str().unwrap_or_default() {
            "section" => self.section(block, at),
            "header" => self.text(&block["text"], limits::HEADER, true, &format!("{at}/text")),
            "context" => self.context(block, at),
            "actions" => self.actions(block, at),
            "markdown" => self.string(&block["text"], limits::ALL_MARKDOWN, &format!("{at}/text")),
            "image" => self.image(block, at),
            "rich_text" => self.rich_text(block, at),
            other if KNOWN.contains(&other) => {}
            other => self.problem(&format!("unsupported type: {other}"), at),
        }
    }

    fn block_id(&mut self, block: &Value, at: &str) {
        if block["block_id"].is_null() {
            return;
        }
        let pointer = format!("{at}/block_id");
        self.string(&block["block_id"], limits::ID, &pointer);
        let id = block["block_id"].as_str().unwrap_or_default();
        if !self.block_ids.insert(id.to_owned()) {
            self.problem(
                &format!("`block_id` {id} already exists in this message"),
                &pointer,
            );
        }
    }

    fn section(&mut self, block: &Value, at: &str) {
        if block["text"].is_null() && block["fields"].is_null() {
            self.problem("missing required field: text", at);
        }
        if !block["text"].is_null() {
            self.text(&block["text"], limits::TEXT, false, &format!("{at}/text"));
        }
        if !block["fields"].is_null() {
            self.list(
                &block["fields"],
                limits::FIELDS,
                &format!("{at}/fields"),
                |me, field, at| {
                    me.text(field, limits::FIELD, false, at);
                },
            );
        }
        if !block["accessory"].is_null() {
            self.element(&block["accessory"], &format!("{at}/accessory"));
        }
    }

    fn context(&mut self, block: &Value, at: &str) {
        let at = format!("{at}/elements");
        self.list(
            &block["elements"],
            limits::CONTEXT_ELEMENTS,
            &at,
            |me, element, at| {
                if element["type"] == "image" {
                    me.image(element, at);
                } else {
                    me.text(element, limits::TEXT, false, at);
                }
            },
        );
    }

    fn actions(&mut self, block: &Value, at: &str) {
        let mut ids = HashSet::new();
        self.list(
            &block["elements"],
            limits::ACTIONS,
            &format!("{at}/elements"),
            |me, one, at| {
                me.element(one, at);
                let id = one["action_id"].as_str().unwrap_or_default();
                if !id.is_empty() && !ids.insert(id.to_owned()) {
                    me.problem(
                        &format!("`action_id` {id} already exists in this block"),
                        at,
                    );
                }
            },
        );
    }

    /// Checks an interactive element, such as a button.
    fn element(&mut self, element: &Value, at: &str) {
        if !element["action_id"].is_null() {
            self.string(
                &element["action_id"],
                limits::ID,
                &format!("{at}/action_id"),
            );
        }
        match element["type"].as_str() {
            Some("button") => self.button(element, at),
            Some("image") => self.image(element, at),
            Some(_) => {}
            None => self.problem("missing required field: type", at),
        }
    }

    fn button(&mut self, button: &Value, at: &str) {
        self.text(&button["text"], limits::BUTTON, true, &format!("{at}/text"));
        if !button["value"].is_null() {
            self.string(&button["value"], limits::VALUE, &format!("{at}/value"));
        }
        if !button["url"].is_null() {
            self.string(&button["url"], limits::LINK, &format!("{at}/url"));
        }
        if !matches!(button["style"].as_str(), None | Some("primary" | "danger")) {
            self.problem("must be one of primary, danger", &format!("{at}/style"));
        }
    }

    fn image(&mut self, image: &Value, at: &str) {
        if image["slack_file"].is_null() {
            self.string(
                &image["image_url"],
                limits::LINK,
                &format!("{at}/image_url"),
            );
        }
        self.string(
            &image["alt_text"],
            limits::ALT_TEXT,
            &format!("{at}/alt_text"),
        );
    }

    fn rich_text(&mut self, block: &Value, at: &str) {
        let Some(elements) = block["elements"].as_array() else {
            return self.problem("missing required field: elements", at);
        };
        for (index, element) in elements.iter().enumerate() {
            let kind = element["type"].as_str().unwrap_or_default();
            if !kind.starts_with("rich_text_") || !element["elements"].is_array() {
                self.problem("unsupported element", &format!("{at}/elements/{index}"));
            }
        }
    }

    /// Checks a text object. Slack refuses an empty one.
    fn text(&mut self, text: &Value, most: usize, plain: bool, at: &str) {
        match text["type"].as_str() {
            Some("plain_text") => {}
            Some("mrkdwn") if !plain => {}
            Some(_) if plain => self.problem("must be a plain_text object", at),
            _ => self.problem("must be a text object", at),
        }
        self.string(&text["text"], most, &format!("{at}/text"));
    }

    fn string(&mut self, value: &Value, most: usize, at: &str) {
        match value.as_str().map(length) {
            None => self.problem("must be a string", at),
            Some(0) => self.problem("must be more than 0 characters", at),
            Some(length) if length > most => {
                self.problem(&format!("must be less than {} characters", most + 1), at);
            }
            Some(_) => {}
        }
    }

    fn list(
        &mut self,
        value: &Value,
        most: usize,
        at: &str,
        mut each: impl FnMut(&mut Self, &Value, &str),
    ) {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            self.problem("must have at least 1 item", at);
        }
        self.at_most(items.len(), most, at);
        for (index, item) in items.iter().enumerate() {
            each(self, item, &format!("{at}/{index}"));
        }
    }
}
