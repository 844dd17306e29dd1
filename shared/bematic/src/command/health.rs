//! The commands `health …` and `agent …`, about the agents' circuit breakers.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    BreakerOrder, Command, CommandError,
    error::shorten,
    run::{Token, classify_word, parse_agent_id, split_word},
};

/// The default durations of an operator's orders.
const DEFAULT_DRAIN_DURATION: Duration = Duration::from_hours(8);
const DEFAULT_DISABLE_DURATION: Duration = Duration::from_hours(1);
/// The shortest duration that an operator can give, and the longest of an order.
pub(super) const MIN_DURATION: Duration = Duration::from_mins(1);
const MAX_ORDER_DURATION: Duration = Duration::from_hours(7 * 24);

/// Parses `[<agent>]`, `reset <agent>` or `disable <agent> [--for <time>] [<note>]`. A single word
/// is an agent's name, even `reset` or `disable`.
pub(super) fn parse_health_command(rest: &str) -> Result<Command, CommandError> {
    let (word, after) = split_word(rest);
    match (&*word.to_lowercase(), after) {
        ("", _) => Ok(Command::Health(None)),
        (_, "") => Ok(Command::Health(Some(parse_agent_id(word)?))),
        ("reset", after) => parse_agent_only_order(after, BreakerOrder::Reset),
        ("disable", after) => {
            let disable = |lasts, note| BreakerOrder::Disable { lasts, note };
            parse_expiring_order(after, DEFAULT_DISABLE_DURATION, disable)
        }
        _ => Err(CommandError::BadHealth(shorten(word))),
    }
}

/// Parses `drain <agent> [--for <time>] [<note>]` or `resume <agent>`.
pub(super) fn parse_agent_command(rest: &str) -> Result<Command, CommandError> {
    let (word, after) = split_word(rest);
    match &*word.to_lowercase() {
        "drain" => parse_expiring_order(after, DEFAULT_DRAIN_DURATION, |lasts, note| {
            BreakerOrder::Drain { lasts, note }
        }),
        "resume" => parse_agent_only_order(after, BreakerOrder::Resume),
        _ => Err(CommandError::BadAgentOrder(shorten(word))),
    }
}

/// Parses `<agent>`, of an order that takes nothing else.
fn parse_agent_only_order(rest: &str, order: BreakerOrder) -> Result<Command, CommandError> {
    let (agent, rest) = split_word(rest);
    let agent = parse_agent_id(agent)?;
    match rest {
        "" => Ok(Command::Breaker(agent, order)),
        rest => Err(CommandError::OneAgentOnly(shorten(rest))),
    }
}

/// Parses `<agent> [--for <time>] [<note>]`, of an order that expires by itself.
fn parse_expiring_order(
    rest: &str,
    default: Duration,
    make: impl Fn(Duration, String) -> BreakerOrder,
) -> Result<Command, CommandError> {
    let (agent, rest) = split_word(rest);
    let agent = parse_agent_id(agent)?;
    let (word, after) = split_word(rest);
    let is_for = |name: &str| name.eq_ignore_ascii_case("for");
    let (lasts, note) = match classify_word(word) {
        Token::Prompt => (default, rest),
        Token::End => (default, after),
        Token::Option { name, value } if is_for(name) => {
            let (time, note) = value.map_or_else(|| split_word(after), |time| (time, after));
            (parse_duration(time)?, note)
        }
        Token::Option { .. } => return Err(CommandError::NotFor(shorten(word))),
    };
    // After the note an option would be part of the note, and have no effect.
    let misplaced =
        |word: &&str| matches!(classify_word(word), Token::Option { name, .. } if is_for(name));
    if let Some(word) = note.split_whitespace().find(misplaced) {
        return Err(CommandError::NotFor(shorten(word)));
    }
    Ok(Command::Breaker(agent, make(lasts, note.trim().to_owned())))
}

/// Parses how long an order lasts: `30m`, `2h`, `1d`.
fn parse_duration(text: &str) -> Result<Duration, CommandError> {
    parse_duration_within(text, MIN_DURATION..=MAX_ORDER_DURATION)
        .ok_or_else(|| CommandError::BadTime(shorten(text)))
}

/// Parses a duration between two others: `30m`, `2h`, `1d`.
pub fn parse_duration_within(text: &str, limits: RangeInclusive<Duration>) -> Option<Duration> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().ok()?;
    let secs = match text[digits.len()..].to_lowercase().as_str() {
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let time = Duration::from_secs(number.saturating_mul(secs));
    limits.contains(&time).then_some(time)
}
