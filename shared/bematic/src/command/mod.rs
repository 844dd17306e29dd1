//! What an operator writes: `/bm …` and `@bot …`.
//!
//! One table ([`table::COMMANDS`]) is what the parser goes by and what the help is made of. A new
//! command is a row there and a variant of [`Command`].

mod error;
mod health;
mod run;
mod table;
mod unescape;

use std::time::Duration;

use strum::IntoStaticStr;

pub use self::{
    error::CommandError,
    table::{Usage, usages},
    unescape::unescape,
};
use crate::{batch::BatchKind, task::Priority};
use bematic_protocol::ids::{AgentId, TaskId};

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives an agent something to do.
    Run {
        /// Which agent; `None` for the channel's own.
        agent: Option<AgentId>,
        /// How urgent it is.
        priority: Priority,
        /// What to do, to the letter.
        prompt: String,
    },
    /// Stops one task.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// Tries one task again that failed or was cancelled.
    Retry {
        /// Which.
        task: TaskId,
    },
    /// Changes all of the channel's tasks that it fits.
    Bulk(BatchKind),
    /// Asks what the functions gave up on.
    DeadLetters,
    /// Has what they gave up on given to them again.
    Redrive,
    /// Asks for one task.
    Status {
        /// Which.
        task: TaskId,
    },
    /// Asks for the channel's tasks.
    Tasks,
    /// Asks for the agents.
    Agents,
    /// Asks for one agent's circuit breaker, or for all.
    Health {
        /// Which; `None` for all.
        agent: Option<AgentId>,
    },
    /// Takes over an agent's circuit breaker.
    Breaker {
        /// Which.
        agent: AgentId,
        /// What it is to do.
        order: BreakerOrder,
    },
    /// Asks what can be asked.
    Help,
}

/// What an operator wants of an agent's circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerOrder {
    /// To start anew: closed, with nothing counted.
    Reset,
    /// No new work for the agent; what it runs goes on.
    Drain {
        /// For how long.
        lasts: Duration,
        /// Why, if they say.
        note: String,
    },
    /// Work for the agent, whatever it makes of it.
    Disable {
        /// For how long.
        lasts: Duration,
        /// Why, if they say.
        note: String,
    },
    /// To decide by itself again.
    Resume,
}

impl BreakerOrder {
    /// What it is, without an operator's words.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl Command {
    /// Whether it changes what is stored, so that it may have been carried out though that was not
    /// confirmed.
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

/// Reads what follows `/bm`, as Slack escapes it. Nothing at all asks for help.
///
/// # Errors
/// [`CommandError`], whose text tells the operator what to write instead.
pub fn parse(text: &str) -> Result<Command, CommandError> {
    let text = unescape(text);
    match split_word(&text) {
        ("", _) => Ok(Command::Help),
        (word, rest) => table::parse(word, rest),
    }
}

/// Reads a message that mentions the bot, as Slack escapes it. All of it but the leading mention is
/// a prompt, so that no work is mistaken for a command; only `help` alone asks for help.
///
/// # Errors
/// [`CommandError`], whose text tells the operator what to write instead.
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

fn without_mention(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .map_or(text, |(_, rest)| rest)
}

/// The first word, and what follows it without the space between.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests;
