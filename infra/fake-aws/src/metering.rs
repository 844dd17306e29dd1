//! Read and write request units, by the rules of the DynamoDB developer guide ("DynamoDB read and
//! write operations" and "Managing complex workflows with transactions").
//!
//! - A read is counted in 4 KB of the whole item, whatever of it is projected; an eventually consistent
//!   one costs half. A read of nothing costs as much as the least.
//! - A write is counted in 1 KB of the larger of the item before and after; twice as much in a
//!   transaction, in which a condition check counts as a write of the item.
//! - An index is written when what it projects of an item changes: once, or twice when the item's key in
//!   it changes (a delete and a put). A transaction does not double the writes of indexes.
//! - A write that fails its condition costs a write of the item as it is, or one unit where there is none.
//!   The guide does not say what a cancelled transaction costs; each part is counted like that, twice.
//!
//! Items are looked at before and after a call, since AWS charges refused writes as well, and names no
//! partitions.

use std::{
    collections::HashSet,
    iter::{self, Sum},
    ops::AddAssign,
};

use dynoxide::{
    AttributeValue, Database, Item,
    actions::get_item::GetItemRequest,
    types::{
        GlobalSecondaryIndex, KeySchemaElement, ProjectionType, item_size,
        read_capacity_units_with_consistency, table_write_capacity_units, write_capacity_units,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::template::Table;

/// Request units of tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.write += other.write;
    }
}

impl Sum for Units {
    fn sum<I: Iterator<Item = Self>>(units: I) -> Self {
        units.fold(Self::default(), |mut sum, it| {
            sum += it;
            sum
        })
    }
}

/// An access to a partition of a table or index.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionAccess {
    /// The table, or its index as `table/index`.
    pub resource: String,
    /// The partition key's value.
    pub partition: String,
    /// What the access costs.
    pub units: Units,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AccessKind {
    Read { consistent: bool },
    Write { transactional: bool },
}

/// One access of a request: to an item, or by a query.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// The kind of a transaction's part, such as `Put`.
    part: Option<&'a str>,
    table: &'a str,
    index: Option<&'a str>,
    /// The item, or its key.
    item: Option<&'a Value>,
    kind: AccessKind,
}

impl<'a> Access<'a> {
    /// The accesses of a request; none of an operation that is not known.
    pub(crate) fn parse_request(operation: &str, request: &'a Value) -> Vec<Self> {
        let list = |value: &'a Value| value.as_array().into_iter().flatten();
        let by_table = || request["RequestItems"].as_object().into_iter().flatten();
        // A part has one field, such as `Put`.
        let part = |one: &'a Value| one.as_object()?.iter().next();
        let table = |request: &'a Value| request["TableName"].as_str().unwrap_or_default();
        let read = |request: &Value| AccessKind::Read {
            consistent: request["ConsistentRead"] == true,
        };
        let write = |transactional| AccessKind::Write { transactional };
        let access = |table, request: &'a Value, kind| Self {
            part: None,
            table,
            index: request["IndexName"].as_str(),
            item: request.get("Key").or_else(|| request.get("Item")),
            kind,
        };
        match operation {
            "GetItem" | "Query" => vec![access(table(request), request, read(request))],
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                vec![access(table(request), request, write(false))]
            }
            "TransactWriteItems" => list(&request["TransactItems"])
                .filter_map(part)
                .map(|(part, it)| Self {
                    part: Some(part),
                    ..access(table(it), it, write(true))
                })
                .collect(),
            "BatchWriteItem" => by_table()
                .flat_map(|(table, writes)| list(writes).map(move |one| (table, one)))
                .filter_map(|(table, one)| Some(access(table, part(one)?.1, write(false))))
                .collect(),
            "BatchGetItem" => by_table()
                .flat_map(|(table, wanted)| {
                    let keys = list(&wanted["Keys"]);
                    keys.map(move |key| (table, Some(key), read(wanted)))
                })
                .map(|(table, item, kind)| Self {
                    part: None,
                    table,
                    index: None,
                    item,
                    kind,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The tables and indexes of accesses in order; of a transaction, each at the first part of a kind.
    pub(crate) fn resources(accesses: &[Self]) -> Vec<String> {
        let mut seen = HashSet::new();
        let distinct = accesses.iter();
        let distinct = distinct.filter(|it| seen.insert((it.part, it.table, it.index)));
        let mut resources: Vec<_> = distinct.map(Self::resource).collect();
        resources.dedup();
        resources
    }

    /// The table, or its index as `table/index`.
    fn resource(&self) -> String {
        match self.index {
            Some(index) => format!("{}/{index}", self.table),
            None => self.table.to_owned(),
        }
    }

    /// The kind of a transaction's part, such as `Put`.
    pub(crate) const fn part(&self) -> Option<&'a str> {
        self.part
    }

    pub(crate) const fn table(&self) -> &'a str {
        self.table
    }

