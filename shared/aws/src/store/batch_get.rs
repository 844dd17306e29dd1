//! Reading several items by key, in one BatchGetItem for each 100.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use backon::BackoffBuilder as _;
use bematic::error::StoreError;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;

use super::{
    item::{Item, key_item, read, unwritable},
    keys::Key,
    table::{Table, backoff, failed},
};

/// The most items of one BatchGetItem (DynamoDB's limit).
const BATCH_GET_LIMIT: usize = 100;

impl Table {
    /// Returns the records of these keys that exist: a call for each 100. The read is eventually
    /// consistent, at half the price.
    pub(super) async fn find_all<R: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<HashMap<Key, R>, StoreError> {
        let found = self.get_all(keys).await?.into_iter();
        let record = |(key, item): (Key, Item)| Ok((key.clone(), read(item, &key)?));
        found.map(record).collect()
    }

    /// Returns the items of these keys as [`Self::find_all`] does, not yet deserialized, so that one
    /// invalid item does not fail them all.
    pub(super) async fn get_all(&self, keys: &[Key]) -> Result<HashMap<Key, Item>, StoreError> {
        let calls = keys.chunks(BATCH_GET_LIMIT).map(|chunk| {
            let keys = chunk.iter().map(key_item).collect();
            self.batch_get(HashMap::from([(self.name.clone(), keys)]), false)
        });
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }

    /// Returns the items of these keys, read consistently in one call.
    pub(super) async fn get_consistent<const N: usize>(
        &self,
        keys: &[Key; N],
    ) -> Result<HashMap<Key, Item>, StoreError> {
        self.get_of_tables(keys.each_ref().map(|key| (self.name.as_str(), key)))
            .await
    }

    /// Returns the items of these keys of several tables, read consistently in one call.
    pub(super) async fn get_of_tables<const N: usize>(
        &self,
        keys: [(&str, &Key); N],
    ) -> Result<HashMap<Key, Item>, StoreError> {
        const { assert!(N <= BATCH_GET_LIMIT) };
        let mut wanted: HashMap<String, Vec<Item>> = HashMap::new();
        for (table, key) in keys {
            wanted
                .entry(table.to_owned())
                .or_default()
                .push(key_item(key));
        }
        Ok(self.batch_get(wanted, true).await?.into_iter().collect())
    }

    /// Reads items by key, and reads the keys again that DynamoDB left unprocessed.
    async fn batch_get(
        &self,
        wanted: HashMap<String, Vec<Item>>,
        consistent: bool,
    ) -> Result<Vec<(Key, Item)>, StoreError> {
        let mut found = Vec::new();
        let mut wanted = wanted
            .into_iter()
            .map(|(table, keys)| {
                let keys = KeysAndAttributes::builder()
                    .consistent_read(consistent)
                    .set_keys(Some(keys));
                Ok((table, keys.build().map_err(unwritable)?))
            })
            .collect::<Result<HashMap<_, _>, StoreError>>()?;
        for pause in backoff().build() {
            let call = self.client.batch_get_item();
            let answer = call
                .set_request_items(Some(wanted))
                .send()
                .await
                .map_err(|error| failed("BatchGetItem", error))?;
            let tables = answer.responses.into_iter().flat_map(HashMap::into_values);
            for item in tables.flatten() {
                found.push((key_of(&item)?, item));
            }
            wanted = answer.unprocessed_keys.unwrap_or_default();
            if wanted.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
        }
        Err(StoreError::Call {
            operation: "BatchGetItem",
            source: "DynamoDB keeps leaving keys unprocessed".into(),
        })
    }
}

/// Returns the key of an item that was read from a table or an index.
pub(super) fn key_of(item: &Item) -> Result<Key, StoreError> {
    let part = |name: &str| item.get(name)?.as_s().ok().cloned();
    let key = part("pk").zip(part("sk")).map(|(pk, sk)| Key { pk, sk });
    key.ok_or_else(|| StoreError::Corrupt {
        key: "?".to_owned(),
        source: "an item without a key".into(),
    })
}
