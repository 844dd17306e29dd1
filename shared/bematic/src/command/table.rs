//! The table of commands.

use bematic_protocol::ids::TaskId;

use super::{
    error::{CommandError, shorten},
    health,
    order::Command,
    people, run,
    unescape::unescape,
};
use crate::batch::BatchKind;

/// A row of the table: a command, its help and its parser.
#[derive(Debug)]
pub(crate) struct CommandEntry {
    /// The command's first word.
    pub name: &'static str,
    pub arguments: &'static str,
    /// The command's effect, as one phrase.
    pub does: &'static str,
    /// Parses the text after the first word: as the operator wrote it, or, if it names people, as Slack
    /// escapes it, which has their ids.
    parse: fn(&str) -> Result<Command, CommandError>,
    names_people: bool,
}

impl CommandEntry {
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
            names_people: false,
        }
    }

    /// Returns the entry of a command whose arguments name people.
    const fn naming_people(self) -> Self {
        Self {
            names_people: true,
            ..self
        }
    }
}

/// The commands, in the order of the help.
pub(crate) static COMMANDS: [CommandEntry; 15] = [
    CommandEntry::new(
        "run",
        "[--agent <agent>] [--priority high|normal|low] <prompt>",
        "give an agent something to do",
        run::parse,
    ),
    CommandEntry::new("status", "<task>", "show one task", |rest| {
        Ok(Command::Status(parse_task_id(rest)?))
    }),
    CommandEntry::new(
        "cancel",
        "<task>|all",
        "stop one task, or all of this channel's",
        |rest| match rest {
            all if is_keyword(all, "all") => Ok(Command::Bulk(BatchKind::Cancel)),
            id => Ok(Command::Cancel(parse_task_id(id)?)),
        },
    ),
    CommandEntry::new(
        "retry",
        "<task>|failed",
        "try one task again that failed or was cancelled, or all of this channel's that failed",
        |rest| match rest {
            failed if is_keyword(failed, "failed") => Ok(Command::Bulk(BatchKind::Retry)),
            id => Ok(Command::Retry(parse_task_id(id)?)),
        },
    ),
    CommandEntry::new(
        "archive",
        "",
        "take this channel's tasks that are over off its list",
        |rest| match rest.trim() {
            "" => Ok(Command::Bulk(BatchKind::Archive)),
            _ => Err(CommandError::ArchiveOfOne),
        },
    ),
    CommandEntry::new("tasks", "", "list this channel's latest tasks", |_| {
        Ok(Command::Tasks)
    }),
    CommandEntry::new(
        "agents",
        "",
        "list the agents, and how busy they are",
        |_| Ok(Command::Agents),
    ),
    CommandEntry::new(
        "health",
        "[<agent>] | reset <agent> | disable <agent> [--for 1h] [<note>]",
        "show the agents' circuit breakers; reset one, or disable one for a while",
        health::parse_health_command,
    ),
    CommandEntry::new(
        "agent",
        "drain <agent> [--for 8h] [<note>] | resume <agent>",
        "send an agent no new tasks while it finishes those that it runs; send it tasks again",
        health::parse_agent_command,
    ),
    CommandEntry::new(
        "dead-letters",
        "",
        "list the messages that Bematic gave up on, and why",
        |_| Ok(Command::DeadLetters),
    ),
    CommandEntry::new("redrive", "", "have those messages tried again", |_| {
        Ok(Command::Redrive)
    }),
    CommandEntry::new(
        "role",
        "@user admin|operator|viewer|none",
        "say what somebody may do",
        people::parse_role_command,
    )
    .naming_people(),
    CommandEntry::new("users", "", "list who may do what", |_| Ok(Command::Users)),
    CommandEntry::new(
        "audit",
        "[--user @user] [--since 2d] [--until 1d]",
        "list who did what",
        people::parse_audit_command,
    )
    .naming_people(),
    CommandEntry::new("help", "", "show this", |_| Ok(Command::Help)),
];

/// Parses a command from its first word and the rest, as Slack escapes it.
pub(super) fn parse(word: &str, rest: &str) -> Result<Command, CommandError> {
    let found = COMMANDS
        .iter()
        .find(|entry| entry.name.eq_ignore_ascii_case(word));
    let entry = found.ok_or_else(|| unknown_command_error(word))?;
    if entry.names_people {
        (entry.parse)(rest.trim())
    } else {
        (entry.parse)(&unescape(rest))
    }
}

fn is_keyword(rest: &str, word: &str) -> bool {
    rest.trim().eq_ignore_ascii_case(word)
}

fn parse_task_id(rest: &str) -> Result<TaskId, CommandError> {
    let id = run::trim_quotes(rest.trim());
    if id.is_empty() {
        return Err(CommandError::NoTaskId);
    }
    id.parse().map_err(|_| CommandError::BadTaskId(shorten(id)))
}

fn unknown_command_error(word: &str) -> CommandError {
    /// The number of typing errors with which a command is still recognised.
    const TYPOS: usize = 2;
    let lower = shorten(word).to_lowercase();
    let nearest = COMMANDS
        .iter()
        .map(|entry| (strsim::osa_distance(entry.name, &lower), entry.name))
        .filter(|(typos, name)| *typos <= TYPOS.min(name.len() / 2))
        .min()
        .map(|(_, name)| name);
    CommandError::Unknown {
        word: shorten(word),
        nearest,
    }
}
