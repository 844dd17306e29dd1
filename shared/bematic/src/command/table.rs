//! The table of commands.

use bematic_protocol::ids::TaskId;

use super::{
    error::{CommandError, shorten},
    health,
    order::Command,
    run,
};
use crate::batch::BatchKind;

/// A command: its usage, and its parser.
#[derive(Debug)]
pub(crate) struct Usage {
    /// The command's first word.
    pub name: &'static str,
    pub arguments: &'static str,
    /// The command's effect, as one phrase.
    pub does: &'static str,
    parse: fn(&str) -> Result<Command, CommandError>,
}

impl Usage {
    const fn new(
        name: &'static str,
        arguments: &'static str,
        does: &'static str,
        parse: fn(&str) -> Result<Command, CommandError>,
    ) -> Self {
        Self {
            name,
            arguments,
            does,
            parse,
        }
    }
}

/// The commands, in the order of the help.
pub(crate) static COMMANDS: [Usage; 12] = [
    Usage::new(
        "run",
        "[--agent <agent>] [--priority high|normal|low] <prompt>",
        "give an agent something to do",
        run::parse,
    ),
    Usage::new("status", "<task>", "show one task", |rest| {
        Ok(Command::Status(task(rest)?))
    }),
    Usage::new(
        "cancel",
        "<task>|all",
        "stop one task, or all of this channel's",
        |rest| match rest {
            all if is_word(all, "all") => Ok(Command::Bulk(BatchKind::Cancel)),
            id => Ok(Command::Cancel(task(id)?)),
        },
    ),
    Usage::new(
        "retry",
        "<task>|failed",
        "try one task again that failed or was cancelled, or all of this channel's that failed",
        |rest| match rest {
            failed if is_word(failed, "failed") => Ok(Command::Bulk(BatchKind::Retry)),
            id => Ok(Command::Retry(task(id)?)),
        },
    ),
    Usage::new(
        "archive",
        "",
        "take this channel's tasks that are over off its list",
        |rest| match rest.trim() {
            "" => Ok(Command::Bulk(BatchKind::Archive)),
            _ => Err(CommandError::ArchiveOfOne),
        },
    ),
    Usage::new("tasks", "", "list this channel's latest tasks", |_| {
        Ok(Command::Tasks)
    }),
    Usage::new(
        "agents",
        "",
        "list the agents, and how busy they are",
        |_| Ok(Command::Agents),
    ),
    Usage::new(
        "health",
        "[<agent>] | reset <agent> | disable <agent> [--for 1h] [<note>]",
        "show the agents' circuit breakers; reset one, or disable one for a while",
        health::health,
    ),
    Usage::new(
        "agent",
        "drain <agent> [--for 8h] [<note>] | resume <agent>",
        "send an agent no new tasks while it finishes those that it runs; send it tasks again",
        health::agent,
    ),
    Usage::new(
        "dead-letters",
        "",
        "list the messages that Bematic gave up on, and why",
        |_| Ok(Command::DeadLetters),
    ),
    Usage::new("redrive", "", "have those messages tried again", |_| {
        Ok(Command::Redrive)
    }),
    Usage::new("help", "", "show this", |_| Ok(Command::Help)),
];

pub(super) fn parse(word: &str, rest: &str) -> Result<Command, CommandError> {
    let found = COMMANDS
        .iter()
        .find(|usage| usage.name.eq_ignore_ascii_case(word));
    let usage = found.ok_or_else(|| unknown(word))?;
    (usage.parse)(rest)
}

fn is_word(rest: &str, word: &str) -> bool {
    rest.trim().eq_ignore_ascii_case(word)
}

fn task(rest: &str) -> Result<TaskId, CommandError> {
    let id = run::unquoted(rest.trim());
    if id.is_empty() {
        return Err(CommandError::NoTaskId);
    }
    id.parse().map_err(|_| CommandError::BadTaskId(shorten(id)))
}

fn unknown(word: &str) -> CommandError {
    /// The number of typing errors with which a command is still recognised.
    const TYPOS: usize = 2;
    let lower = shorten(word).to_lowercase();
    let nearest = COMMANDS
        .iter()
        .map(|usage| (strsim::osa_distance(usage.name, &lower), usage.name))
        .filter(|(typos, name)| *typos <= TYPOS.min(name.len() / 2))
        .min()
        .map(|(_, name)| name);
    CommandError::Unknown {
        word: shorten(word),
        nearest,
    }
}
