//! Read and write request units, by DynamoDB's rules.
//!
//! A read is counted in 4 KB, half as much if it need not be consistent; a write in 1 KB of the
//! larger of the item before and after, twice as much in a transaction. An index is written when
//! what it shows of an item changes: once, or twice when the item's key in it changes. It is
//! written after the transaction, so that its writes are not doubled. What fails its condition
//! costs what it would have cost to write the item as it was.

use std::borrow::Cow;
use std::ops::{Add, AddAssign, Mul};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::size::{Item, item_size};

/// Bytes of a read unit.
const READ: usize = 4096;
/// Bytes of a write unit.
const WRITE: usize = 1024;

/// Request units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

impl Units {
    pub(crate) const fn writes(write: f64) -> Self {
        Self { read: 0.0, write }
    }
}

impl Add for Units {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            write: self.write + other.write,
        }
    }
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Units {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self {
            read: self.read * times,
            write: self.write * times,
        }
    }
}

impl std::iter::Sum for Units {
    fn sum<I: Iterator<Item = Self>>(units: I) -> Self {
        units.fold(Self::default(), Add::add)
    }
}

/// How a read is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Half the price.
    Eventual,
    /// As of now.
    Strong,
    /// Within a transaction: twice the price.
    Transaction,
}

/// What a read of so many bytes costs; of nothing, as of a little.
#[expect(clippy::cast_precision_loss, reason = "an item has 400 KB at most")]
pub fn read_units(bytes: usize, consistency: Consistency) -> Units {
    let units = bytes.div_ceil(READ).max(1) as f64;
    let times = match consistency {
        Consistency::Eventual => 0.5,
        Consistency::Strong => 1.0,
        Consistency::Transaction => 2.0,
    };
    Units {
        read: units * times,
        write: 0.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an item has 400 KB at most")]
fn writes(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE).max(1) as f64
}

/// An index of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The attribute that is its partition key.
    pub partition: String,
    /// The attribute that is its sort key.
    pub sort: Option<String>,
    /// What it shows of an item.
    pub shows: Shows,
}

/// What an index shows of an item, beside the keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum Shows {
    /// All of it.
    All,
    /// Nothing more.
    Keys,
    /// These attributes.
    Some(Vec<String>),
}

impl Index {
    fn keys(&self) -> impl Iterator<Item = &str> {
        [Some(self.partition.as_str()), self.sort.as_deref()]
            .into_iter()
            .flatten()
    }

    /// The item's key here; none if it is not in this index.
    pub fn key<'a>(&self, item: &'a Item) -> Option<Vec<&'a Value>> {
        self.keys().map(|name| item.get(name)).collect()
    }

    /// What is seen of an item here, if it is in this index.
    pub fn image<'a>(&self, item: &'a Item) -> Option<Cow<'a, Item>> {
        self.key(item)?;
        if self.shows == Shows::All {
            return Some(Cow::Borrowed(item));
        }
        let shown = |name: &str| match &self.shows {
            Shows::All => true,
            Shows::Keys => false,
            Shows::Some(names) => names.iter().any(|shown| shown == name),
        };
        let kept = item.iter().filter(|(name, _)| {
            shown(name) || ["pk", "sk"].contains(&name.as_str()) || self.keys().any(|k| k == *name)
        });
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        Some(Cow::Owned(kept.collect()))
    }

    fn write_units(&self, before: Option<&Item>, after: Option<&Item>) -> f64 {
        let before = before.and_then(|item| self.image(item));
        let after = after.and_then(|item| self.image(item));
        match (before, after) {
            (None, None) => 0.0,
            (None, Some(new)) => writes(item_size(&new)),
            (Some(old), None) => writes(item_size(&old)),
            (Some(old), Some(new)) if old == new => 0.0,
            (Some(old), Some(new)) if self.key(&old) == self.key(&new) => {
                writes(item_size(&old).max(item_size(&new)))
            }
            (Some(old), Some(new)) => writes(item_size(&old)) + writes(item_size(&new)),
        }
    }
}

