//! The command `run [--agent <agent>] [--priority <priority>] <prompt>`.

use bematic_protocol::{ids::AgentId, messages::limits::MAX_PROMPT_CHARS};

use super::{
    error::{CommandError, shorten},
    order::{Command, RunArguments},
};
use crate::task::Priority;

pub(super) fn parse(mut rest: &str) -> Result<Command, CommandError> {
    let mut agent = None;
    let mut priority = Priority::default();
    loop {
        let (word, after) = split_word(rest);
        match classify_word(word) {
            Token::Prompt => break,
            Token::End => {
                rest = after;
                break;
            }
            Token::Option { name, value } => {
                let (value, after) = value.map_or_else(|| split_word(after), |it| (it, after));
                match &*name.to_ascii_lowercase() {
                    "agent" | "a" => agent = Some(parse_agent_id(value)?),
                    "priority" | "p" => priority = parse_priority(value)?,
                    _ => return Err(CommandError::UnknownOption(shorten(word))),
                }
                rest = after;
            }
        }
    }
    Ok(Command::Run(RunArguments {
        agent,
        priority,
        prompt: validate_prompt(rest)?,
    }))
}

/// Returns the prompt as it was written, without the white space around it, if it is
/// neither empty nor too long.
pub(super) fn validate_prompt(text: &str) -> Result<String, CommandError> {
    let prompt = text.trim();
    if prompt.is_empty() {
        return Err(CommandError::EmptyPrompt);
    }
    let chars = prompt.chars().count();
    if chars > MAX_PROMPT_CHARS {
        return Err(CommandError::PromptTooLong { chars });
    }
    Ok(prompt.to_owned())
}

/// A word of a command.
pub(super) enum Token<'a> {
    Option {
        name: &'a str,
        value: Option<&'a str>,
    },
    /// `--`: the rest is the prompt, whatever it looks like.
    End,
    Prompt,
}

/// Classifies a word. A dash and a letter begin an option; `- a list` and `-5 °C` begin a prompt.
/// Phones and desktops replace `--` by one long dash.
pub(super) fn classify_word(word: &str) -> Token<'_> {
    let name = word.trim_start_matches(['-', '–', '—']);
    match &word[..word.len() - name.len()] {
        "" => Token::Prompt,
        "--" | "—" if name.is_empty() => Token::End,
        _ if !name.starts_with(char::is_alphabetic) => Token::Prompt,
        _ => {
            let named = name.split_once('=');
            let (name, value) = named.map_or((name, None), |(name, value)| (name, Some(value)));
            Token::Option { name, value }
        }
    }
}

fn parse_priority(value: &str) -> Result<Priority, CommandError> {
    let value = trim_quotes(value);
    [Priority::High, Priority::Normal, Priority::Low]
        .into_iter()
        .find(|priority| <&str>::from(*priority).eq_ignore_ascii_case(value))
        .ok_or(CommandError::BadPriority)
}

/// Returns the value without the quotes of any keyboard.
pub(super) fn trim_quotes(value: &str) -> &str {
    value.trim_matches(|c| matches!(c, '\'' | '"' | '“' | '”' | '‘' | '’' | '`'))
}

pub(super) fn parse_agent_id(value: &str) -> Result<AgentId, CommandError> {
    let value = trim_quotes(value);
    if value.is_empty() {
        return Err(CommandError::NoAgent);
    }
    value
        .parse()
        .map_err(|_| CommandError::BadAgent(shorten(value)))
}

/// Returns the first word, and the rest without the white space between.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}
