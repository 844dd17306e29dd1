//! The commands that an operator writes: `/bm …` and `@bot …`. A new command is a row of
//! [`COMMANDS`], from which the parser and the help are built, and a variant of [`Command`].

mod error;
mod health;
mod order;
mod people;
mod run;
mod table;
mod unescape;

pub use self::health::parse_duration_within;
pub use self::order::{BreakerOrder, Command, RunArguments};
pub(crate) use self::{error::CommandError, table::COMMANDS};
use self::{run::split_word, unescape::unescape};
use crate::task::Priority;

/// Parses the text after `/bm`, as Slack escapes it. An empty text is `help`.
pub(crate) fn parse(text: &str) -> Result<Command, CommandError> {
    match split_word(text) {
        ("", _) => Ok(Command::Help),
        (word, rest) => table::parse(&unescape(word), rest),
    }
}

/// Parses a message that mentions the bot, as Slack escapes it: a prompt, or the single word `help`.
pub(crate) fn parse_mention(text: &str) -> Result<Command, CommandError> {
    let text = unescape(without_mention(text));
    if text.trim().eq_ignore_ascii_case("help") {
        return Ok(Command::Help);
    }
    Ok(Command::Run(RunArguments {
        agent: None,
        priority: Priority::default(),
        prompt: run::validate_prompt(&text)?,
    }))
}

fn without_mention(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
