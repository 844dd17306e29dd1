//! The port to Slack's Web API.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use bematic_protocol::{
    ids::{CardSubject, ChannelId, MessageTs, UserId},
    time::Timestamp,
};

use super::Message;

/// The destination of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The channel.
    pub channel: ChannelId,
    /// The thread in the channel; `None` for a message outside of threads.
    pub thread_ts: Option<MessageTs>,
}

/// The calls of Slack's Web API that Bematic makes. None of them waits or retries by itself.
#[async_trait]
pub trait SlackApi: Send + Sync {
    /// Posts a message, marked with its subject if that is given.
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<CardSubject>,
    ) -> Result<MessageTs, SlackError>;

    /// Replaces a message that was posted. Its marker stays.
    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError>;

    /// Finds the message about a subject that may have been posted at `since` or later, although
    /// its timestamp was not stored. Searches the newest [`MAX_SEARCHED_MESSAGES`] messages.
    async fn find_marked_message(
        &self,
        to: &Destination,
        subject: CardSubject,
        since: Timestamp,
    ) -> Result<Option<MessageTs>, SlackError>;

    /// Posts a message that only `user` sees.
    async fn post_ephemeral(
        &self,
        to: &Destination,
        user: &UserId,
        message: &Message,
    ) -> Result<(), SlackError>;
}

/// The number of messages that [`SlackApi::find_marked_message`] searches.
pub const MAX_SEARCHED_MESSAGES: usize = 400;

/// Why a call to Slack failed.
#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    /// Too many calls of this method were made: the next one may be made after the wait.
    #[error("Slack asks to wait {} s before the next {method}", retry_after.as_secs())]
    RateLimited {
        /// The method, such as `chat.update`.
        method: &'static str,
        /// The wait that Slack asks for.
        retry_after: Duration,
    },
    /// Slack refuses the call, however often it is made.
    #[error("Slack refused {method}: {error}")]
    Refused {
        /// The method.
        method: &'static str,
        /// Slack's name for the reason, such as `channel_not_found`.
        error: String,
    },
    /// The message no longer exists, or can no longer be changed.
    #[error("the message is gone ({method}: {error})")]
    Gone {
        /// The method.
        method: &'static str,
        /// Slack's name for the reason.
        error: String,
    },
    /// Slack does not accept the bot token, or what it may do: a person has to repair it.
    #[error("Slack does not accept the bot token for {method}: {error}")]
    TokenRefused {
        /// The method.
        method: &'static str,
        /// Slack's name for the reason, such as `token_revoked`.
        error: String,
    },
    /// The bot token cannot be read: the call was not made.
    #[error("the bot token for {method} is not known")]
    TokenUnknown {
        /// The method.
        method: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Slack sent no answer, or no valid one: whether the call took effect is unknown.
    #[error("Slack did not answer {method}")]
    Unavailable {
        /// The method.
        method: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SlackError {
    /// Returns Bematic's stable code, for logs; it is not the error that Slack names.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "SLACK_RATE_LIMITED",
            Self::Refused { .. } => "SLACK_REFUSED",
            Self::Gone { .. } => "SLACK_MESSAGE_GONE",
            Self::TokenRefused { .. } => "SLACK_TOKEN_REFUSED",
            Self::TokenUnknown { .. } => "SECRET_UNAVAILABLE",
            Self::Unavailable { .. } => "SLACK_UNAVAILABLE",
        }
    }

    /// Whether the app has not been given a right that the call requires. Slack gives it when the app is
    /// installed again.
    pub fn is_missing_scope(&self) -> bool {
        matches!(self, Self::TokenRefused { error, .. } if error == "missing_scope")
    }

    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::TokenRefused { .. }
            | Self::TokenUnknown { .. }
            | Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::Gone { .. } => false,
        }
    }
}
