//! The repository of cards: the Slack messages of tasks, bulk operations and notices.

use async_trait::async_trait;
use bematic::{
    error::StoreError,
    ports::{Card, CardRecords, Created},
};
use bematic_protocol::ids::Subject;

use super::{
    item::{Item, Record},
    keys::{self, Key},
    tasks::TaskStore,
};

impl Record for Card {
    type Id = Subject;
    fn key(about: &Subject) -> Key {
        keys::card(*about)
    }
}

#[async_trait]
impl CardRecords for TaskStore {
    async fn card(&self, about: Subject) -> Result<Option<Card>, StoreError> {
        self.tasks.find(&about).await
    }

    async fn begin_card(&self, about: Subject, card: &Card) -> Result<Created<Card>, StoreError> {
        self.tasks.put_if_absent(&about, card, Item::new()).await
    }

    async fn save_card(&self, about: Subject, card: &Card) -> Result<(), StoreError> {
        self.tasks.put(&about, card, Item::new()).await
    }
}
