//! Port to the records of Bematic's messages in Slack.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{MessageTs, Subject},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Created;
use crate::error::StoreError;

/// The record of the one Slack message about a task or a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The message's timestamp in Slack, once Slack has confirmed the post; before that, a post may
    /// be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<MessageTs>,
    /// A digest of the message's content, used to skip updates that change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// The time at which the first post was begun.
    pub begun_at: Timestamp,
}

/// The records of Bematic's messages in Slack.
#[async_trait]
pub trait CardRecords: Send + Sync {
    /// Returns the record of the message about a subject.
    async fn card(&self, about: Subject) -> Result<Option<Card>, StoreError>;
    /// Stores the record before the first post; if there is one already, returns the existing one.
    async fn begin_card(&self, about: Subject, card: &Card) -> Result<Created<Card>, StoreError>;
    /// Writes the record of what the message shows now.
    async fn save_card(&self, about: Subject, card: &Card) -> Result<(), StoreError>;
}
