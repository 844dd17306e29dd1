//! The local Slack that functions call in the bench and in the simulation.

use std::sync::Arc;

use local_slack::{Channel, Clock, Config, Slack, User};

use crate::events::{SECRET, USER};

/// The token of the Slack app's bot.
pub(crate) const BOT_TOKEN: &str = "xoxb-bench";

/// Returns a Slack that forgets no message.
pub(crate) fn slack(clock: Clock) -> Arc<Slack> {
    Slack::new(Config {
        users: vec![User {
            id: USER.to_owned(),
            name: "bench".to_owned(),
            real_name: "The bench".to_owned(),
        }],
        max_messages: usize::MAX,
        clock,
        ..Config::new(SECRET, BOT_TOKEN)
    })
}

/// Adds a channel that the bot is in.
pub(crate) fn add_channel(slack: &Slack, id: &str) {
    slack.add_channel(Channel {
        id: id.to_owned(),
        name: id.to_lowercase(),
        topic: String::new(),
        has_bot: true,
    });
}
