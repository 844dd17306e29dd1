//! Who speaks, and where.

use super::error::Code;
use super::message::{Author, Content};
use super::state::Slack;
use super::tickets::Ticket;
use super::ts::Ts;

/// Who speaks, and where.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) channel: String,
    pub(super) channel_name: String,
    pub(super) user: String,
    pub(super) user_name: String,
}

impl Place {
    pub(super) fn find(
        slack: &Slack,
        channel: Option<&str>,
        user: Option<&str>,
    ) -> Result<Self, Code> {
        let workspace = slack.workspace();
        let channel = match channel {
            Some(id) => workspace.channel(id)?,
            None => workspace.channels.first().ok_or(Code::ChannelNotFound)?,
        };
        let user = match user {
            Some(id) => workspace.user(id)?,
            None => workspace.users.first().ok_or(Code::UserNotFound)?,
        };
        Ok(Self {
            channel: channel.id.clone(),
            channel_name: channel.name.clone(),
            user: user.id.clone(),
            user_name: user.name.clone(),
        })
    }

    /// The ticket for what this person is answered.
    pub(super) fn ticket(&self, slack: &Slack, message: Option<Ts>) -> Ticket {
        Ticket {
            channel: self.channel.clone(),
            user: self.user.clone(),
            message,
            issued: slack.config.clock.secs(),
            used: 0,
        }
    }
}

/// Slack's own word to one person.
pub(super) fn note(slack: &Slack, place: &Place, thread: Option<Ts>, text: &str) -> Ts {
    let now = slack.config.clock.micros();
    let content = Content {
        text: text.to_owned(),
        ..Content::default()
    };
    let workspace = &mut slack.workspace();
    workspace.post_whisper(
        &place.channel,
        &place.user,
        thread,
        Author::Slackbot,
        content,
        now,
    )
}
