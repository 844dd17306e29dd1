//! The commands of `bematic`, and the change that each of them makes, for the audit log.

use std::time::Duration;

use bematic::agent::KeyPrefix;
use bematic::command::parse_duration_within;
use bematic::dead_letter::QueueName;
use bematic_protocol::ids::{AgentId, ChannelId};
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use strum::IntoEnumIterator as _;

use crate::admin::{NewProject, ProjectChanges};
use crate::breaker::BreakerArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create agents, list them, rotate and revoke their keys, configure their circuit breakers.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Create the projects of channels, change them, list them, delete them.
    #[command(subcommand)]
    Project(ProjectCommand),
    /// List the messages in the dead-letter queues, and have them tried again.
    DeadLetters {
        /// The queue, if only one is meant.
        #[arg(long, global = true, value_parser = queue_name_parser())]
        queue: Option<QueueName>,
        #[command(subcommand)]
        action: DeadLettersAction,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Create an agent, and print its key, which is shown only this once.
    #[command(after_help = "\
Examples:
  bematic agent create build-box
  bematic agent create build-box --add-key      another key, for example before the old one is revoked
  bematic agent create build-box --json         {\"agentId\":\"build-box\",\"apiKey\":\"bm_…\",\"keyId\":\"…\"}")]
    Create {
        /// The agent's id: 1 to 64 letters, digits, '.', '_' or '-'.
        id: AgentId,
        /// Give an agent that exists another key.
        #[arg(long)]
        add_key: bool,
    },
    /// List all agents.
    List,
    /// List the keys of an agent, with the time at which each was last used to connect.
    Keys {
        /// The agent's id.
        id: AgentId,
    },
    /// Issue another key of an agent, and print it; the present ones are refused after a while.
    #[command(after_help = "\
A connection that was opened with an old key lives on until it ends, for at most two hours.

Examples:
  bematic agent rotate build-box
  bematic agent rotate build-box --overlap 2h")]
    Rotate {
        /// The agent's id.
        id: AgentId,
        /// How long the present keys remain valid, such as 30m, 24h or 7d; 0m refuses them at once.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_overlap)]
        overlap: Duration,
    },
    /// Revoke one key of an agent, or all: none opens a connection any more, and the agent's
    /// connection is closed if it was opened with one of them.
    #[command(after_help = "\
Examples:
  bematic agent revoke build-box                 all keys
  bematic agent revoke build-box --key 3fa9      one of those that `bematic agent keys` lists")]
    Revoke {
        /// The agent's id.
        id: AgentId,
        /// The beginning of the id of the key, at least 4 digits.
        #[arg(long, value_name = "PREFIX")]
        key: Option<KeyPrefix>,
    },
    /// Give an agent's circuit breaker settings of its own, or show them.
    #[command(after_help = "\
