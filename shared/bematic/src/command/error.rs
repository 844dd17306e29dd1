//! The errors in a command.

use bematic_protocol::messages::limits::MAX_PROMPT_CHARS;

/// A command that cannot be parsed. The text may quote the operator's input: it has to be escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("Say what to do, for example `/bm run fix the login bug`.")]
    EmptyPrompt,
    #[error(
        "The prompt has {chars} characters; an agent takes {MAX_PROMPT_CHARS}. Shorten it, or put the \
         long part into a file in the project and name the file."
    )]
    PromptTooLong { chars: usize },
    #[error("There is no command `{word}`. {}", advice(*nearest, word))]
    Unknown {
        word: String,
        /// The command with the most similar name, if one is similar.
        nearest: Option<&'static str>,
    },
    #[error(
        "`run` has no option `{0}`; it has `--agent <agent>` and `--priority high|normal|low`. If the \
         prompt begins with a dash, put `--` before it."
    )]
    UnknownOption(String),
    #[error("Say which agent; `/bm agents` lists them.")]
    NoAgent,
    #[error("`{0}` is not an agent's name; `/bm agents` lists them.")]
    BadAgent(String),
    #[error("`--priority` is `high`, `normal` or `low`.")]
    BadPriority,
    #[error("Say which task, after the command. `/bm tasks` lists them.")]
    NoTaskId,
    /// `archive` has an argument.
    #[error(
        "`/bm archive` is about all of this channel's tasks that are over; write it without anything \
         after it."
    )]
    ArchiveOfOne,
    #[error(
        "`/bm health {0}` is none of `/bm health`, `/bm health <agent>`, `/bm health reset <agent>` \
         and `/bm health disable <agent>`."
    )]
    BadHealth(String),
    #[error(
        "`/bm agent {0}` is neither `/bm agent drain <agent>` nor `/bm agent resume <agent>`; \
         `/bm agents` lists the agents."
    )]
    BadAgentOrder(String),
    #[error("`{0}` is too much: name one agent and nothing else.")]
    OneAgentOnly(String),
    /// The option is not `--for`, the only one of this command.
    #[error(
        "There is no option `{0}` here, only `--for <time>` right after the agent. If the note begins with a dash, put `--` \
         before it."
    )]
    NotFor(String),
    #[error("`--for {0}` is not a duration: write `30m`, `2h` or `1d`, at most 7 days.")]
    BadTime(String),
    #[error("`{0}` is not a task's id; `/bm tasks` lists them.")]
    BadTaskId(String),
    #[error("{} name a person as `@name`, and choose the name that Slack offers.", given(.0, "is nobody:", "Say who:"))]
    BadUser(String),
    #[error("{} a role is `admin`, `operator`, `viewer` or `none`.", given(.0, "is no role;", "Say which role;"))]
    BadRole(String),
    #[error("`--{option} {value}` is not a duration: write `30m`, `2h` or `1d`, at most 365 days.")]
    BadAuditTime { option: &'static str, value: String },
    /// `--until` is not after `--since`.
    #[error("`--until` is how long ago the list ends: it has to be less than `--since`.")]
    NoAuditTime,
    #[error("`audit` has no `{0}`; it has `--user @name`, `--since 2d` and `--until 1d`.")]
    BadAudit(String),
}

impl CommandError {
    /// Returns the stable code, for logs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::EmptyPrompt => "PROMPT_EMPTY",
            Self::PromptTooLong { .. } => "PROMPT_TOO_LONG",
            Self::Unknown { .. } => "COMMAND_UNKNOWN",
            Self::UnknownOption(_) | Self::NotFor(_) | Self::BadAudit(_) => "OPTION_UNKNOWN",
            Self::NoAgent => "AGENT_MISSING",
            Self::BadAgent(_) => "AGENT_INVALID",
            Self::BadPriority => "PRIORITY_INVALID",
            Self::ArchiveOfOne => "ARCHIVE_OF_ONE",
            Self::BadHealth(_) | Self::BadAgentOrder(_) => "SUBCOMMAND_UNKNOWN",
            Self::OneAgentOnly(_) => "TOO_MUCH",
            Self::BadTime(_) | Self::BadAuditTime { .. } | Self::NoAuditTime => "TIME_INVALID",
            Self::BadUser(_) => "USER_INVALID",
            Self::BadRole(_) => "ROLE_INVALID",
            Self::NoTaskId => "TASK_ID_MISSING",
            Self::BadTaskId(_) => "TASK_ID_INVALID",
        }
    }
}

/// Returns what is wrong with a word of the operator's, or what is said of a missing one.
fn given(word: &str, wrong: &str, missing: &str) -> String {
    if word.is_empty() {
        missing.to_owned()
    } else {
        format!("`{word}` {wrong}")
    }
}

fn advice(nearest: Option<&str>, word: &str) -> String {
    match nearest {
        Some(name) => format!("Did you mean `/bm {name}`?"),
        None => format!(
            "To give an agent work, write `/bm run {word} …`; `/bm help` lists the commands."
        ),
    }
}

/// Returns the operator's input, short enough to quote.
pub(super) fn shorten(text: &str) -> String {
    const CHARS: usize = 40;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain(['…']).collect()
}
