//! The port to Slack's Web API.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use bematic_protocol::{
    ids::{ChannelId, MessageTs, Subject, UserId},
    time::Timestamp,
};

use super::Message;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The conversation.
    pub channel: ChannelId,
    /// The thread in it; `None` for a message of its own.
    pub thread_ts: Option<MessageTs>,
}

/// The calls of Slack's Web API that Bematic makes. None of them waits or tries again by itself:
/// who calls decides what an error is worth.
#[async_trait]
pub trait SlackApi: Send + Sync {
    /// Posts a message, marked as the one about a subject if that is given.
    async fn post(
        &self,
        to: &Destination,
        message: &Message,
        marker: Option<Subject>,
    ) -> Result<MessageTs, SlackError>;

    /// Replaces a message that was posted. Its marker stays.
    async fn update(
        &self,
        channel: &ChannelId,
        ts: &MessageTs,
        message: &Message,
    ) -> Result<(), SlackError>;

    /// Finds the message about a subject that may have been posted at `since` or later, though
    /// nobody wrote down where. Looks through the newest [`FIND_LIMIT`] messages.
    async fn find_marked(
        &self,
        to: &Destination,
        subject: Subject,
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

/// Messages that [`SlackApi::find_marked`] looks through.
pub const FIND_LIMIT: usize = 400;

/// Why a call to Slack came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    /// Too many calls of this method: the next one after the wait.
    #[error("Slack asks to wait {} s before the next {method}", retry_after.as_secs())]
    RateLimited {
        /// The method, such as `chat.update`.
        method: &'static str,
        /// How long to wait, as Slack says.
        retry_after: Duration,
    },
    /// Slack will not do this, however often it is asked.
    #[error("Slack refused {method}: {error}")]
    Refused {
        /// The method.
        method: &'static str,
        /// Slack's name for the reason, such as `channel_not_found`.
        error: String,
    },
    /// The message is not there any more, or cannot be changed any more.
    #[error("the message is gone ({method}: {error})")]
    Gone {
        /// The method.
        method: &'static str,
        /// Slack's name for the reason.
        error: String,
    },
    /// No answer, or none that makes sense: worth another try, and whether the call took effect is
    /// not known.
    #[error("Slack did not answer {method}")]
    Unavailable {
        /// The method.
        method: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SlackError {
    /// The stable code that the log carries.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "SLACK_RATE_LIMITED",
            Self::Refused { .. } => "SLACK_REFUSED",
            Self::Gone { .. } => "SLACK_MESSAGE_GONE",
            Self::Unavailable { .. } => "SLACK_UNAVAILABLE",
        }
    }

    /// Whether the same call may work later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }
}
