//! The commands that an operator writes: `/bm …` and `@bot …`.
//!
//! The table [`table::COMMANDS`] is used by the parser and by the help. A new command is a row
//! there and a variant of [`Command`].

mod error;
mod health;
mod run;
mod table;
mod unescape;

use std::time::Duration;

use bematic_protocol::ids::{AgentId, TaskId};
use strum::IntoStaticStr;

pub use self::{
    error::CommandError,
    table::{Usage, usages},
    unescape::unescape,
};
use crate::{batch::BatchKind, task::Priority};

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Creates a task.
    Run {
        /// The agent; `None` for the agents of the channel's project.
        agent: Option<AgentId>,
        /// The task's priority.
        priority: Priority,
        /// The prompt, as it was written.
        prompt: String,
    },
    /// Cancels one task.
    Cancel {
        /// The task.
        task: TaskId,
    },
    /// Retries one task that failed or was cancelled.
    Retry {
        /// The task.
        task: TaskId,
    },
    /// Starts a bulk operation on the channel's tasks that qualify.
    Bulk(BatchKind),
    /// Lists the dead letters.
    DeadLetters,
    /// Moves the dead letters back to their queues.
    Redrive,
    /// Shows one task.
    Status {
        /// The task.
        task: TaskId,
    },
    /// Lists the channel's tasks.
    Tasks,
    /// Lists the agents.
    Agents,
    /// Shows one agent's circuit breaker, or those of all agents.
    Health {
        /// The agent; `None` for all.
        agent: Option<AgentId>,
    },
    /// Gives an order to an agent's circuit breaker.
    Breaker {
        /// The agent.
        agent: AgentId,
        /// The order.
        order: BreakerOrder,
    },
    /// Lists the commands.
    Help,
}

/// An operator's order to an agent's circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerOrder {
    /// Resets the breaker: closed, with nothing counted.
    Reset,
    /// Drains the agent: no new tasks; running tasks go on.
    Drain {
        /// The duration of the order.
        lasts: Duration,
        /// The operator's note; empty if there is none.
        note: String,
    },
    /// Disables the breaker: tasks are sent to the agent, whatever the outcomes.
    Disable {
        /// The duration of the order.
        lasts: Duration,
        /// The operator's note; empty if there is none.
        note: String,
    },
    /// Ends the order that is in force.
    Resume,
}

impl BreakerOrder {
    /// Returns the order's name, without the operator's note.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl Command {
    /// Whether the command changes stored data, so that it may have been executed although that was
    /// not confirmed.
    pub const fn stores(&self) -> bool {
        matches!(
            self,
            Self::Run { .. }
                | Self::Cancel { .. }
                | Self::Retry { .. }
                | Self::Bulk(_)
                | Self::Breaker { .. }
        )
    }
}

/// Parses the text after `/bm`, as Slack escapes it. An empty text is `help`.
///
/// # Errors
/// [`CommandError`], whose text says what the operator should write instead.
pub fn parse(text: &str) -> Result<Command, CommandError> {
    let text = unescape(text);
    match split_word(&text) {
        ("", _) => Ok(Command::Help),
        (word, rest) => table::parse(word, rest),
    }
}

/// Parses a message that mentions the bot, as Slack escapes it. All of it but the leading mention
/// is a prompt, so that no prompt is mistaken for a command; only the single word `help` is one.
///
/// # Errors
/// [`CommandError`], whose text says what the operator should write instead.
pub fn parse_mention(text: &str) -> Result<Command, CommandError> {
    let text = unescape(without_mention(text));
    if text.trim().eq_ignore_ascii_case("help") {
        return Ok(Command::Help);
    }
    Ok(Command::Run {
        agent: None,
        priority: Priority::default(),
        prompt: run::prompt(&text)?,
    })
}

/// Returns the first word, and the rest without the white space between.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

fn without_mention(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
