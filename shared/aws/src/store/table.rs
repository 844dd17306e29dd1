//! Reading a table: items by key, and queries.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeysAndAttributes},
};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bematic::error::{Source, StoreError};
use bematic_protocol::time::Timestamp;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;

use super::keys::{self, Key, LIST_SHARDS};

/// The most items of one BatchGetItem (DynamoDB's limit).
const BATCH_GET_LIMIT: usize = 100;

/// An item: its attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A table, and the client that reads and writes it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Table {
    pub(super) const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Returns the record with this key, read consistently.
    pub(super) async fn find<R: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<R>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(call_error("GetItem"))?;
        answer.item.map(parse_record).transpose()
    }

    /// Returns the records of these keys that exist: a call for each 100. The read is eventually
    /// consistent, at half the price. A record that cannot be read does not fail the others.
    pub(super) async fn find_by_keys<R: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<BTreeMap<Key, Result<R, StoreError>>, StoreError> {
        self.batch_get(keys, false).await
    }

    /// Returns the records of these keys, which are different, as [`Self::find_by_keys`] does, read
    /// consistently or not.
    pub(super) async fn batch_get<R: DeserializeOwned>(
        &self,
        keys: &[Key],
        consistent: bool,
    ) -> Result<BTreeMap<Key, Result<R, StoreError>>, StoreError> {
        let calls = keys.chunks(BATCH_GET_LIMIT).map(|chunk| {
            batch_get_chunk(
                &self.client,
                chunk.iter().map(|key| (self, key)),
                consistent,
            )
        });
        let found = try_join_all(calls).await?.into_iter().flatten();
        Ok(found.map(|(key, item)| (key, parse_record(item))).collect())
    }

    /// Returns the records of the items of an index, which has only their keys, sorted by key.
    pub(super) async fn find_for_index_items<R: DeserializeOwned>(
        &self,
        items: &[Item],
    ) -> Result<Vec<R>, StoreError> {
        let keys: Vec<Key> = items.iter().map(item_key).collect::<Result<_, _>>()?;
        self.find_by_keys(&keys).await?.into_values().collect()
    }

    /// Returns a query by these conditions on the keys of the table or of an index. The values of
    /// the placeholders are texts, as all keys are.
    pub(super) fn build_query<const N: usize>(
        &self,
        keys: &str,
        values: [(&str, &str); N],
    ) -> QueryFluentBuilder {
        let values =
            values.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression(keys)
            .set_expression_attribute_values(Some(values.into()))
    }

    /// Returns a consistent query of the items whose sort key begins with `prefix`.
    pub(super) fn prefix_query(&self, prefix: &Key) -> QueryFluentBuilder {
        let values = [(":pk", &*prefix.pk), (":prefix", &prefix.sk)];
        self.build_query("pk = :pk AND begins_with(sk, :prefix)", values)
            .consistent_read(true)
    }

    /// Returns the query of [`Self::prefix_query`], newest first.
    pub(super) fn newest_first_query(&self, prefix: &Key) -> QueryFluentBuilder {
        self.prefix_query(prefix).scan_index_forward(false)
    }

    /// Returns the first `limit` items of each shard of a list in the index `due` whose time is `now`
    /// or before.
    pub(super) async fn find_due<R: DeserializeOwned>(
        &self,
        list: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<R>, StoreError> {
        let now = now.to_string();
        let shards = (0..LIST_SHARDS).map(|shard| {
            let partition = keys::shard_partition(list, shard);
            let values = [(":pk", &*partition), (":now", &now)];
            let query = self.build_query("duePk = :pk AND dueSk <= :now", values);
            query_first_items(query.index_name("due"), limit)
        });
        let found = try_join_all(shards).await?;
        found.into_iter().flatten().map(parse_record).collect()
    }

    /// Returns all records of a list in the index `list`, sorted by key.
    pub(super) async fn find_listed<R: DeserializeOwned>(
        &self,
        list: &str,
    ) -> Result<Vec<R>, StoreError> {
        let shards = (0..LIST_SHARDS).map(|shard| {
            let query = self.build_query(
                "listPk = :pk",
                [(":pk", &keys::shard_partition(list, shard))],
            );
            query_first_items(query.index_name("list"), usize::MAX)
        });
        self.find_for_index_items(&try_join_all(shards).await?.concat())
            .await
    }
}

