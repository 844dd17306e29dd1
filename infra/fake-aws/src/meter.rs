//! What a call costs, and in which partitions: items are looked at before and after, since AWS charges
//! refused writes as well, and names no partitions.

use dynoxide::{AttributeValue, Database, Item};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    access::{Access, Consistency},
    capacity::{read, write},
    items::get,
    template::Table,
    units::{Touch, Units},
};

/// What only the execution of a call tells of it.
#[derive(Default)]
pub(crate) struct Facts {
    /// It took effect.
    pub(crate) done: bool,
    /// Read units of a query or scan.
    pub(crate) queried: f64,
    /// A transaction was executed before, under the same token.
    pub(crate) replayed: bool,
}

/// A call that is metered.
pub(crate) struct Meter<'a> {
    db: Database,
    tables: &'a [Table],
    accesses: &'a [Access<'a>],
    /// What each access that writes found.
    before: Vec<Option<Item>>,
}

impl<'a> Meter<'a> {
    /// Before the call takes effect.
    pub(crate) fn new(db: &Database, tables: &'a [Table], accesses: &'a [Access<'a>]) -> Self {
        let before = accesses.iter().map(|access| {
            let (table, key) = key(tables, access).filter(|_| access.writes())?;
            get(db, &table.id, key)
        });
        Self {
            db: db.clone(),
            tables,
            accesses,
            before: before.collect(),
        }
    }

    /// After the call took effect, or was refused.
    pub(crate) fn touched(&self, request: &Value, facts: &Facts) -> Vec<Touch> {
        let accesses = self.accesses.iter().zip(&self.before);
        let touched = accesses.flat_map(|(access, before)| match key(self.tables, access) {
            None => self.queried(access, request, facts).into_iter().collect(),
            Some((table, key)) => self.item(access, table, &key, before.as_ref(), facts),
        });
        touched.collect()
    }

    fn item(
        &self,
        access: &Access<'_>,
        table: &Table,
        key: &Item,
        before: Option<&Item>,
        facts: &Facts,
    ) -> Vec<Touch> {
        let now = get(&self.db, &table.id, key.clone());
        // "Subsequent TransactWriteItems calls with the same client token return the number of read
        // capacity units consumed in reading the item" (API reference).
        if !access.writes() || facts.replayed {
            let units = read(now.as_ref(), access.consistency);
            let partition = partition(key, &table.key).unwrap_or_default();
            return vec![Touch {
                resource: access.resource(),
                partition,
                units,
            }];
        }
        let after = if facts.done { now.as_ref() } else { before };
        let transaction = access.consistency == Consistency::Transaction;
        let written = write(table, before, after, transaction).into_iter();
        let touched = written.map(|(index, units)| {
            let names = index.map_or(&table.key, |index| &index.key);
            let mut items = [after, before, Some(key)].into_iter().flatten();
            let partition = items.find_map(|item| partition(item, names));
            let resource = index.map(|index| format!("{}/{}", table.id, index.name));
            Touch {
                resource: resource.unwrap_or_else(|| table.id.clone()),
                partition: partition.unwrap_or_default(),
                units,
            }
        });
        touched.collect()
    }

    /// What a query or scan touched: the partition that its condition has the partition key equal.
    fn queried(&self, access: &Access<'_>, request: &Value, facts: &Facts) -> Option<Touch> {
        let table = self.tables.iter().find(|it| it.id == access.table)?;
        let mut indexes = table.indexes.iter();
        let index = indexes.find(|it| Some(it.name.as_str()) == access.index);
        let wanted = index.map_or(&table.key, |index| &index.key).first()?;
        let partition = || {
            let condition = request["KeyConditionExpression"].as_str()?;
            let condition = condition.replace(['(', ')', '='], " ");
            let mut words = condition.split_whitespace();
            words.find(|word| {
                let name = request["ExpressionAttributeNames"][word].as_str();
                name.unwrap_or(word) == wanted
            })?;
            let value = &request["ExpressionAttributeValues"][words.next()?];
            text(&AttributeValue::deserialize(value).ok()?)
        };
        Some(Touch {
            resource: access.resource(),
            partition: partition().unwrap_or_default(),
            units: Units::reads(facts.queried),
        })
    }
}

/// The table and the key of an access to an item.
fn key<'a>(tables: &'a [Table], access: &Access<'_>) -> Option<(&'a Table, Item)> {
    let table = tables.iter().find(|table| table.id == access.table)?;
    let key = table.key.iter().map(|name| {
        let value = AttributeValue::deserialize(access.item?.get(name)?);
        Some((name.clone(), value.ok()?))
    });
    Some((table, key.collect::<Option<_>>()?))
}

/// The partition key's value.
fn partition(item: &Item, key: &[String]) -> Option<String> {
    text(item.get(key.first()?)?)
}

fn text(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        other => other.to_key_string(),
    }
}
