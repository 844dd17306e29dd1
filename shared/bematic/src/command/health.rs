//! The commands `health …` and `agent …`, about the agents' circuit breakers.

use std::time::Duration;

use super::{
    error::{CommandError, shorten},
    order::{BreakerOrder, Command},
    run::{Token, option, parse_agent},
    word::split_word,
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
    match (word.to_lowercase().as_str(), after) {
        ("", _) => Ok(Command::Health { agent: None }),
        ("reset", after) if !after.is_empty() => order(after, |_, _| BreakerOrder::Reset, None),
        ("disable", after) if !after.is_empty() => order(
            after,
            |lasts, note| BreakerOrder::Disable { lasts, note },
            Some(DISABLED_FOR),
        ),
        (_, "") => Ok(Command::Health {
            agent: Some(parse_agent(word)?),
        }),
        _ => Err(CommandError::BadHealth {
            given: shorten(word),
        }),
    }
}

/// Parses `drain <agent> [--for <time>] [<note>]` or `resume <agent>`.
pub(super) fn agent(rest: &str) -> Result<Command, CommandError> {
    let (word, after) = split_word(rest);
    match word.to_lowercase().as_str() {
        "drain" => order(
            after,
            |lasts, note| BreakerOrder::Drain { lasts, note },
            Some(DRAINED_FOR),
        ),
        "resume" => order(after, |_, _| BreakerOrder::Resume, None),
        _ => Err(CommandError::BadAgentOrder {
            given: shorten(word),
        }),
    }
}

/// Parses `<agent>`, and if the order expires by itself (`lasts`), `[--for <time>] [<note>]`.
fn order(
    rest: &str,
    make: impl Fn(Duration, String) -> BreakerOrder,
    lasts: Option<Duration>,
) -> Result<Command, CommandError> {
    let (agent, rest) = split_word(rest);
    let agent = parse_agent(agent)?;
    let Some(default) = lasts else {
        if !rest.is_empty() {
            return Err(CommandError::OneAgentOnly {
                given: shorten(rest),
            });
        }
        return Ok(Command::Breaker {
            agent,
            order: make(Duration::ZERO, String::new()),
        });
    };
    let (word, after) = split_word(rest);
    let (lasts, note) = match option(word) {
        Token::Prompt => (default, rest),
        Token::End => (default, after),
        Token::Option { name, value } if name.eq_ignore_ascii_case("for") => {
            let (time, note) = value.map_or_else(|| split_word(after), |time| (time, after));
            (time_of(time)?, note)
        }
        Token::Option { .. } => return Err(CommandError::NotFor(shorten(word))),
    };
    // After the note an option would be part of the note, and have no effect.
    let misplaced = note.split_whitespace().find(|word| {
        matches!(option(word), Token::Option { name, .. } if name.eq_ignore_ascii_case("for"))
    });
    if let Some(word) = misplaced {
        return Err(CommandError::NotFor(shorten(word)));
    }
    Ok(Command::Breaker {
        agent,
        order: make(lasts, note.trim().to_owned()),
    })
}

/// Parses a duration: `30m`, `2h`, `1d`.
fn time_of(text: &str) -> Result<Duration, CommandError> {
    let bad = || CommandError::BadTime {
        given: shorten(text),
    };
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let secs = match text[digits.len()..].to_lowercase().as_str() {
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let time = Duration::from_secs(number.saturating_mul(secs));
    if (SHORTEST..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err(bad())
    }
}
