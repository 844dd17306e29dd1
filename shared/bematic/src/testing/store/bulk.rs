//! Bulk work and Slack messages, in memory.

use async_trait::async_trait;
use bematic_protocol::{
    ids::{BatchId, Subject, TaskId},
    time::Timestamp,
};

use super::Memory;
use crate::{
    batch::{Batch, Change},
    error::StoreError,
    ports::{Applied, Batches, Card, Cards, Created},
};

impl Memory {
    /// All bulk work as it is.
    pub(crate) fn all_batches(&self) -> Vec<Batch> {
        let tables = self.tables.lock().unwrap();
        tables.batches.values().cloned().collect()
    }
}

#[async_trait]
impl Batches for Memory {
    async fn find(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        Ok(self.call("get batch").await?.batches.get(&id).cloned())
    }

    async fn create(&self, batch: &Batch, request: &str) -> Result<Created<BatchId>, StoreError> {
        let mut tables = self.call("transact create").await?;
        if let Some(first) = tables.batch_requests.get(request) {
            return Ok(Created::Existing(*first));
        }
        tables.batch_requests.insert(request.to_owned(), batch.id);
        tables.batches.insert(batch.id, batch.clone());
        Ok(Created::New)
    }

    async fn apply(
        &self,
        before: &Batch,
        after: &Batch,
        changes: &[Change],
    ) -> Result<Applied, StoreError> {
        let mut tables = self.call("transact batch").await?;
        if tables.batches[&before.id].version != before.version {
            return Ok(Applied::Overtaken);
        }
        let moved = |change: &&Change| !tables.is_same(&change.before);
        let refused: Vec<TaskId> = changes
            .iter()
            .filter(moved)
            .map(|change| change.before.id)
            .collect();
        if !refused.is_empty() {
            return Ok(Applied::Refused(refused));
        }
        for change in changes {
            tables.write(&change.before, &change.after);
        }
        tables.batches.insert(after.id, after.clone());
        tables.batches_again.remove(&after.id);
        Ok(Applied::Done)
    }

    async fn mark_shown(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut tables = self.call("update batch").await?;
        if let Some(stored) = tables.batches.get_mut(&batch.id)
            && stored.version == batch.version
        {
            stored.shown = batch.version;
        }
        Ok(())
    }

    async fn stalled(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(BatchId, Timestamp)>, StoreError> {
        let tables = self.call("query batches").await?;
        let again = |batch: &Batch| tables.batches_again.get(&batch.id).copied();
        let due_at = |batch: &Batch| batch.due_at().map(|at| again(batch).unwrap_or(at).max(at));
        let stalled = |batch: &&Batch| due_at(batch).is_some_and(|at| at <= now);
        let stalled = tables.batches.values().filter(stalled).take(limit);
        Ok(stalled.map(|batch| (batch.id, batch.updated_at)).collect())
    }

    async fn look_again(&self, id: BatchId, at: Timestamp) -> Result<(), StoreError> {
        let mut tables = self.call("update batch").await?;
        tables.batches_again.insert(id, at);
        Ok(())
    }
}

#[async_trait]
impl Cards for Memory {
    async fn card(&self, about: Subject) -> Result<Option<Card>, StoreError> {
        Ok(self.call("get card").await?.cards.get(&about).cloned())
    }

    async fn begin_card(&self, about: Subject, card: &Card) -> Result<Created<Card>, StoreError> {
        let mut tables = self.call("put card").await?;
        if let Some(existing) = tables.cards.get(&about) {
            return Ok(Created::Existing(existing.clone()));
        }
        tables.cards.insert(about, card.clone());
        Ok(Created::New)
    }

    async fn save_card(&self, about: Subject, card: &Card) -> Result<(), StoreError> {
        let mut tables = self.call("put card").await?;
        tables.cards.insert(about, card.clone());
        Ok(())
    }
}
