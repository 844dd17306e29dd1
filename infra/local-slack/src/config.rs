//! The configuration of a local Slack, and the constants of its workspace.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// The workspace's id.
pub const TEAM_ID: &str = "T0BEMATIC";
pub(crate) const TEAM_NAME: &str = "Bematic Local";
/// The workspace's subdomain.
pub(crate) const TEAM_DOMAIN: &str = "bematic-local";
/// The app's id.
pub const APP_ID: &str = "A0BEMATIC";
pub(crate) const BOT_ID: &str = "B0BEMATIC";
/// The id of the bot's user, which a mention contains.
pub(crate) const BOT_USER_ID: &str = "U0BEMATIC";
/// The bot's displayed name; typing `@` and this name is a mention.
pub(crate) const BOT_NAME: &str = "Bematic";
/// The app's slash command.
pub(crate) const SLASH_COMMAND: &str = "/bm";
/// The id of the channel for notices of circuit breakers.
pub const OPERATIONS_CHANNEL_ID: &str = "C0OPERATIONS";

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
    #[serde(default = "default_true")]
    pub has_bot: bool,
}

fn default_true() -> bool {
    true
}

/// A person, who is a full member of the workspace unless a field says otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Slack's users have these fields"
)]
pub struct User {
    /// The id, `U…`.
    pub id: String,
    /// The handle, as in `@ada`.
    pub name: String,
    /// The displayed name.
    pub real_name: String,
    /// Whether the person is a guest, of one channel or of several.
    #[serde(default)]
    pub is_restricted: bool,
    /// Whether the person is a guest of one channel; Slack then sets `is_restricted`, too.
    #[serde(default)]
    pub is_ultra_restricted: bool,
    /// Whether the user is a bot.
    #[serde(default)]
    pub is_bot: bool,
    /// Whether the person is of another workspace.
    #[serde(default)]
    pub is_stranger: bool,
    /// Whether the account is deactivated.
    #[serde(default)]
    pub deleted: bool,
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
    /// The channels at the start.
    pub channels: Vec<Channel>,
    /// The people at the start; the page acts as the first.
    pub users: Vec<User>,
    /// Whether `users.info` knows everybody else, too, as a full member: a tool that signs requests
    /// itself then need not add the people who give its commands.
    pub knows_everybody: bool,
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
        let channels = [
            (
                "C0ENGINEERING",
                "engineering",
                "Ask Bematic: /bm run …, or @Bematic …",
            ),
            ("C0RANDOM", "random", "Everything else"),
            (
                OPERATIONS_CHANNEL_ID,
                "operations",
                "Notices of agents whose circuit breaker has opened or closed",
            ),
        ];
        let users = [
            ("U0ADA", "ada", "Ada Lovelace"),
            ("U0GRACE", "grace", "Grace Hopper"),
        ];
        Self {
            port: 0,
            signing_secret: signing_secret.into(),
            bot_token: bot_token.into(),
            channels: Vec::from(channels.map(|(id, name, topic)| Channel {
                id: id.into(),
                name: name.into(),
                topic: topic.into(),
                has_bot: true,
            })),
            users: Vec::from(users.map(|(id, name, real_name)| User {
                id: id.into(),
                name: name.into(),
                real_name: real_name.into(),
                ..User::default()
            })),
            knows_everybody: false,
            answer_within: Duration::from_secs(3),
            event_retries: [0, 60, 300].map(Duration::from_secs).into(),
            max_messages: 5_000,
            clock: Clock::system(),
        }
    }
}
