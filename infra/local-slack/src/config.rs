//! The configuration of a local Slack.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// The channel for notices of circuit breakers.
pub const OPERATIONS: &str = "C0OPERATIONS";

/// The workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Team {
    /// `T…`
    pub id: String,
    /// As people see it.
    pub name: String,
    /// The workspace's subdomain.
    pub domain: String,
}

/// The app as it is installed in the workspace.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) team: Team,
    pub(crate) bot: Bot,
}

/// A channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Channel {
    /// `C…`
    pub id: String,
    /// Without the `#`.
    pub name: String,
    /// The topic, shown at the channel's head.
    #[serde(default)]
    pub topic: String,
    /// Whether the bot was invited; the bot may post only to channels that it was invited to.
    #[serde(default = "yes")]
    pub has_bot: bool,
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// `U…`
    pub id: String,
    /// The handle, as in `@ada`.
    pub name: String,
    /// As people see it.
    pub real_name: String,
}

/// The app's bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bot {
    /// `B…`
    pub id: String,
    /// The bot's user, `U…`, which a mention names.
    pub user_id: String,
    /// As people see it; typing `@` and this name is a mention.
    pub name: String,
    /// The app, `A…`
    pub app_id: String,
}

/// The configuration of a local Slack: [`Config::new`], and then the fields that should differ.
#[derive(Debug, Clone)]
pub struct Config {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The secret that requests to the webhook are signed with.
    pub signing_secret: SecretString,
    /// The one bearer token that the Web API accepts.
    pub bot_token: SecretString,
    /// The workspace.
    pub team: Team,
    /// The app's bot.
    pub bot: Bot,
    /// The channels there are at the start.
    pub channels: Vec<Channel>,
    /// The people there are at the start; the first is who the page speaks as.
    pub users: Vec<User>,
    /// The slash commands of the app, with their slash.
    pub commands: Vec<String>,
    /// The address that `/slack/commands`, `/slack/events` and `/slack/interactions` are appended
    /// to; can be set later with [`Server::set_webhook`](crate::Slack::set_webhook).
    pub webhook: Option<String>,
    /// How long the webhook may take to answer: Slack waits 3 s.
    pub answer_within: Duration,
    /// The waits before an event is sent again. Slack's: at once, after 1 and after 5 minutes.
    pub event_retries: Vec<Duration>,
    /// The newest messages that are kept of a channel.
    pub max_messages: usize,
    /// The clock.
    pub clock: Clock,
}

impl Config {
    /// A workspace with a bot, two people and three channels.
    pub fn new(signing_secret: &str, bot_token: &str) -> Self {
        Self {
            port: 0,
            signing_secret: signing_secret.into(),
            bot_token: bot_token.into(),
            team: Team {
                id: "T0BEMATIC".into(),
                name: "Bematic Local".into(),
                domain: "bematic-local".into(),
            },
            bot: Bot {
                id: "B0BEMATIC".into(),
                user_id: "U0BEMATIC".into(),
                name: "Bematic".into(),
                app_id: "A0BEMATIC".into(),
            },
            channels: vec![
                channel(
                    "C0ENGINEERING",
                    "engineering",
                    "Ask Bematic: /bm run …, or @Bematic …",
                ),
                channel("C0RANDOM", "random", "Everything else"),
                channel(
                    OPERATIONS,
                    "operations",
                    "What Bematic tells of agents that fail, and of those that work again",
                ),
            ],
            users: vec![
                user("U0ADA", "ada", "Ada Lovelace"),
                user("U0GRACE", "grace", "Grace Hopper"),
            ],
            commands: vec!["/bm".into()],
            webhook: None,
            answer_within: Duration::from_secs(3),
            event_retries: [0, 60, 300].map(Duration::from_secs).into(),
            max_messages: 5_000,
            clock: Clock::system(),
        }
    }
}

fn channel(id: &str, name: &str, topic: &str) -> Channel {
    Channel {
        id: id.into(),
        name: name.into(),
        topic: topic.into(),
        has_bot: true,
    }
}

fn user(id: &str, name: &str, real_name: &str) -> User {
    User {
        id: id.into(),
        name: name.into(),
        real_name: real_name.into(),
    }
}

fn yes() -> bool {
    true
}