    pub(crate) const fn index(&self) -> Option<&'a str> {
        self.index
    }

    pub(crate) fn is_eventual_read(&self) -> bool {
        self.kind == AccessKind::Read { consistent: false }
    }

    /// The partition that a query has read. The condition on the partition key is the first.
    pub(crate) fn queried_partition(&self, request: &Value, answer: &Value) -> PartitionAccess {
        let condition = request["KeyConditionExpression"].as_str();
        let mut words = condition.unwrap_or_default().split([' ', ')']);
        let placeholder = words.find(|it| it.starts_with(':')).unwrap_or_default();
        let partition = request["ExpressionAttributeValues"][placeholder]["S"].as_str();
        let read = answer["ConsumedCapacity"]["CapacityUnits"].as_f64();
        PartitionAccess {
            resource: self.resource(),
            partition: partition.unwrap_or_default().to_owned(),
            units: Units {
                read: read.unwrap_or_default(),
                write: 0.0,
            },
        }
    }
}

/// An access to an item, before the call takes effect.
pub(crate) struct ItemAccess<'a> {
    access: &'a Access<'a>,
    table: &'a Table,
    key: Item,
    before: Option<Item>,
}

impl<'a> ItemAccess<'a> {
    pub(crate) fn new(db: &Database, tables: &'a [Table], access: &'a Access<'a>) -> Option<Self> {
        let table = tables.iter().find(|table| table.id == access.table)?;
        let key = table.key_schema.iter().map(|element| {
            let name = &element.attribute_name;
            let value = AttributeValue::deserialize(access.item?.get(name)?).ok()?;
            Some((name.clone(), value))
        });
        let key = key.collect::<Option<Item>>()?;
        Some(Self {
            before: find_item(db, &table.id, key.clone()),
            access,
            table,
            key,
        })
    }

    /// The partitions that were accessed, after the call took effect or was refused.
    pub(crate) fn partition_accesses(
        self,
        db: &Database,
        took_effect: bool,
    ) -> Vec<PartitionAccess> {
        let Self { table, before, .. } = self;
        let access = |read, write| PartitionAccess {
            resource: table.id.clone(),
            partition: partition_key_value(Some(&self.key), &table.key_schema),
            units: Units { read, write },
        };
        let size = before.as_ref().map(item_size);
        let transactional = match self.access.kind {
            AccessKind::Read { consistent } => {
                let size = size.unwrap_or_default();
                let units = read_capacity_units_with_consistency(size, consistent);
                return vec![access(units, 0.0)];
            }
            AccessKind::Write { transactional } => transactional,
        };
        let after = took_effect.then(|| find_item(db, &table.id, self.key.clone()));
        let (before, after) = (before.as_ref(), after.as_ref().unwrap_or(&before).as_ref());
        let units = table_write_capacity_units(size, after.map(item_size));
        let units = if transactional { units * 2.0 } else { units };
        let indexes = table.global_secondary_indexes.iter();
        let indexes = indexes.filter_map(|index| index_write(table, index, before, after));
        iter::once(access(0.0, units)).chain(indexes).collect()
    }
}

/// What is written to an index to make `after` of `before`.
fn index_write(
    table: &Table,
    index: &GlobalSecondaryIndex,
    before: Option<&Item>,
    after: Option<&Item>,
) -> Option<PartitionAccess> {
    let size = |entry: &Item| write_capacity_units(item_size(entry));
    let key = |item: &Item| {
        let names = index.key_schema.iter();
        let values = names.map(|it| item.get(&it.attribute_name).cloned());
        values.collect::<Option<Vec<_>>>()
    };
    // What the index holds of an item, if the item is in it.
    let entry = |item: &Item| {
        key(item)?;
        let keys = || index.key_schema.iter().chain(&table.key_schema);
        let included = index.projection.non_key_attributes.as_deref();
        let included = included.unwrap_or_default();
        let projects_all = index.projection.projection_type == Some(ProjectionType::ALL);
        let mut entry = item.clone();
        entry.retain(|name, _| {
            projects_all || included.contains(name) || keys().any(|it| it.attribute_name == *name)
        });
        Some(entry)
    };
    let entries = [before, after].map(|item| item.and_then(entry));
    let units = match &entries {
        [old, new] if old == new => return None,
        [Some(old), Some(new)] if key(old) == key(new) => size(old).max(size(new)),
        entries => entries.iter().flatten().map(size).sum(),
    };
    let [old, new] = &entries;
    Some(PartitionAccess {
        resource: format!("{}/{}", table.id, index.index_name),
        partition: partition_key_value(new.as_ref().or(old.as_ref()), &index.key_schema),
        units: Units {
            read: 0.0,
            write: units,
        },
    })
}

/// The value of an item's partition key, which is a text.
fn partition_key_value(item: Option<&Item>, key_schema: &[KeySchemaElement]) -> String {
    let value = item.and_then(|item| item.get(&key_schema.first()?.attribute_name));
    match value {
        Some(AttributeValue::S(text)) => text.clone(),
        _ => String::new(),
    }
}

/// An item of a table, if it is there.
pub(crate) fn find_item(db: &Database, table: &str, key: Item) -> Option<Item> {
    let request = GetItemRequest {
        table_name: table.to_owned(),
        key,
        ..GetItemRequest::default()
    };
    db.get_item(request).ok()?.item
}
