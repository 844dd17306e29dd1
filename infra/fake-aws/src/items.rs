//! Items, as the SDK has them and as dynoxide has them.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue as SdkValue};
use dynoxide::{AttributeValue, Database, Item, actions::get_item::GetItemRequest};

/// An item of a table, if it is there.
pub(crate) fn get(db: &Database, table: &str, key: Item) -> Option<Item> {
    let table_name = table.to_owned();
    let request = GetItemRequest {
        table_name,
        key,
        ..GetItemRequest::default()
    };
    db.get_item(request).ok()?.item
}

/// An item as the SDK has it.
pub(crate) fn to_sdk(item: Item) -> HashMap<String, SdkValue> {
    item.into_iter()
        .map(|(name, value)| (name, value_to_sdk(value)))
        .collect()
}

fn value_to_sdk(value: AttributeValue) -> SdkValue {
    match value {
        AttributeValue::S(it) => SdkValue::S(it),
        AttributeValue::N(it) => SdkValue::N(it),
        AttributeValue::B(it) => SdkValue::B(Blob::new(it)),
        AttributeValue::BOOL(it) => SdkValue::Bool(it),
        AttributeValue::NULL(it) => SdkValue::Null(it),
        AttributeValue::SS(it) => SdkValue::Ss(it),
        AttributeValue::NS(it) => SdkValue::Ns(it),
        AttributeValue::BS(it) => SdkValue::Bs(it.into_iter().map(Blob::new).collect()),
        AttributeValue::L(it) => SdkValue::L(it.into_iter().map(value_to_sdk).collect()),
        AttributeValue::M(it) => SdkValue::M(to_sdk(it)),
    }
}

/// An item that the SDK has.
pub(crate) fn from_sdk(item: &HashMap<String, SdkValue>) -> Item {
    item.iter()
        .map(|(name, value)| (name.clone(), value_from_sdk(value)))
        .collect()
}

fn value_from_sdk(value: &SdkValue) -> AttributeValue {
    match value {
        SdkValue::S(it) => AttributeValue::S(it.clone()),
        SdkValue::N(it) => AttributeValue::N(it.clone()),
        SdkValue::B(it) => AttributeValue::B(it.clone().into_inner()),
        SdkValue::Bool(it) => AttributeValue::BOOL(*it),
        SdkValue::Ss(it) => AttributeValue::SS(it.clone()),
        SdkValue::Ns(it) => AttributeValue::NS(it.clone()),
        SdkValue::Bs(it) => {
            AttributeValue::BS(it.iter().map(|it| it.clone().into_inner()).collect())
        }
        SdkValue::L(it) => AttributeValue::L(it.iter().map(value_from_sdk).collect()),
        SdkValue::M(it) => AttributeValue::M(from_sdk(it)),
        _ => AttributeValue::NULL(true),
    }
}