Examples:
  bematic agent breaker build-box                             shows the settings
  bematic agent breaker build-box --consecutive-failures 3
  bematic agent breaker build-box --defaults                  the deployment's settings again")]
    Breaker {
        /// The agent's id.
        id: AgentId,
        /// Remove the agent's own settings, so that the deployment's apply.
        #[arg(long, conflicts_with = "BreakerArgs")]
        defaults: bool,
        #[command(flatten)]
        settings: Box<BreakerArgs>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Create the project of a channel.
    #[command(after_help = "\
Examples:
  bematic project create --channel C0123456 --name web --agent build-box --local-path /srv/web
  bematic project create --channel C0123456 --name web --agent build-box,laptop --local-path /srv/web --replace")]
    Create {
        #[command(flatten)]
        project: Box<NewProject>,
        /// Replace the channel's present project.
        #[arg(long)]
        replace: bool,
    },
    /// Change the project of a channel; what is not named stays as it is.
    #[command(after_help = "\
Example:
  bematic project edit --channel C0123456 --agent build-box,laptop --max-budget 10")]
    Edit {
        /// The Slack channel, by its id.
        #[arg(long)]
        channel: ChannelId,
        #[command(flatten)]
        changes: Box<ProjectChanges>,
    },
    /// List all projects.
    List,
    /// Delete a channel's project. Existing tasks continue; new ones are refused.
    Delete {
        /// The Slack channel, by its id.
        #[arg(long)]
        channel: ChannelId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersAction {
    /// List dead letters with their reasons, up to ten of each queue.
    List,
    /// Move all dead letters back to their queues, so that the functions try them again.
    Redrive,
}

/// A change that a command makes, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The command with what it is about, as it is typed, without names, paths and other texts.
    pub(crate) action: String,
    /// Whether it is kept as long as security events are: a change of keys, or of external access.
    pub(crate) security: bool,
}

impl Command {
    /// Returns the change that the command makes; `None` for a command that only reads.
    pub(crate) fn change(&self) -> Option<Change> {
        match self {
            Self::Agent(command) => command.change(),
            Self::Project(command) => command.change(),
            Self::DeadLetters { queue, action } => match action {
                DeadLettersAction::List => None,
                DeadLettersAction::Redrive => {
                    let queue = queue.map(<&str>::from);
                    let queue = queue.map_or_else(String::new, |name| format!(" --queue {name}"));
                    Some(Change {
                        action: format!("dead-letters redrive{queue}"),
                        security: false,
                    })
                }
            },
        }
    }
}

impl AgentCommand {
    fn change(&self) -> Option<Change> {
        let change = |security, action| Some(Change { action, security });
        match self {
            Self::List | Self::Keys { .. } => None,
            Self::Create { id, add_key } => {
                let add_key = if *add_key { " --add-key" } else { "" };
                change(true, format!("agent create {id}{add_key}"))
            }
            Self::Rotate { id, .. } => change(true, format!("agent rotate {id}")),
            Self::Revoke { id, key } => {
                let key = key.as_ref();
                let key = key.map_or_else(String::new, |prefix| format!(" --key {prefix}"));
                change(true, format!("agent revoke {id}{key}"))
            }
            Self::Breaker {
                defaults: false,
                settings,
                ..
            } if settings.is_empty() => None,
            Self::Breaker { id, defaults, .. } => {
                let defaults = if *defaults { " --defaults" } else { "" };
                change(false, format!("agent breaker {id}{defaults}"))
            }
        }
    }
}

impl ProjectCommand {
    fn change(&self) -> Option<Change> {
        match self {
            Self::List => None,
            Self::Create { project, replace } => {
                let (channel, route) = (&project.channel_id, &project.route);
                let external = project.external_users;
                let replaces = if *replace { " --replace" } else { "" };
                let admits = if external { " --external-users" } else { "" };
                Some(Change {
                    action: format!(
                        "project create --channel {channel} --agent {route}{replaces}{admits}"
                    ),
                    // A replaced project may have admitted others.
                    security: external || *replace,
                })
            }
            Self::Edit { channel, changes } => {
                let route = changes.route.as_ref();
                let route = route.map_or_else(String::new, |it| format!(" --agent {it}"));
                let external = changes.external_users;
                let admits =
                    external.map_or_else(String::new, |it| format!(" --external-users {it}"));
                Some(Change {
                    action: format!("project edit --channel {channel}{route}{admits}"),
                    security: external.is_some(),
                })
            }
            Self::Delete { channel } => Some(Change {
                action: format!("project delete --channel {channel}"),
                // The project may have admitted others.
                security: true,
            }),
        }
    }
}

fn queue_name_parser() -> impl TypedValueParser<Value = QueueName> {
    PossibleValuesParser::new(QueueName::iter().map(<&str>::from))
        .try_map(|name| name.parse::<QueueName>())
}

/// Parses an overlap of up to a year: minutes, hours or days.
fn parse_overlap(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(365 * 24);
    parse_duration_within(text, Duration::ZERO..=MAX)
        .ok_or_else(|| "expected a time such as 30m, 24h or 7d, of at most a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_minutes_hours_or_days_of_at_most_a_year() {
        let secs = |text: &str| parse_overlap(text).map(|overlap| overlap.as_secs());
        for (text, expected) in [
            ("0m", 0),
            ("90m", 5400),
            ("24h", 86_400),
            ("365d", 31_536_000),
        ] {
            assert_eq!(secs(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "24",
            "h",
            "-1h",
            "1.5h",
            "1 h",
            "366d",
            "99999999999999999999d",
            "2w",
        ] {
            assert!(secs(bad).is_err(), "{bad}");
        }
    }
}
