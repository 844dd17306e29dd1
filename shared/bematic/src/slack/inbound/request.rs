//! The requests from Slack as owned values, and the errors in them.

use bematic_protocol::ids::{ChannelId, MessageTs, UserId};

/// The kind of a request, by the path that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A slash command, sent as a form.
    Commands,
    /// An event of the Events API, sent as JSON.
    Events,
    /// An interaction with a button or a modal, sent as a form with one field of JSON.
    Interactions,
}

/// A request from Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A slash command.
    Command(SlashCommand),
    /// Slack verifies the endpoint: the challenge is sent back.
    UrlVerification {
        /// The challenge.
        challenge: String,
    },
    /// A user mentioned the bot.
    Mention(Mention),
    /// A user pressed a button.
    Action(Action),
    /// A request that Bematic does not handle: answered with 200 so that Slack does not repeat it.
    Ignored {
        /// Slack's name for the kind of request, for the log.
        kind: String,
    },
}

/// A slash command, `/bm …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlashCommand {
    /// The workspace.
    pub team_id: String,
    /// The channel in which the command was written.
    pub channel_id: ChannelId,
    /// The user who wrote the command.
    pub user_id: UserId,
    /// The command's name, with its slash.
    pub command: String,
    /// The text after the name, as Slack escapes it.
    pub text: String,
    /// Slack's id of this request, which is used to detect repetitions.
    pub trigger_id: String,
    /// The URL for later answers, valid for 30 minutes.
    pub response_url: Option<String>,
}

/// A message that mentions the bot, `@bot …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The workspace.
    pub team_id: String,
    /// Slack's id of this event, which is used to detect repetitions.
    pub event_id: String,
    /// The channel in which the message was written.
    pub channel_id: ChannelId,
    /// The user who wrote the message.
    pub user_id: UserId,
    /// The whole message, as Slack escapes it.
    pub text: String,
    /// The message's timestamp, which is its id.
    pub ts: MessageTs,
    /// The thread that the message is in, if any.
    pub thread_ts: Option<MessageTs>,
}

/// A pressed button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The workspace.
    pub team_id: String,
    /// The action id of the button.
    pub action_id: String,
    /// The value of the button: the subject of the action.
    pub value: Option<String>,
    /// The user who pressed the button.
    pub user_id: UserId,
    /// The channel of the message.
    pub channel_id: Option<ChannelId>,
    /// The message that the button is in.
    pub message_ts: Option<MessageTs>,
    /// Slack's id of this request, which is used to detect repetitions. (It can also open a modal,
    /// for 3 s.)
    pub trigger_id: String,
    /// The URL for later answers, valid for 30 minutes.
    pub response_url: Option<String>,
}

/// Why a request from Slack cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    /// The body, or its `payload`, is not JSON of the expected shape.
    #[error("the body is not what Slack sends: {reason}")]
    Json {
        /// The parser's message.
        reason: String,
    },
    /// A field is missing.
    #[error("the request has no {0}")]
    MissingField(&'static str),
    /// A field is not valid.
    #[error("the request's {field} is {reason}")]
    InvalidField {
        /// The field's name.
        field: &'static str,
        /// What is wrong with the field.
        reason: String,
    },
}

impl InboundError {
    /// Returns the stable code, for logs.
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
