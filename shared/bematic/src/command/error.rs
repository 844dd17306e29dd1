//! What can be wrong with a command.

use bematic_protocol::messages::limits::PROMPT_CHARS;

/// A command that is not understood. Its text is for the operator; it may quote what they wrote, so
/// it is to be escaped like any other text before Slack shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing to do.
    #[error("Say what to do, for example `/bm run fix the login bug`.")]
    EmptyPrompt,
    /// More to do than an agent takes.
    #[error(
        "The prompt has {chars} characters; an agent takes {PROMPT_CHARS}. Shorten it, or put the \
         long part into a file in the project and name the file."
    )]
    PromptTooLong {
        /// Its length.
        chars: usize,
    },
    /// No command has this name.
    #[error("There is no command `{word}`. {}", advice(*nearest, word))]
    Unknown {
        /// The name, cut if it is long.
        word: String,
        /// A command that is spelled much the same.
        nearest: Option<&'static str>,
    },
    /// `run` has no such option.
    #[error(
        "`run` has no option `{0}`; it has `--agent <agent>` and `--priority high|normal|low`. If the \
         prompt begins with a dash, put `--` before it."
    )]
    UnknownOption(String),
    /// `--agent` at the end.
    #[error("Say which agent; `/bm agents` lists them.")]
    NoAgent,
    /// Not a name that an agent can have.
    #[error("`{given}` is not an agent's name; `/bm agents` lists them.")]
    BadAgent {
        /// What was written, cut if it is long.
        given: String,
    },
    /// Not a priority.
    #[error("`--priority` is `high`, `normal` or `low`.")]
    BadPriority,
    /// `status` and the like alone.
    #[error("Say which task, after the command. `/bm tasks` lists them.")]
    NoTaskId,
    /// `archive` with a task.
    #[error(
        "`/bm archive` is about all of this channel's tasks that are over; write it without anything \
         after it."
    )]
    ArchiveOfOne,
    /// `health` with something else.
    #[error(
        "`/bm health {given}` is none of `/bm health`, `/bm health <agent>`, `/bm health reset <agent>` \
         and `/bm health disable <agent>`."
    )]
    BadHealth {
        /// What was written, cut if it is long.
        given: String,
    },
    /// `agent` with something else.
    #[error(
        "`/bm agent {given}` is neither `/bm agent drain <agent>` nor `/bm agent resume <agent>`; \
         `/bm agents` lists the agents."
    )]
    BadAgentOrder {
        /// What was written, cut if it is long.
        given: String,
    },
    /// More than an agent.
    #[error("`{given}` is too much: name one agent and nothing else.")]
    OneAgentOnly {
        /// What was written, cut if it is long.
        given: String,
    },
    /// An option of another name, where there is only `--for`.
    #[error(
        "There is no option `{0}` here, only `--for <time>` right after the agent. If the note begins with a dash, put `--` \
         before it."
    )]
    NotFor(String),
    /// Not a time.
    #[error("`--for {given}` is no time: write `30m`, `2h` or `1d`, at most 7 days.")]
    BadTime {
        /// What was written, cut if it is long.
        given: String,
    },
    /// Not an id that a task can have.
    #[error("`{given}` is not a task's id; `/bm tasks` lists them.")]
    BadTaskId {
        /// What was written, cut if it is long.
        given: String,
    },
}

impl CommandError {
    /// The stable code that the log carries.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyPrompt => "PROMPT_EMPTY",
            Self::PromptTooLong { .. } => "PROMPT_TOO_LONG",
            Self::Unknown { .. } => "COMMAND_UNKNOWN",
            Self::UnknownOption(_) | Self::NotFor(_) => "OPTION_UNKNOWN",
            Self::NoAgent => "AGENT_MISSING",
            Self::BadAgent { .. } => "AGENT_INVALID",
            Self::BadPriority => "PRIORITY_INVALID",
            Self::ArchiveOfOne => "ARCHIVE_OF_ONE",
            Self::BadHealth { .. } | Self::BadAgentOrder { .. } => "SUBCOMMAND_UNKNOWN",
            Self::OneAgentOnly { .. } => "TOO_MUCH",
            Self::BadTime { .. } => "TIME_INVALID",
            Self::NoTaskId => "TASK_ID_MISSING",
            Self::BadTaskId { .. } => "TASK_ID_INVALID",
        }
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

/// What an operator wrote, short enough to quote.
pub(super) fn shorten(text: &str) -> String {
    const CHARS: usize = 40;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain(['…']).collect()
}
