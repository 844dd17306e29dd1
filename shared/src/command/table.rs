//! The commands.

use super::{Command, CommandError, run};
use crate::ids::TaskId;

/// One command.
struct Spec {
    usage: Usage,
    parse: fn(&str) -> Result<Command, CommandError>,
}

/// How a command is written, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its first word.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static str,
    /// What it does, as one phrase.
    pub does: &'static str,
}

static COMMANDS: [Spec; 7] = [
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
            arguments: "<task>",
            does: "stop one task",
        },
        parse: |rest| Ok(Command::Cancel { task: task(rest)? }),
    },
    Spec {
        usage: Usage {
            name: "retry",
            arguments: "<task>",
            does: "try one task again that failed or was cancelled",
        },
        parse: |rest| Ok(Command::Retry { task: task(rest)? }),
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
            name: "help",
            arguments: "",
            does: "show this",
        },
        parse: |_| Ok(Command::Help),
    },
];

/// Every command, in the order that the help shows them.
pub fn usages() -> impl Iterator<Item = &'static Usage> {
    COMMANDS.iter().map(|spec| &spec.usage)
}

pub(super) fn parse(word: &str, rest: &str) -> Result<Command, CommandError> {
    COMMANDS
        .iter()
        .find(|spec| spec.usage.name.eq_ignore_ascii_case(word))
        .map_or_else(|| Err(unknown(word)), |spec| (spec.parse)(rest))
}

fn task(rest: &str) -> Result<TaskId, CommandError> {
    let id = rest
        .trim()
        .trim_matches(|c| matches!(c, '`' | '\'' | '"' | '“' | '”' | '‘' | '’'));
    if id.is_empty() {
        return Err(CommandError::NoTaskId);
    }
    id.parse().map_err(|_| CommandError::BadTaskId {
        given: super::error::shorten(id),
    })
}

fn unknown(word: &str) -> CommandError {
    /// Typing errors that still leave a command recognisable.
    const TYPOS: usize = 2;
    let lower = super::error::shorten(word).to_lowercase();
    let nearest = usages()
        .map(|usage| (strsim::osa_distance(usage.name, &lower), usage.name))
        .filter(|(typos, name)| *typos <= TYPOS.min(name.len() / 2))
        .min()
        .map(|(_, name)| name);
    CommandError::Unknown {
        word: super::error::shorten(word),
        nearest,
    }
}
