//! A table in memory.

use std::collections::BTreeMap;
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

/// One table with its indexes.
#[derive(Debug, Clone)]
pub(super) struct Table {
    items: BTreeMap<Key, Item>,
    pub(super) indexes: Vec<Index>,
}

/// What a query found.
pub(super) struct Found {
    pub(super) answer: Value,
    pub(super) units: Units,
}

impl Table {
    pub(super) const fn new(indexes: Vec<Index>) -> Self {
        Self {
            items: BTreeMap::new(),
            indexes,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// Puts `after` in the place of what is there, or removes it.
    pub(super) fn write(&mut self, key: Key, after: Option<Item>) {
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
        let index = self.index(request)?;
        let candidates = self.candidates(&condition, index, request)?;
        let limit = request["Limit"].as_u64().and_then(|n| n.try_into().ok());
        let page = Page::new(candidates, limit.unwrap_or(usize::MAX));
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
        })
    }

    fn index(&self, request: &Value) -> Result<Option<&Index>, Fault> {
        let Some(name) = request["IndexName"].as_str() else {
            return Ok(None);
        };
        let index = self.indexes.iter().find(|index| index.name == name);
        index
            .map(Some)
            .ok_or_else(|| Fault::new(format!("there is no index {name}")))
    }

    /// What the key condition holds for, in order, from the start key on.
    fn candidates(
        &self,
        condition: &Condition,
        index: Option<&Index>,
        request: &Value,
    ) -> Result<Vec<Item>, Fault> {
        let attribute = index.map_or(PARTITION, |index| &index.partition);
        let partition = condition
            .value_of(attribute)
            .and_then(|value| value["S"].as_str())
            .ok_or_else(|| Fault::new(format!("a query says what {attribute} is")))?;
        let sort = index.map_or(Some(SORT), |index| index.sort.as_deref());
        let order = |item: &Item| {
            let own = text(item, PARTITION).zip(text(item, SORT));
            (sort.and_then(|sort| text(item, sort)), own)
        };
        let mut items: Vec<Item> = match index {
            None => self.partition(partition).cloned().collect(),
            Some(index) => {
                let here = self.items.values();
                let here = here.filter(|item| text(item, attribute).as_deref() == Some(partition));
                here.filter_map(|item| index.image(item)).collect()
            }
        };
        items.retain(|item| condition.holds(item));
        items.sort_by_key(|item| order(item));
        let backwards = request["ScanIndexForward"] == false;
        if backwards {
            items.reverse();
        }
        if let Some(start) = request["ExclusiveStartKey"].as_object() {
            let start = order(start);
            items.retain(|item| {
                let place = order(item);
                if backwards {
                    place < start
                } else {
                    place > start
                }
            });
        }
        Ok(items)
    }

    fn partition(&self, partition: &str) -> impl Iterator<Item = &Item> {
        let from = Bound::Included((partition.to_owned(), String::new()));
        let range = self.items.range((from, Bound::Unbounded));
        let same = move |(key, _): &(&Key, &Item)| key.0 == partition;
        range.take_while(same).map(|(_, item)| item)
    }
}

/// The items of one page.
struct Page {
    items: Vec<Item>,
    bytes: usize,
    /// Where the next page goes on, if there may be one.
    last: Option<Item>,
}

impl Page {
    fn new(candidates: Vec<Item>, limit: usize) -> Self {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in candidates {
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
