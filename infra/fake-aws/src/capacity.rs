//! Read and write request units, by the rules of the DynamoDB developer guide ("DynamoDB read and
//! write operations" and "Managing complex workflows with transactions").
//!
//! - A read is counted in 4 KB of the whole item, whatever of it is projected; an eventually consistent
//!   one costs half, one of a transaction twice as much. A read of nothing costs as much as the least.
//! - A write is counted in 1 KB of the larger of the item before and after; twice as much in a
//!   transaction, in which a condition check counts as a write of the item.
//! - An index is written when what it projects of an item changes: once, or twice when the item's key in
//!   it changes (a delete and a put). A transaction does not double the writes of indexes.
//! - A write that fails its condition costs a write of the item as it is, or one unit where there is none.
//!   The guide does not say what a cancelled transaction costs; each part is counted like that, twice.

use dynoxide::{
    AttributeValue, Item,
    types::{item_size, read_capacity_units, table_write_capacity_units, write_capacity_units},
};

use crate::{
    access::Consistency,
    template::{Index, Table},
    units::Units,
};

/// What it costs to read an item, or to find that there is none.
pub(crate) fn read(item: Option<&Item>, consistency: Consistency) -> Units {
    let times = match consistency {
        Consistency::Eventual => 0.5,
        Consistency::Strong => 1.0,
        Consistency::Transaction => 2.0,
    };
    Units::reads(read_capacity_units(item.map_or(0, item_size)) * times)
}

/// What is written to make `after` of `before`: in the table, and in each index that changes.
pub(crate) fn write<'a>(
    table: &'a Table,
    before: Option<&Item>,
    after: Option<&Item>,
    transaction: bool,
) -> Vec<(Option<&'a Index>, Units)> {
    let own = table_write_capacity_units(before.map(item_size), after.map(item_size));
    let own = if transaction { own * 2.0 } else { own };
    let indexes = table.indexes.iter();
    let indexes = indexes.map(|it| (Some(it), index_write(it, before, after)));
    let written = [(None, own)].into_iter().chain(indexes);
    let written = written.filter(|(_, units)| *units > 0.0);
    written
        .map(|(index, units)| (index, Units::writes(units)))
        .collect()
}

fn index_write(index: &Index, before: Option<&Item>, after: Option<&Item>) -> f64 {
    let size = |entry: &Item| write_capacity_units(item_size(entry));
    let before = before.and_then(|item| index.entry(item));
    let after = after.and_then(|item| index.entry(item));
    match (before, after) {
        (None, None) => 0.0,
        (None, Some(one)) | (Some(one), None) => size(&one),
        (Some(old), Some(new)) if old == new => 0.0,
        (Some(old), Some(new)) if index.key_of(&old) == index.key_of(&new) => {
            size(&old).max(size(&new))
        }
        (Some(old), Some(new)) => size(&old) + size(&new),
    }
}

impl Index {
    fn key_of<'a>(&self, item: &'a Item) -> Option<Vec<&'a AttributeValue>> {
        self.key.iter().map(|name| item.get(name)).collect()
    }

    /// What the index holds of an item, if the item is in it.
    fn entry(&self, item: &Item) -> Option<Item> {
        self.key_of(item)?;
        let Some(projected) = &self.projected else {
            return Some(item.clone());
        };
        let kept = item.iter().filter(|(name, _)| projected.contains(*name));
        Some(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }
}
