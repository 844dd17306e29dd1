//! Validation of blocks by the rules of Block Kit that Slack checks.

use std::collections::HashSet;

use serde_json::Value;

use crate::error::Refusal;

/// Blocks in a message.
const MAX_MESSAGE_BLOCKS: usize = 50;
/// Blocks in a modal.
const MAX_MODAL_BLOCKS: usize = 100;
/// Characters of a modal's title.
const MAX_MODAL_TITLE_CHARS: usize = 24;
/// Characters of all blocks of a message but its `markdown` ones. Undocumented: Slack was observed
/// to accept 9 600 and to refuse 11 300.
const MAX_NON_MARKDOWN_CHARS: usize = 11_000;
/// Characters of one `markdown` block, and of all those of a message.
const MAX_MARKDOWN_CHARS: usize = 12_000;

/// A rule for a field, with the most characters or items that Slack's reference of Block Kit allows.
#[derive(Clone, Copy)]
enum Rule {
    Text(usize),
    PlainText(usize),
    TextObject(usize),
    OneOf(&'static [&'static str]),
    /// An interactive element, such as a button, or an image.
    Element,
    ImageOrText(usize),
    RichText,
    List(usize, &'static Rule),
}

use Rule::{Element, ImageOrText, List, OneOf, PlainText, RichText, Text, TextObject};

/// A field: its name, whether it is required, and its rule.
type FieldSpec = (&'static str, bool, Rule);

/// Returns the fields of a block type that a message may have and Slack checks.
fn block_field_rules(kind: &str) -> Option<&'static [FieldSpec]> {
    Some(match kind {
        "actions" => &[("elements", true, List(25, &Element))],
        "context" => &[("elements", true, List(10, &ImageOrText(3_000)))],
        "header" => &[("text", true, PlainText(150))],
        "image" => element_field_rules(kind),
        "markdown" => &[("text", true, Text(MAX_MARKDOWN_CHARS))],
        "rich_text" => &[("elements", true, RichText)],
        "section" => &[
            ("text", false, TextObject(3_000)),
            ("fields", false, List(10, &TextObject(2_000))),
            ("accessory", false, Element),
        ],
        "context_actions" | "divider" | "file" | "input" | "plan" | "table" | "task_card"
        | "video" => &[],
        _ => return None,
    })
}

/// Returns the fields of an element that Slack checks, beside its `action_id`.
fn element_field_rules(kind: &str) -> &'static [FieldSpec] {
    match kind {
        "button" => &[
            ("text", true, PlainText(75)),
            ("value", false, Text(2_000)),
            ("url", false, Text(3_000)),
            ("style", false, OneOf(&["primary", "danger"])),
        ],
        "image" => &[
            ("alt_text", true, Text(2_000)),
            ("image_url", false, Text(3_000)),
        ],
        _ => &[],
    }
}

/// Checks the blocks of a message.
pub(crate) fn check_message_blocks(blocks: &Value) -> Result<(), Refusal> {
    validate_blocks(blocks, MAX_MESSAGE_BLOCKS)?;
    let (markdown, other): (Vec<_>, Vec<_>) =
        items_if_array(blocks).partition(|block| block["type"] == "markdown");
    let sum = |blocks: Vec<&Value>| blocks.into_iter().map(total_text_length).sum::<usize>();
    if sum(markdown) > MAX_MARKDOWN_CHARS || sum(other) > MAX_NON_MARKDOWN_CHARS {
        return Err("msg_blocks_too_long".into());
    }
    Ok(())
}

/// Checks a modal.
pub(crate) fn check_modal(view: &Value) -> Result<(), Refusal> {
    if view["type"] != "modal" {
        let problem = "must be modal [json-pointer:/view/type]";
        return Err(Refusal::invalid(problem.to_owned()));
    }
    let title = view["title"]["text"].as_str().map_or(0, utf16_length);
    if !(1..=MAX_MODAL_TITLE_CHARS).contains(&title) {
        return Err(Refusal::invalid(format!(
            "must be 1 to {MAX_MODAL_TITLE_CHARS} characters [json-pointer:/view/title/text]"
        )));
    }
    validate_blocks(&view["blocks"], MAX_MODAL_BLOCKS)
}

fn validate_blocks(blocks: &Value, most: usize) -> Result<(), Refusal> {
    if !blocks.is_array() || items_if_array(blocks).any(|block| !block["type"].is_string()) {
        return Err("invalid_blocks_format".into());
    }
    let mut checker = Checker::default();
    checker.check_at_most(most, items_if_array(blocks).count(), "/blocks");
    checker.check_unique_ids("block_id", "message", blocks, "/blocks");
    for (index, block) in items_if_array(blocks).enumerate() {
        checker.check_block(block, &format!("/blocks/{index}"));
    }
    if checker.problems.is_empty() {
        return Ok(());
    }
    Err(Refusal {
        code: "invalid_blocks",
        problems: checker.problems,
    })
}

