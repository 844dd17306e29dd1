//! The configuration of a local Slack.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// The id of the channel for notices of circuit breakers.
pub const OPERATIONS_CHANNEL: &str = "C0OPERATIONS";

/// The workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Team {
    /// The id, `T…`.
    pub id: String,
    /// The displayed name.
    pub name: String,
    /// The workspace's subdomain.
    pub domain: String,
}

/// A channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Channel {
    /// The id, `C…`.
    pub id: String,
    /// The name, without the `#`.
    pub name: String,
    /// The topic, shown above the channel's messages.
    #[serde(default)]
    pub topic: String,
    /// Whether the bot is a member of the channel; it can only post where it is.
    #[serde(default = "yes")]
    pub has_bot: bool,
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The id, `U…`.
    pub id: String,
    /// The handle, as in `@ada`.
    pub name: String,
    /// The displayed name.
    pub real_name: String,
}

/// The app's bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bot {
    /// The bot's id, `B…`.
    pub id: String,
    /// The id of the bot's user, `U…`, which a mention contains.
    pub user_id: String,
    /// The displayed name; typing `@` and this name is a mention.
    pub name: String,
    /// The app's id, `A…`.
    pub app_id: String,
}

/// The configuration of a local Slack. [`Config::new`] sets defaults, which can be changed field by
/// field.
#[derive(Debug, Clone)]
pub struct Config {
    /// The port on 127.0.0.1; 0 for a free one.
    pub port: u16,
    /// The secret that signs requests to the webhook.
    pub signing_secret: SecretString,
    /// The bearer token that the Web API accepts.
    pub bot_token: SecretString,
    /// The workspace.
    pub team: Team,
    /// The app's bot.
    pub bot: Bot,
    /// The channels at the start.
    pub channels: Vec<Channel>,
    /// The people at the start; the page acts as the first.
    pub users: Vec<User>,
    /// The slash commands of the app, with their slash.
    pub commands: Vec<String>,
    /// The address of the webhook, to which `/slack/commands`, `/slack/events` and
    /// `/slack/interactions` are appended. [`Slack::set_webhook`](crate::Slack::set_webhook) sets
    /// it later.
    pub webhook: Option<String>,
    /// The time limit for the webhook's answer; Slack's is 3 s.
    pub answer_within: Duration,
    /// The waits before an event is sent again. Slack's are none, 1 min and 5 min.
    pub event_retries: Vec<Duration>,
    /// The number of messages that a channel keeps.
    pub max_messages: usize,
    /// The clock.
    pub clock: Clock,
}

impl Config {
    /// Returns the configuration of a workspace with a bot, two people and three channels.
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
                    OPERATIONS_CHANNEL,
                    "operations",
                    "Notices of agents whose circuit breaker has opened or closed",
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
