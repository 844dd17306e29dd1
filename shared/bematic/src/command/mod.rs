//! The commands that an operator writes: `/bm …` and `@bot …`.
//!
//! The table [`table::COMMANDS`] is used by the parser and by the help. A new command is a row
//! there and a variant of [`Command`].

mod error;
mod health;
mod order;
mod run;
mod table;
mod unescape;
mod word;

use self::word::split_word;
pub use self::{
    error::CommandError,
    order::{BreakerOrder, Command},
    table::{Usage, usages},
    unescape::unescape,
};
use crate::task::Priority;

/// Parses the text after `/bm`, as Slack escapes it. An empty text is `help`.
///
/// # Errors
/// [`CommandError`], whose text says what the operator should write instead.
pub fn parse(text: &str) -> Result<Command, CommandError> {
    let text = unescape(text);
    match split_word(&text) {
        ("", _) => Ok(Command::Help),
        (word, rest) => table::parse(word, rest),
    }
}

/// Parses a message that mentions the bot, as Slack escapes it. All of it but the leading mention
/// is a prompt, so that no prompt is mistaken for a command; only the single word `help` is one.
///
/// # Errors
/// [`CommandError`], whose text says what the operator should write instead.
pub fn parse_mention(text: &str) -> Result<Command, CommandError> {
    let text = unescape(without_mention(text));
    if text.trim().eq_ignore_ascii_case("help") {
        return Ok(Command::Help);
    }
    Ok(Command::Run {
        agent: None,
        priority: Priority::default(),
        prompt: run::prompt(&text)?,
    })
}

fn without_mention(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
