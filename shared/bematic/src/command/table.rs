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
pub struct Usage {
    /// The command's first word.
    pub name: &'static str,
    /// The arguments after it.
    pub arguments: &'static str,
    /// The command's effect, as one phrase.
    pub does: &'static str,
    parse: fn(&str) -> Result<Command, CommandError>,
}

static COMMANDS: [Usage; 12] = [
    Usage {
        name: "run",
        arguments: "[--agent <agent>] [--priority high|normal|low] <prompt>",
        does: "give an agent something to do",
        parse: run::parse,
    },
    Usage {
        name: "status",
        arguments: "<task>",
        does: "show one task",
        parse: |rest| Ok(Command::Status { task: task(rest)? }),
    },
    Usage {
        name: "cancel",
        arguments: "<task>|all",
        does: "stop one task, or all of this channel's",
        parse: |rest| {
            if is_word(rest, "all") {
                return Ok(Command::Bulk(BatchKind::Cancel));
            }
            Ok(Command::Cancel { task: task(rest)? })
        },
    },
    Usage {
        name: "retry",
        arguments: "<task>|failed",
        does: "try one task again that failed or was cancelled, or all of this channel's that failed",
        parse: |rest| {
            if is_word(rest, "failed") {
                return Ok(Command::Bulk(BatchKind::Retry));
            }
            Ok(Command::Retry { task: task(rest)? })
        },
    },
    Usage {
        name: "archive",
        arguments: "",
        does: "take this channel's tasks that are over off its list",
        parse: |rest| {
            if rest.trim().is_empty() {
                return Ok(Command::Bulk(BatchKind::Archive));
            }
            Err(CommandError::ArchiveOfOne)
        },
    },
    Usage {
        name: "tasks",
        arguments: "",
        does: "list this channel's latest tasks",
        parse: |_| Ok(Command::Tasks),
    },
    Usage {
        name: "agents",
        arguments: "",
        does: "list the agents, and how busy they are",
        parse: |_| Ok(Command::Agents),
    },
    Usage {
        name: "health",
        arguments: "[<agent>] | reset <agent> | disable <agent> [--for 1h] [<note>]",
        does: "show the agents' circuit breakers; reset one, or disable one for a while",
        parse: health::health,
    },
    Usage {
        name: "agent",
        arguments: "drain <agent> [--for 8h] [<note>] | resume <agent>",
        does: "send an agent no new tasks while it finishes those that it runs; send it tasks again",
        parse: health::agent,
    },
    Usage {
        name: "dead-letters",
        arguments: "",
        does: "list the messages that Bematic gave up on, and why",
        parse: |_| Ok(Command::DeadLetters),
    },
    Usage {
        name: "redrive",
        arguments: "",
        does: "have those messages tried again",
        parse: |_| Ok(Command::Redrive),
    },
    Usage {
        name: "help",
        arguments: "",
        does: "show this",
        parse: |_| Ok(Command::Help),
    },
];

/// Returns the usage of every command, in the order of the help.
pub fn usages() -> impl Iterator<Item = &'static Usage> {
    COMMANDS.iter()
}

pub(super) fn parse(word: &str, rest: &str) -> Result<Command, CommandError> {
    let found = usages().find(|usage| usage.name.eq_ignore_ascii_case(word));
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
    id.parse()
        .map_err(|_| CommandError::BadTaskId { given: shorten(id) })
}

fn unknown(word: &str) -> CommandError {
    /// The number of typing errors with which a command is still recognised.
    const TYPOS: usize = 2;
    let lower = shorten(word).to_lowercase();
    let nearest = usages()
        .map(|usage| (strsim::osa_distance(usage.name, &lower), usage.name))
        .filter(|(typos, name)| *typos <= TYPOS.min(name.len() / 2))
        .min()
        .map(|(_, name)| name);
    CommandError::Unknown {
        word: shorten(word),
        nearest,
    }
}
