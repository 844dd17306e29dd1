//! The repository of cards: the Slack messages of tasks, bulk operations and notices.

use async_trait::async_trait;
use bematic::{
    error::StoreError,
    ports::{CardRecord, CardRecords, Created},
};
use bematic_protocol::ids::Subject;

use super::{
    item::{Item, Record},
    keys::{self, Key},
    tasks::TaskStore,
};

impl Record for CardRecord {
    type Id = Subject;
    fn key(about: &Subject) -> Key {
        keys::card(*about)
    }
}

#[async_trait]
impl CardRecords for TaskStore {
    async fn find(&self, about: Subject) -> Result<Option<CardRecord>, StoreError> {
        self.tasks.find(&about).await
    }

    async fn begin(
        &self,
        about: Subject,
        card: &CardRecord,
    ) -> Result<Created<CardRecord>, StoreError> {
        self.tasks.put_if_absent(&about, card, Item::new()).await
    }

    async fn save(&self, about: Subject, card: &CardRecord) -> Result<(), StoreError> {
        self.tasks.put(&about, card, Item::new()).await
    }
}
