//! Items: the attributes of a record, and their conversion.

use std::collections::HashMap;

use aws_sdk_dynamodb::{error::BuildError, types::AttributeValue};
use bematic::error::StoreError;
use serde::{Serialize, de::DeserializeOwned};

use super::keys::Key;

/// An item: its attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A value that is stored as one item, found by its id.
pub(super) trait Record: Serialize + DeserializeOwned + Send + Sync {
    /// The id that the record is found by.
    type Id: ?Sized + Sync;
    /// The fields that expressions name, as serde writes them: `connection.id` is a field of a
    /// field. The test `the_fields_of_expressions_are_serdes` compares them.
    const FIELDS: &'static [&'static str] = &[];
    /// Returns the key of the record with this id.
    fn key(id: &Self::Id) -> Key;
}

/// Returns the error of a request that lacks a part.
pub(super) fn unwritable(error: BuildError) -> StoreError {
    StoreError::Unwritable {
        source: Box::new(error),
    }
}

/// Returns a value as an attribute, such as a map for a struct.
pub(super) fn map<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| StoreError::Unwritable {
        source: Box::new(error),
    })
}

/// Returns a key as the attributes of an item.
pub(super) fn key_item(key: &Key) -> Item {
    attributes([("pk", text(&key.pk)), ("sk", text(&key.sk))])
}

/// Returns a record as an item, with the attributes of its indexes.
pub(super) fn item<R: Serialize>(key: &Key, record: &R, index: Item) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(record).map_err(|error| StoreError::Unwritable {
        source: Box::new(error),
    })?;
    item.extend(key_item(key));
    item.extend(index);
    Ok(item)
}

/// Returns an item as a record; `key` is for the error.
pub(super) fn read<R: DeserializeOwned>(item: Item, key: &Key) -> Result<R, StoreError> {
    serde_dynamo::from_item(item).map_err(|error| StoreError::Corrupt {
        key: key.to_string(),
        source: Box::new(error),
    })
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Returns attributes by name, such as those of an index or the time-to-live.
pub(super) fn attributes<const N: usize>(pairs: [(&str, AttributeValue); N]) -> Item {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
