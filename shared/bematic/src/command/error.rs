//! The errors in a command.

use bematic_protocol::messages::limits::PROMPT_CHARS;

/// A command that cannot be parsed. The error's text is for the operator; it may quote the
/// operator's input, so it has to be escaped like any other text before Slack shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The prompt is empty.
    #[error("Say what to do, for example `/bm run fix the login bug`.")]
    EmptyPrompt,
    /// The prompt is longer than an agent accepts.
    #[error(
        "The prompt has {chars} characters; an agent takes {PROMPT_CHARS}. Shorten it, or put the \
         long part into a file in the project and name the file."
    )]
    PromptTooLong {
        /// The number of characters of the prompt.
        chars: usize,
    },
    /// No command has this name.
    #[error("There is no command `{word}`. {}", advice(*nearest, word))]
    Unknown {
        /// The name, cut if it is long.
        word: String,
        /// The command with the most similar name, if one is similar.
        nearest: Option<&'static str>,
    },
    /// `run` has no option of this name.
    #[error(
        "`run` has no option `{0}`; it has `--agent <agent>` and `--priority high|normal|low`. If the \
         prompt begins with a dash, put `--` before it."
    )]
    UnknownOption(String),
    /// `--agent` has no value.
    #[error("Say which agent; `/bm agents` lists them.")]
    NoAgent,
    /// The text is not a valid agent name.
    #[error("`{given}` is not an agent's name; `/bm agents` lists them.")]
    BadAgent {
        /// The operator's input, cut if it is long.
        given: String,
    },
    /// The text is not a priority.
    #[error("`--priority` is `high`, `normal` or `low`.")]
    BadPriority,
    /// The command has no task id.
    #[error("Say which task, after the command. `/bm tasks` lists them.")]
    NoTaskId,
    /// `archive` has an argument.
    #[error(
        "`/bm archive` is about all of this channel's tasks that are over; write it without anything \
         after it."
    )]
    ArchiveOfOne,
    /// `health` has an unknown subcommand.
    #[error(
        "`/bm health {given}` is none of `/bm health`, `/bm health <agent>`, `/bm health reset <agent>` \
         and `/bm health disable <agent>`."
    )]
    BadHealth {
        /// The operator's input, cut if it is long.
        given: String,
    },
    /// `agent` has an unknown subcommand.
    #[error(
        "`/bm agent {given}` is neither `/bm agent drain <agent>` nor `/bm agent resume <agent>`; \
         `/bm agents` lists the agents."
    )]
    BadAgentOrder {
        /// The operator's input, cut if it is long.
        given: String,
    },
    /// There is an argument after the agent.
    #[error("`{given}` is too much: name one agent and nothing else.")]
    OneAgentOnly {
        /// The operator's input, cut if it is long.
        given: String,
    },
    /// The option is not `--for`, the only one of this command.
    #[error(
        "There is no option `{0}` here, only `--for <time>` right after the agent. If the note begins with a dash, put `--` \
         before it."
    )]
    NotFor(String),
    /// The text is not a duration.
    #[error("`--for {given}` is not a duration: write `30m`, `2h` or `1d`, at most 7 days.")]
    BadTime {
        /// The operator's input, cut if it is long.
        given: String,
    },
    /// The text is not a valid task id.
    #[error("`{given}` is not a task's id; `/bm tasks` lists them.")]
    BadTaskId {
        /// The operator's input, cut if it is long.
        given: String,
    },
}

impl CommandError {
    /// Returns the stable code, for logs.
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

/// Returns the operator's input, short enough to quote.
pub(super) fn shorten(text: &str) -> String {
    const CHARS: usize = 40;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain(['…']).collect()
}
