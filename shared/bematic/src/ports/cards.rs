//! The messages that Slack has of us.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{MessageTs, Subject},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Created;
use crate::error::StoreError;

/// The one Slack message about a task or about bulk work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The message, once Slack has confirmed it; before that, a post may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<MessageTs>,
    /// A digest of what it shows, to leave out updates that change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// When the first post was begun.
    pub begun_at: Timestamp,
}

/// Which messages Slack has of us.
#[async_trait]
pub trait Cards: Send + Sync {
    /// The message about a subject.
    async fn card(&self, about: Subject) -> Result<Option<Card>, StoreError>;
    /// Begins the first post; whoever is second gets what the first wrote.
    async fn begin_card(&self, about: Subject, card: &Card) -> Result<Created<Card>, StoreError>;
    /// Writes what the message shows now.
    async fn save_card(&self, about: Subject, card: &Card) -> Result<(), StoreError>;
}