/// What a write costs that makes `after` of `before`: in the table, and in each of the indexes.
pub fn write_units(
    before: Option<&Item>,
    after: Option<&Item>,
    indexes: &[Index],
    transaction: bool,
) -> (Units, Vec<Units>) {
    let size = |item: Option<&Item>| item.map_or(0, item_size);
    let table = writes(size(before).max(size(after)));
    let table = if transaction { table * 2.0 } else { table };
    let of_indexes = indexes.iter().map(|index| index.write_units(before, after));
    let of_indexes = of_indexes.map(Units::writes).collect();
    (Units::writes(table), of_indexes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(value: &Value) -> Item {
        value.as_object().unwrap().clone()
    }

    fn due(shows: Shows) -> Index {
        Index {
            name: "due".into(),
            partition: "duePk".into(),
            sort: Some("dueSk".into()),
            shows,
        }
    }

    fn written(before: Option<&Item>, after: Option<&Item>, shows: Shows) -> f64 {
        total(before, after, &[due(shows)], false).write
    }

    fn total(
        before: Option<&Item>,
        after: Option<&Item>,
        of: &[Index],
        transaction: bool,
    ) -> Units {
        let (table, indexes) = write_units(before, after, of, transaction);
        table + indexes.into_iter().sum()
    }

    fn task(at: &str, title: &str) -> Item {
        item(&json!({
            "pk": { "S": "TASK#1" }, "sk": { "S": "TASK" }, "title": { "S": title },
            "duePk": { "S": "DUE#1" }, "dueSk": { "S": at },
        }))
    }

    #[test]
    fn reads_are_counted_in_4_kb() {
        for (bytes, strong) in [(0, 1.0), (1, 1.0), (4096, 1.0), (4097, 2.0), (9000, 3.0)] {
            let read = |consistency| read_units(bytes, consistency).read.to_bits();
            assert_eq!(read(Consistency::Strong), f64::to_bits(strong), "{bytes}");
            assert_eq!(read(Consistency::Eventual), f64::to_bits(strong / 2.0));
            assert_eq!(read(Consistency::Transaction), f64::to_bits(strong * 2.0));
        }
    }

    #[test]
    fn writes_are_counted_in_1_kb_of_the_larger_and_twice_in_a_transaction() {
        let large = item(&json!({ "pk": { "S": "x".repeat(1500) } }));
        let small = item(&json!({ "pk": { "S": "x" } }));
        let units = |before, after, transaction| total(before, after, &[], transaction);
        assert_eq!(units(None, Some(&small), false), Units::writes(1.0));
        assert_eq!(units(None, None, false), Units::writes(1.0));
        assert_eq!(units(Some(&large), Some(&small), false), Units::writes(2.0));
        assert_eq!(units(None, Some(&large), true), Units::writes(4.0));
    }

    #[test]
    fn an_index_is_written_when_what_it_shows_changes() {
        let (one, later, renamed) = (task("1", "a"), task("2", "a"), task("1", "b"));
        let mut over = one.clone();
        over.remove("duePk");
        let cost = |before, after| written(Some(before), Some(after), Shows::All) - 1.0;
        assert_eq!(cost(&one, &one).to_bits(), f64::to_bits(0.0));
        assert_eq!(cost(&one, &renamed).to_bits(), f64::to_bits(1.0));
        assert_eq!(
            cost(&one, &later).to_bits(),
            f64::to_bits(2.0),
            "its key moves"
        );
        assert_eq!(cost(&one, &over).to_bits(), f64::to_bits(1.0), "it leaves");
        assert_eq!(cost(&over, &one).to_bits(), f64::to_bits(1.0), "it comes");
        assert_eq!(
            cost(&over, &over).to_bits(),
            f64::to_bits(0.0),
            "it is not there"
        );
    }

    #[test]
    fn an_index_of_keys_is_not_written_for_the_rest() {
        let (one, renamed) = (task("1", "a"), task("1", "b"));
        let cost = |shows| written(Some(&one), Some(&renamed), shows);
        assert_eq!(cost(Shows::Keys).to_bits(), f64::to_bits(1.0));
        assert_eq!(
            cost(Shows::Some(vec!["agentId".into()])).to_bits(),
            f64::to_bits(1.0)
        );
        assert_eq!(
            cost(Shows::Some(vec!["title".into()])).to_bits(),
            f64::to_bits(2.0)
        );
    }

    #[test]
    fn an_indexs_writes_are_not_doubled_by_a_transaction() {
        let new = task("1", "a");
        let units = total(None, Some(&new), &[due(Shows::All)], true);
        assert_eq!(units, Units::writes(3.0));
    }
}
