//! The commands `health …` and `agent …`, about the agents' circuit breakers.

use std::time::Duration;

use super::{
    BreakerOrder, Command, CommandError,
    error::shorten,
    run::{Token, option, parse_agent, split_word},
};

/// The default durations of an operator's orders.
const DRAINED_FOR: Duration = Duration::from_hours(8);
const DISABLED_FOR: Duration = Duration::from_hours(1);
/// The shortest and the longest duration that an operator can give.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Parses `[<agent>]`, `reset <agent>` or `disable <agent> [--for <time>] [<note>]`. A single word
/// is an agent's name, even `reset` or `disable`.
pub(super) fn health(rest: &str) -> Result<Command, CommandError> {
    let (word, after) = split_word(rest);
    match (&*word.to_lowercase(), after) {
        ("", _) => Ok(Command::Health(None)),
        (_, "") => Ok(Command::Health(Some(parse_agent(word)?))),
        ("reset", after) => order(after, BreakerOrder::Reset),
        ("disable", after) => {
            let disable = |lasts, note| BreakerOrder::Disable { lasts, note };
            order_for(after, DISABLED_FOR, disable)
        }
        _ => Err(CommandError::BadHealth(shorten(word))),
    }
}

/// Parses `drain <agent> [--for <time>] [<note>]` or `resume <agent>`.
pub(super) fn agent(rest: &str) -> Result<Command, CommandError> {
    let (word, after) = split_word(rest);
    match &*word.to_lowercase() {
        "drain" => order_for(after, DRAINED_FOR, |lasts, note| BreakerOrder::Drain {
            lasts,
            note,
        }),
        "resume" => order(after, BreakerOrder::Resume),
        _ => Err(CommandError::BadAgentOrder(shorten(word))),
    }
}

/// Parses `<agent>`.
fn order(rest: &str, order: BreakerOrder) -> Result<Command, CommandError> {
    let (agent, rest) = split_word(rest);
    let agent = parse_agent(agent)?;
    match rest {
        "" => Ok(Command::Breaker(agent, order)),
        rest => Err(CommandError::OneAgentOnly(shorten(rest))),
    }
}

/// Parses `<agent> [--for <time>] [<note>]`, of an order that expires by itself.
fn order_for(
    rest: &str,
    default: Duration,
    make: impl Fn(Duration, String) -> BreakerOrder,
) -> Result<Command, CommandError> {
    let (agent, rest) = split_word(rest);
    let agent = parse_agent(agent)?;
    let (word, after) = split_word(rest);
    let is_for = |name: &str| name.eq_ignore_ascii_case("for");
    let (lasts, note) = match option(word) {
        Token::Prompt => (default, rest),
        Token::End => (default, after),
        Token::Option { name, value } if is_for(name) => {
            let (time, note) = value.map_or_else(|| split_word(after), |time| (time, after));
            (time_of(time)?, note)
        }
        Token::Option { .. } => return Err(CommandError::NotFor(shorten(word))),
    };
    // After the note an option would be part of the note, and have no effect.
    let misplaced =
        |word: &&str| matches!(option(word), Token::Option { name, .. } if is_for(name));
    if let Some(word) = note.split_whitespace().find(misplaced) {
        return Err(CommandError::NotFor(shorten(word)));
    }
    Ok(Command::Breaker(agent, make(lasts, note.trim().to_owned())))
}

/// Parses a duration: `30m`, `2h`, `1d`.
fn time_of(text: &str) -> Result<Duration, CommandError> {
    let bad = || CommandError::BadTime(shorten(text));
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let secs = match text[digits.len()..].to_lowercase().as_str() {
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let time = Duration::from_secs(number.saturating_mul(secs));
    let is_allowed = (SHORTEST..=LONGEST).contains(&time);
    is_allowed.then_some(time).ok_or_else(bad)
}
