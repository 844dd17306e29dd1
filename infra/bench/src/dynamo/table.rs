//! A table in memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::{Value, json};

use super::Problem;
use super::expression::{Condition, Fault, Names};
use super::size::{Item, item_size};
use super::units::{Consistency, Index, Units, read_units};

/// The attributes of a table's key, here always texts.
const PARTITION: &str = "pk";
const SORT: &str = "sk";
/// Bytes of a page of a query.
const PAGE: usize = 1024 * 1024;

/// An item's key.
pub(super) type Key = (String, String);

/// Where an item is in an index: its partition there, its place in that, and its own key.
type Place = (String, String, Key);

/// One table with its indexes.
#[derive(Debug, Clone)]
pub(super) struct Table {
    items: BTreeMap<Key, Item>,
    pub(super) indexes: Vec<Index>,
    /// For each index, what is in it, in its order.
    places: Vec<BTreeSet<Place>>,
}

/// What a query found.
pub(super) struct Found {
    pub(super) answer: Value,
    pub(super) units: Units,
    /// The partition that was read, of the table or of an index.
    pub(super) partition: String,
}

impl Table {
    pub(super) fn new(indexes: Vec<Index>) -> Self {
        Self {
            items: BTreeMap::new(),
            places: indexes.iter().map(|_| BTreeSet::new()).collect(),
            indexes,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// Puts `after` in the place of what is there, or removes it.
    pub(super) fn write(&mut self, key: Key, after: Option<Item>) {
        let before = self.items.get(&key);
        for (index, places) in self.indexes.iter().zip(&mut self.places) {
            let place = |item: Option<&Item>| place(index, item?, &key);
            let (old, new) = (place(before), place(after.as_ref()));
            if old == new {
                continue;
            }
            if let Some(old) = old {
                places.remove(&old);
            }
            places.extend(new);
        }
        match after {
            Some(item) => self.items.insert(key, item),
            None => self.items.remove(&key),
        };
    }

    pub(super) fn query(&self, request: &Value) -> Result<Found, Problem> {
        let names = Names::of(request);
        let parse = |name: &str| {
            let text = request[name].as_str();
            text.map(|text| Condition::parse(text, names)).transpose()
        };
        let condition = parse("KeyConditionExpression")?
            .ok_or_else(|| Fault::new("a query has a KeyConditionExpression"))?;
        let filter = parse("FilterExpression")?;
        let (index, places) = self.index(request)?.unzip();
        let attribute = index.map_or(PARTITION, |index: &Index| &index.partition);
        let partition = condition
            .value_of(attribute)
            .and_then(|value| value["S"].as_str())
            .ok_or_else(|| Fault::new(format!("a query says what {attribute} is")))?;
        let backwards = request["ScanIndexForward"] == false;
        let start = request["ExclusiveStartKey"].as_object();
        let candidates = match index.zip(places) {
            None => self.own(partition, start, backwards)?,
            Some((index, places)) => self.listed(index, places, partition, start, backwards)?,
        };
        let candidates = candidates.filter(|item| condition.holds(item));
        let limit = request["Limit"].as_u64().and_then(|n| n.try_into().ok());
        let page = Page::new(candidates, index, limit.unwrap_or(usize::MAX));
        let consistency = match request["ConsistentRead"].as_bool() {
            Some(true) if index.is_none() => Consistency::Strong,
            _ => Consistency::Eventual,
        };
        let kept = |item: &Item| filter.as_ref().is_none_or(|filter| filter.holds(item));
        let scanned = page.items.len();
        let items: Vec<_> = page.items.into_iter().filter(kept).collect();
        let mut answer = json!({ "Count": items.len(), "ScannedCount": scanned });
        if request["Select"] != "COUNT" {
            answer["Items"] = items.into_iter().map(|item| shown(item, request)).collect();
        }
        if let Some(last) = page.last {
            answer["LastEvaluatedKey"] = Value::Object(key_of(&last, index));
        }
        Ok(Found {
            answer,
            units: read_units(page.bytes, consistency),
            partition: partition.to_owned(),
        })
    }

    fn index(&self, request: &Value) -> Result<Option<(&Index, &BTreeSet<Place>)>, Fault> {
        let Some(name) = request["IndexName"].as_str() else {
            return Ok(None);
        };
        let mut indexes = self.indexes.iter().zip(&self.places);
        let index = indexes.find(|(index, _)| index.name == name);
        index
            .map(Some)
            .ok_or_else(|| Fault::new(format!("there is no index {name}")))
    }

    /// A partition of the table, in order, from the start key on.
    fn own(
        &self,
        partition: &str,
        start: Option<&Item>,
        backwards: bool,
    ) -> Result<Items<'_>, Fault> {
        let ends = (
            Bound::Included((partition.to_owned(), String::new())),
            Bound::Excluded((after(partition), String::new())),
        );
        let range = self
            .items
            .range(from(ends, start.map(key).transpose()?, backwards));
        let items = range.map(|(_, item)| item);
        Ok(if backwards {
            Box::new(items.rev())
        } else {
            Box::new(items)
        })
    }

    /// A partition of an index, in order, from the start key on.
    fn listed<'a>(
        &'a self,
        index: &Index,
        places: &'a BTreeSet<Place>,
        partition: &str,
        start: Option<&Item>,
        backwards: bool,
    ) -> Result<Items<'a>, Fault> {
        let first = |partition: String| (partition, String::new(), Key::default());
        let ends = (
            Bound::Included(first(partition.to_owned())),
            Bound::Excluded(first(after(partition))),
        );
        let start = start.map(|start| {
            let own = key(start)?;
            place(index, start, &own).ok_or_else(|| Fault::new("a start key is in the index"))
        });
        let range = places.range(from(ends, start.transpose()?, backwards));
        let items = range.filter_map(|(.., key)| self.items.get(key));
        Ok(if backwards {
            Box::new(items.rev())
        } else {
            Box::new(items)
        })
    }
}

