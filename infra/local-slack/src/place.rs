//! The place of an action: a person in a channel.

use crate::error::Code;
use crate::message::{Author, Content};
use crate::state::Slack;
use crate::tickets::Ticket;
use crate::ts::Ts;

/// A person in a channel, who acts there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) channel: String,
    pub(crate) channel_name: String,
    pub(crate) user: String,
    pub(crate) user_name: String,
}

impl Place {
    /// Finds a channel and a person by id; the first of each if none is named.
    pub(crate) fn find(
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

    /// Returns a ticket for the app's responses to this person.
    pub(crate) fn ticket(&self, slack: &Slack, message: Option<Ts>) -> Ticket {
        Ticket {
            channel: self.channel.clone(),
            user: self.user.clone(),
            message,
            issued: slack.config.clock.secs(),
            used: 0,
        }
    }

    /// Posts an ephemeral message to this person.
    pub(crate) fn post(
        &self,
        slack: &Slack,
        thread: Option<Ts>,
        author: Author,
        content: Content,
    ) -> Ts {
        let now = slack.now();
        let workspace = &mut slack.workspace();
        workspace.post_ephemeral(&self.channel, &self.user, thread, author, content, now)
    }

    /// Posts a note about a failure to this person, from Slackbot.
    pub(crate) fn note(&self, slack: &Slack, thread: Option<Ts>, text: &str) -> Ts {
        self.post(slack, thread, Author::Slackbot, Content::plain(text))
    }
}
