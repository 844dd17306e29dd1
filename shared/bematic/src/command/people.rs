//! The commands `role`, `users` and `audit`, about people. Their text is parsed as Slack escapes it: a
//! person is `<@U024BE7LH>` or `<@U024BE7LH|ada>`, and only the id is certain.

use std::time::Duration;

use bematic_protocol::ids::UserId;

use super::{
    Command, CommandError,
    error::shorten,
    health::{MIN_DURATION, parse_duration_within},
    run::{Token, classify_word, split_word},
    unescape::unescape,
};

/// The time that `/bm audit` lists, and how far it can look back.
const DEFAULT_AUDIT_DURATION: Duration = Duration::from_hours(24);
const MAX_AUDIT_DURATION: Duration = Duration::from_hours(365 * 24);

/// Parses `@user <role>`.
pub(super) fn parse_role_command(rest: &str) -> Result<Command, CommandError> {
    let (user, rest) = split_word(rest);
    let (role, rest) = split_word(rest);
    let user = parse_user(user)?;
    let bad = || CommandError::BadRole(shorten(&unescape(role)));
    if !rest.is_empty() {
        return Err(CommandError::BadRole(shorten(&unescape(rest))));
    }
    Ok(Command::SetRole(user, role.parse().map_err(|_| bad())?))
}

/// Parses `[--user @user] [--since 2d] [--until 1d]`.
pub(super) fn parse_audit_command(mut rest: &str) -> Result<Command, CommandError> {
    let (mut user, mut since, mut until) = (None, None, Duration::ZERO);
    let parse_time = |name, value| {
        parse_duration_within(value, MIN_DURATION..=MAX_AUDIT_DURATION).ok_or_else(|| {
            CommandError::BadAuditTime {
                option: name,
                value: shorten(value),
            }
        })
    };
    loop {
        let (word, after) = split_word(rest);
        let Token::Option { name, value } = classify_word(word) else {
            break;
        };
        let (value, after) = value.map_or_else(|| split_word(after), |it| (it, after));
        match &*name.to_ascii_lowercase() {
            "user" => user = Some(parse_user(value)?),
            "since" => since = Some(parse_time("since", value)?),
            "until" => until = parse_time("until", value)?,
            _ => return Err(CommandError::BadAudit(shorten(word))),
        }
        rest = after;
    }
    let since = since.unwrap_or(until + DEFAULT_AUDIT_DURATION);
    match rest {
        "" if since <= until => Err(CommandError::NoAuditTime),
        "" => Ok(Command::Audit { user, since, until }),
        rest => Err(CommandError::BadAudit(shorten(rest))),
    }
}

/// Parses a person, as Slack escapes one.
fn parse_user(word: &str) -> Result<UserId, CommandError> {
    let inside = word.strip_prefix("<@").and_then(|it| it.strip_suffix('>'));
    let id = inside.and_then(|it| it.split('|').next());
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| CommandError::BadUser(shorten(&unescape(word))))
}