/// Reads items by key in one call, and in further ones those that DynamoDB leaves unprocessed.
pub(super) async fn batch_get_chunk<'a>(
    client: &Client,
    keys: impl Iterator<Item = (&'a Table, &'a Key)>,
    consistent: bool,
) -> Result<BTreeMap<Key, Item>, StoreError> {
    let mut wanted: HashMap<String, Vec<Item>> = HashMap::new();
    for (table, key) in keys {
        let keys = wanted.entry(table.name.clone()).or_default();
        keys.push(key.attributes());
    }
    let mut wanted = wanted
        .into_iter()
        .map(|(table, keys)| {
            let keys = KeysAndAttributes::builder()
                .consistent_read(consistent)
                .set_keys(Some(keys));
            Ok((table, keys.build().map_err(invalid_request_error)?))
        })
        .collect::<Result<HashMap<_, _>, StoreError>>()?;
    let mut found = BTreeMap::new();
    for pause in backoff().build() {
        let call = client.batch_get_item().set_request_items(Some(wanted));
        let answer = call.send().await.map_err(call_error("BatchGetItem"))?;
        for item in answer.responses.into_iter().flatten().flat_map(|it| it.1) {
            found.insert(item_key(&item)?, item);
        }
        wanted = answer.unprocessed_keys.unwrap_or_default();
        if wanted.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
    }
    Err(call_error("BatchGetItem")(
        "DynamoDB keeps leaving keys unprocessed",
    ))
}

/// Returns the first `limit` items of a query, in pages of as many.
pub(super) async fn query_first_items(
    query: QueryFluentBuilder,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let query = query.limit(limit_to_i32(limit));
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = query.clone().set_exclusive_start_key(from);
        let page = page.send().await.map_err(call_error("Query"))?;
        found.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key;
        if found.len() >= limit || from.is_none() {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// Returns a limit as the SDK takes it.
pub(super) fn limit_to_i32(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// Returns an item as a record.
pub(super) fn parse_record<R: DeserializeOwned>(item: Item) -> Result<R, StoreError> {
    let key = item_key(&item)?;
    serde_dynamo::from_item(item).map_err(|error| StoreError::Corrupt {
        key: key.to_string(),
        source: error.into(),
    })
}

/// Returns the key of an item of a table or an index.
pub(super) fn item_key(item: &Item) -> Result<Key, StoreError> {
    let [pk, sk] = ["pk", "sk"].map(|name| text_attribute(item, name).map(ToOwned::to_owned));
    Ok(Key { pk: pk?, sk: sk? })
}

/// Returns an attribute that all items of a table or an index have, and which is a text.
pub(super) fn text_attribute<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value
        .map(String::as_str)
        .ok_or_else(|| StoreError::Corrupt {
            key: "?".to_owned(),
            source: format!("an item has no {name}").into(),
        })
}

/// Returns the error for a failed call of `operation`.
pub(super) fn call_error<E: Into<Source>>(operation: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Call {
        operation,
        source: error.into(),
    }
}

/// Returns the error for a request that cannot be built.
pub(super) fn invalid_request_error(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::InvalidRequest {
        source: error.into(),
    }
}

/// Returns the waits between tries: 20 ms to 640 ms with jitter, eleven tries, some 6 s in all,
/// which is well within a function's timeout. Fifty tasks of one agent that end at the same time
/// all succeed.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(640))
        .with_max_times(10)
        .with_jitter()
}