fn items_if_array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Counts the characters of all texts in a block.
fn total_text_length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(total_text_length).sum(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) if key == "text" => utf16_length(text),
                value => total_text_length(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Returns the length of a text as Slack counts it: in UTF-16 code units, as JavaScript does.
pub(crate) fn utf16_length(text: &str) -> usize {
    text.encode_utf16().count()
}

#[derive(Default)]
struct Checker {
    problems: Vec<String>,
}

impl Checker {
    fn add_problem(&mut self, what: &str, at: &str) {
        self.problems.push(format!("{what} [json-pointer:{at}]"));
    }

    fn check_at_most(&mut self, most: usize, count: usize, at: &str) {
        if count > most {
            self.add_problem(&format!("no more than {most} items allowed"), at);
        }
    }

    /// Checks that no two items have the same id, of those that have one.
    fn check_unique_ids(&mut self, name: &str, place: &str, items: &Value, at: &str) {
        let mut seen = HashSet::new();
        for (index, item) in items_if_array(items).enumerate() {
            if let Some(id) = item[name].as_str().filter(|id| !seen.insert(*id)) {
                let what = format!("`{name}` {id} already exists in this {place}");
                self.add_problem(&what, &format!("{at}/{index}/{name}"));
            }
        }
    }

    fn check_block(&mut self, block: &Value, at: &str) {
        let kind = block["type"].as_str().unwrap_or_default();
        let Some(fields) = block_field_rules(kind) else {
            return self.add_problem(&format!("unsupported type: {kind}"), at);
        };
        if kind == "section" && block["text"].is_null() && block["fields"].is_null() {
            self.add_problem("missing required field: text", at);
        }
        if kind == "actions" {
            let at = format!("{at}/elements");
            self.check_unique_ids("action_id", "block", &block["elements"], &at);
        }
        self.check_fields_and_id("block_id", fields, block, at);
    }

    /// Checks the fields of a block or an element, and its id.
    fn check_fields_and_id(
        &mut self,
        id: &'static str,
        fields: &[FieldSpec],
        owner: &Value,
        at: &str,
    ) {
        let is_image = owner["type"] == "image" && owner["slack_file"].is_null();
        for (name, required, rule) in fields.iter().chain(&[(id, false, Text(255))]) {
            let required = *required || (is_image && *name == "image_url");
            if required || !owner[name].is_null() {
                self.check_field(*rule, &owner[name], &format!("{at}/{name}"));
            }
        }
    }

    fn check_field(&mut self, rule: Rule, value: &Value, at: &str) {
        let kind = value["type"].as_str();
        match rule {
            Text(most) => match value.as_str().map(utf16_length) {
                None => self.add_problem("must be a string", at),
                Some(0) => self.add_problem("must be more than 0 characters", at),
                Some(length) if length > most => {
                    self.add_problem(&format!("must be less than {} characters", most + 1), at);
                }
                Some(_) => {}
            },
            PlainText(most) | TextObject(most) => {
                match (rule, kind) {
                    (_, Some("plain_text")) | (TextObject(_), Some("mrkdwn")) => {}
                    (PlainText(_), Some(_)) => self.add_problem("must be a plain_text object", at),
                    _ => self.add_problem("must be a text object", at),
                }
                self.check_field(Text(most), &value["text"], &format!("{at}/text"));
            }
            OneOf(known) => {
                if value.as_str().is_none_or(|text| !known.contains(&text)) {
                    self.add_problem(&format!("must be one of {}", known.join(", ")), at);
                }
            }
            ImageOrText(_) if kind == Some("image") => self.check_field(Element, value, at),
            ImageOrText(most) => self.check_field(TextObject(most), value, at),
            Element => match kind {
                Some(kind) => {
                    self.check_fields_and_id("action_id", element_field_rules(kind), value, at);
                }
                None => self.add_problem("missing required field: type", at),
            },
            RichText if !value.is_array() => {
                self.add_problem("missing required field: elements", at);
            }
            RichText => {
                for (index, element) in items_if_array(value).enumerate() {
                    let kind = element["type"].as_str().unwrap_or_default();
                    if !kind.starts_with("rich_text_") || !element["elements"].is_array() {
                        self.add_problem("unsupported element", &format!("{at}/{index}"));
                    }
                }
            }
            List(most, rule) => {
                if items_if_array(value).next().is_none() {
                    self.add_problem("must have at least 1 item", at);
                }
                self.check_at_most(most, items_if_array(value).count(), at);
                for (index, item) in items_if_array(value).enumerate() {
                    self.check_field(*rule, item, &format!("{at}/{index}"));
                }
            }
        }
    }
}
