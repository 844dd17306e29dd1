//! The script of an attempt.

use std::time::Duration;

use crate::message::Message;

/// The agent's answer to an offer that it has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// TASK_ACK that accepts, and work.
    Accept,
    /// Work, without an acknowledgement.
    Silent,
    /// TASK_ACK that refuses with this reason, and no work.
    Refuse {
        /// The reason.
        reason: String,
        /// Whether the cloud may offer the task again.
        retryable: bool,
        /// Whether the offer counts as an attempt.
        spent: bool,
    },
}

/// The agent's plan for one attempt: an answer, and then messages in time. A terminal message ends
/// the attempt; without one the attempt is held until it is cancelled.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The answer to the offer.
    pub answer: Answer,
    /// The messages, each at so long after the offer.
    pub messages: Vec<(Duration, Message)>,
    /// Whether a TASK_CANCEL ends the attempt.
    pub cancellable: bool,
}

impl Plan {
    const fn new(answer: Answer) -> Self {
        Self {
            answer,
            messages: Vec::new(),
            cancellable: true,
        }
    }

    /// Returns a plan that acknowledges.
    pub const fn accept() -> Self {
        Self::new(Answer::Accept)
    }

    /// Returns a plan that works without an acknowledgement.
    pub const fn silent() -> Self {
        Self::new(Answer::Silent)
    }

    /// Returns a plan that refuses; the offer counts as an attempt, and the task may come again.
    pub fn refuse(reason: &str) -> Self {
        Self::new(Answer::Refuse {
            reason: reason.to_owned(),
            retryable: true,
            spent: true,
        })
    }

    /// Adds a message at so long after the offer.
    #[must_use]
    pub fn then(mut self, after: Duration, message: Message) -> Self {
        self.messages.push((after, message));
        self
    }
}
