//! The table of commands.

use bematic_protocol::ids::TaskId;

use super::{
    error::{CommandError, shorten},
    health,
    order::Command,
    run,
};
use crate::batch::BatchKind;

/// A command and its parser.
struct Spec {
    usage: Usage,
    parse: fn(&str) -> Result<Command, CommandError>,
}

/// The usage of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The command's first word.
    pub name: &'static str,
    /// The arguments after it.
    pub arguments: &'static str,
    /// The command's effect, as one phrase.
    pub does: &'static str,
}

static COMMANDS: [Spec; 12] = [
    Spec {
        usage: Usage {
            name: "run",
            arguments: "[--agent <agent>] [--priority high|normal|low] <prompt>",
            does: "give an agent something to do",
        },
        parse: run::parse,
    },
    Spec {
        usage: Usage {
            name: "status",
            arguments: "<task>",
            does: "show one task",
        },
        parse: |rest| Ok(Command::Status { task: task(rest)? }),
    },
    Spec {
        usage: Usage {
            name: "cancel",
            arguments: "<task>|all",
            does: "stop one task, or all of this channel's",
        },
        parse: |rest| {
            if is_word(rest, "all") {
                return Ok(Command::Bulk(BatchKind::Cancel));
            }
            Ok(Command::Cancel { task: task(rest)? })
        },
    },
    Spec {
        usage: Usage {
            name: "retry",
            arguments: "<task>|failed",
            does: "try one task again that failed or was cancelled, or all of this channel's that failed",
        },
        parse: |rest| {
            if is_word(rest, "failed") {
                return Ok(Command::Bulk(BatchKind::Retry));
            }
            Ok(Command::Retry { task: task(rest)? })
        },
    },
    Spec {
        usage: Usage {
            name: "archive",
            arguments: "",
            does: "take this channel's tasks that are over off its list",
        },
        parse: |rest| {
            if rest.trim().is_empty() {
                return Ok(Command::Bulk(BatchKind::Archive));
            }
            Err(CommandError::ArchiveOfOne)
        },
    },
    Spec {
        usage: Usage {
            name: "tasks",
            arguments: "",
            does: "list this channel's latest tasks",
        },
        parse: |_| Ok(Command::Tasks),
    },
    Spec {
        usage: Usage {
            name: "agents",
            arguments: "",
            does: "list the agents, and how busy they are",
        },
        parse: |_| Ok(Command::Agents),
    },
    Spec {
        usage: Usage {
            name: "health",
            arguments: "[<agent>] | reset <agent> | disable <agent> [--for 1h] [<note>]",
            does: "show the agents' circuit breakers; reset one, or disable one for a while",
        },
        parse: health::health,
    },
    Spec {
        usage: Usage {
            name: "agent",
            arguments: "drain <agent> [--for 8h] [<note>] | resume <agent>",
            does: "send an agent no new tasks while it finishes those that it runs; send it tasks again",
        },
        parse: health::agent,
    },
    Spec {
        usage: Usage {
            name: "dead-letters",
            arguments: "",
            does: "list the messages that Bematic gave up on, and why",
        },
        parse: |_| Ok(Command::DeadLetters),
    },
    Spec {
        usage: Usage {
            name: "redrive",
            arguments: "",
            does: "have those messages tried again",
        },
        parse: |_| Ok(Command::Redrive),
    },
    Spec {
        usage: Usage {
            name: "help",
            arguments: "",
            does: "show this",
        },
        parse: |_| Ok(Command::Help),
    },
];

/// Returns the usage of every command, in the order of the help.
pub fn usages() -> impl Iterator<Item = &'static Usage> {
    COMMANDS.iter().map(|spec| &spec.usage)
}

pub(super) fn parse(word: &str, rest: &str) -> Result<Command, CommandError> {
    COMMANDS
        .iter()
        .find(|spec| spec.usage.name.eq_ignore_ascii_case(word))
        .map_or_else(|| Err(unknown(word)), |spec| (spec.parse)(rest))
}

fn is_word(rest: &str, word: &str) -> bool {
    rest.trim().eq_ignore_ascii_case(word)
}

fn task(rest: &str) -> Result<TaskId, CommandError> {
    let id = rest
        .trim()
        .trim_matches(|c| matches!(c, '`' | '\'' | '"' | '“' | '”' | '‘' | '’'));
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