/// Items in the order in which they are read.
type Items<'a> = Box<dyn Iterator<Item = &'a Item> + 'a>;

/// The least text that comes after all that is in a partition.
fn after(partition: &str) -> String {
    format!("{partition}\0")
}

/// The range without what was read before.
fn from<K>(
    (low, high): (Bound<K>, Bound<K>),
    start: Option<K>,
    backwards: bool,
) -> (Bound<K>, Bound<K>) {
    match start {
        None => (low, high),
        Some(start) if backwards => (low, Bound::Excluded(start)),
        Some(start) => (Bound::Excluded(start), high),
    }
}

/// Where an item is in an index, if it is in it.
fn place(index: &Index, item: &Item, key: &Key) -> Option<Place> {
    let sort = match &index.sort {
        Some(sort) => text(item, sort)?,
        None => String::new(),
    };
    Some((text(item, &index.partition)?, sort, key.clone()))
}

/// The items of one page.
struct Page {
    items: Vec<Item>,
    bytes: usize,
    /// Where the next page goes on, if there may be one.
    last: Option<Item>,
}

impl Page {
    fn new<'a>(
        candidates: impl Iterator<Item = &'a Item>,
        index: Option<&Index>,
        limit: usize,
    ) -> Self {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in candidates {
            let item = index.map_or_else(
                || Some(item.clone()),
                |index| index.image(item).map(Cow::into_owned),
            );
            let Some(item) = item else { continue };
            bytes += item_size(&item);
            items.push(item);
            if items.len() >= limit || bytes >= PAGE {
                let last = items.last().cloned();
                return Self { items, bytes, last };
            }
        }
        Self {
            items,
            bytes,
            last: None,
        }
    }
}

fn text(item: &Item, attribute: &str) -> Option<String> {
    Some(item.get(attribute)?.get("S")?.as_str()?.to_owned())
}

/// The key of an item or a request's key.
pub(super) fn key(item: &Item) -> Result<Key, Fault> {
    text(item, PARTITION)
        .zip(text(item, SORT))
        .ok_or_else(|| Fault::new("a key is two texts, pk and sk"))
}

fn key_of(item: &Item, index: Option<&Index>) -> Item {
    let of_index = index.map(|index| [Some(index.partition.as_str()), index.sort.as_deref()]);
    let of_index = of_index.into_iter().flatten().flatten();
    let names = [PARTITION, SORT].into_iter().chain(of_index);
    let key = names.filter_map(|name| Some((name.to_owned(), item.get(name)?.clone())));
    key.collect()
}

/// The attributes that were asked for: all, or those of a list of names.
pub(super) fn shown(mut item: Item, request: &Value) -> Value {
    if let Some(wanted) = request["ProjectionExpression"].as_str() {
        let names = request["ExpressionAttributeNames"].as_object();
        let name = |word: &str| {
            let given = names.and_then(|names| names.get(word)?.as_str());
            given.unwrap_or(word).to_owned()
        };
        let wanted: Vec<_> = wanted.split(',').map(|word| name(word.trim())).collect();
        item.retain(|name, _| wanted.contains(name));
    }
    Value::Object(item)
}
