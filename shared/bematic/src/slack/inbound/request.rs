//! The requests of Slack as owned values, and what can be wrong with one.

use bematic_protocol::ids::{ChannelId, MessageTs, UserId};

/// What a request of Slack is, by the path that it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Slash commands: a form.
    Commands,
    /// The Events API: JSON.
    Events,
    /// Buttons and modals: a form with one field of JSON.
    Interactions,
}

/// One request of Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A slash command.
    Command(SlashCommand),
    /// Slack wants to know whether the address is ours: answered with the challenge.
    UrlVerification {
        /// What to answer.
        challenge: String,
    },
    /// Someone wrote to the bot.
    Mention(Mention),
    /// Someone pressed a button.
    Action(Action),
    /// Nothing that Bematic cares about: answered with 200 so that Slack does not repeat it.
    Ignored {
        /// Slack's name for it, for the log.
        kind: String,
    },
}

/// `/bm …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlashCommand {
    /// The workspace.
    pub team_id: String,
    /// Where it was written.
    pub channel_id: ChannelId,
    /// Who wrote it.
    pub user_id: UserId,
    /// The command's name, with its slash.
    pub command: String,
    /// What follows the name, as Slack escapes it.
    pub text: String,
    /// One for each time that a command is sent: the key for de-duplication.
    pub trigger_id: String,
    /// Where later answers go to, for 30 minutes.
    pub response_url: Option<String>,
}

/// `@bot …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The workspace.
    pub team_id: String,
    /// One for each event: the key for de-duplication.
    pub event_id: String,
    /// Where it was written.
    pub channel_id: ChannelId,
    /// Who wrote it.
    pub user_id: UserId,
    /// The whole message, as Slack escapes it.
    pub text: String,
    /// The message.
    pub ts: MessageTs,
    /// The thread that it is in, if any.
    pub thread_ts: Option<MessageTs>,
}

/// A button pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The workspace.
    pub team_id: String,
    /// What the button does.
    pub action_id: String,
    /// What it does it to.
    pub value: Option<String>,
    /// Who pressed it.
    pub user_id: UserId,
    /// Where.
    pub channel_id: Option<ChannelId>,
    /// The message that the button is in.
    pub message_ts: Option<MessageTs>,
    /// To open a modal with, for 3 s; and the key for de-duplication.
    pub trigger_id: String,
    /// Where later answers go to, for 30 minutes.
    pub response_url: Option<String>,
}

/// Why a request, though Slack's, is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    /// The body, or its `payload`, is not JSON of the expected shape.
    #[error("the body is not what Slack sends: {reason}")]
    Json {
        /// What the parser said.
        reason: String,
    },
    /// A field is not there.
    #[error("the request has no {0}")]
    MissingField(&'static str),
    /// A field is not what it should be.
    #[error("the request's {field} is {reason}")]
    InvalidField {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl InboundError {
    /// The stable code that the log carries.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "SLACK_BODY_INVALID",
            Self::MissingField(_) => "SLACK_FIELD_MISSING",
            Self::InvalidField { .. } => "SLACK_FIELD_INVALID",
        }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::Json {
            reason: error.to_string(),
        }
    }
}
