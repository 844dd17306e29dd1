//! Many items by their keys at once.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use backon::BackoffBuilder as _;
use bematic::error::StoreError;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;

use super::{
    keys::Key,
    table::{Item, Table, backoff, failed, read, text},
    transition::unwritable,
};

/// Items that DynamoDB gets in one call.
const GOT_AT_ONCE: usize = 100;

impl Table {
    /// The records of these keys, as far as there are any: a call for each 100. As they were a
    /// moment ago, at half the price.
    pub(super) async fn find_all<R: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<HashMap<Key, R>, StoreError> {
        let found = self.get_all(keys).await?.into_iter();
        let record = |(key, item): (Key, Item)| Ok((key.clone(), read(item, &key)?));
        found.map(record).collect()
    }

    /// The same, unread: for whom one that cannot be read is no reason to do without the others.
    pub(super) async fn get_all(&self, keys: &[Key]) -> Result<HashMap<Key, Item>, StoreError> {
        let calls = keys.chunks(GOT_AT_ONCE).map(|some| {
            let keys = some.iter().map(as_item).collect();
            self.get_some(HashMap::from([(self.name.clone(), keys)]), false)
        });
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }

    /// Few items as they are now, unread: one call.
    pub(super) async fn get_now<const N: usize>(
        &self,
        keys: &[Key; N],
    ) -> Result<HashMap<Key, Item>, StoreError> {
        self.get_of_tables(keys.each_ref().map(|key| (self.name.as_str(), key)))
            .await
    }

    /// The same, of whichever tables: one call.
    pub(super) async fn get_of_tables<const N: usize>(
        &self,
        keys: [(&str, &Key); N],
    ) -> Result<HashMap<Key, Item>, StoreError> {
        const { assert!(N <= GOT_AT_ONCE) };
        let mut wanted: HashMap<String, Vec<Item>> = HashMap::new();
        for (table, key) in keys {
            wanted
                .entry(table.to_owned())
                .or_default()
                .push(as_item(key));
        }
        Ok(self.get_some(wanted, true).await?.into_iter().collect())
    }

    /// What DynamoDB leaves over is asked for again.
    async fn get_some(
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
            source: "it keeps leaving out items".into(),
        })
    }
}

fn as_item(key: &Key) -> Item {
    let Key { pk, sk } = key;
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// The key of an item of the table, or of one of its indexes.
pub(super) fn key_of(item: &Item) -> Result<Key, StoreError> {
    let part = |name: &str| item.get(name)?.as_s().ok().cloned();
    let key = part("pk").zip(part("sk")).map(|(pk, sk)| Key { pk, sk });
    key.ok_or_else(|| StoreError::Corrupt {
        key: "?".to_owned(),
        source: "an item without a key".into(),
    })
}
