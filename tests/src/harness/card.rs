//! A message as a person reads it.

use serde_json::Value;

/// A task's message in Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    /// The message's place in its channel.
    pub(crate) ts: String,
    /// All that it shows.
    pub(crate) text: String,
    /// What a notification says of it.
    pub(crate) summary: String,
    /// The actions of its buttons.
    pub(crate) buttons: Vec<String>,
}

impl Card {
    pub(crate) fn of(message: &Value) -> Self {
        Self {
            ts: message["ts"].as_str().unwrap_or_default().to_owned(),
            text: shown(message),
            summary: message["text"].as_str().unwrap_or_default().to_owned(),
            buttons: buttons(message),
        }
    }

    /// Fails unless all of `words` can be read.
    #[track_caller]
    pub(crate) fn tells(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.text.contains(word),
                "{word:?} is not in\n{}",
                self.text
            );
        }
    }

    /// Fails if any of `words` can be read.
    #[track_caller]
    pub(crate) fn hides(&self, words: &[&str]) {
        for word in words {
            assert!(!self.text.contains(word), "{word:?} is in\n{}", self.text);
        }
    }
}

/// The texts of a message's blocks, or its text if it has none.
pub(crate) fn shown(message: &Value) -> String {
    let mut texts = Vec::new();
    collect(&message["blocks"], &mut texts);
    if texts.is_empty() {
        texts.extend(message["text"].as_str());
    }
    texts.join("\n")
}

fn buttons(message: &Value) -> Vec<String> {
    let blocks = message["blocks"].as_array().into_iter().flatten();
    let elements = blocks.flat_map(|block| block["elements"].as_array().into_iter().flatten());
    elements
        .filter_map(|element| element["action_id"].as_str())
        .map(str::to_owned)
        .collect()
}

fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, texts)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "text" => texts.push(text),
                    other => collect(other, texts),
                }
            }
        }
        _ => {}
    }
}
