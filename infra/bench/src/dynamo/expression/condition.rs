//! Conditions, of writes and of keys.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Fault, Names, Operand, Path, as_number, at, parser::Parser};
use crate::dynamo::size::{Item, typed};

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dynamo) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Exists(Path),
    NotExists(Path),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Compare(Operand, &'static str, Operand),
}

impl Condition {
    pub(in crate::dynamo) fn parse(text: &str, names: Names<'_>) -> Result<Self, Fault> {
        let mut parser = Parser::new(text, names)?;
        let condition = parser.or()?;
        parser.end()?;
        Ok(condition)
    }

    /// Whether the item, empty if there is none, is as it says.
    pub(in crate::dynamo) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::And(a, b) => a.holds(item) && b.holds(item),
            Self::Or(a, b) => a.holds(item) || b.holds(item),
            Self::Not(a) => !a.holds(item),
            Self::Exists(path) => at(item, path).is_some(),
            Self::NotExists(path) => at(item, path).is_none(),
            Self::BeginsWith(text, start) => both(text, start, item, |text, start| {
                text["S"]
                    .as_str()
                    .zip(start["S"].as_str())
                    .is_some_and(|(text, start)| text.starts_with(start))
            }),
            Self::Contains(whole, part) => both(whole, part, item, contains),
            Self::Between(value, low, high) => {
                compare(value, ">=", low, item) && compare(value, "<=", high, item)
            }
            Self::In(value, list) => list.iter().any(|one| compare(value, "=", one, item)),
            Self::Compare(a, how, b) => compare(a, how, b, item),
        }
    }

    /// The value that it says `attribute` has.
    pub(in crate::dynamo) fn value_of(&self, attribute: &str) -> Option<&Value> {
        match self {
            Self::And(a, b) => a.value_of(attribute).or_else(|| b.value_of(attribute)),
            Self::Compare(Operand::Path(path), "=", Operand::Value(value))
                if path.len() == 1 && path[0] == attribute =>
            {
                Some(value)
            }
            _ => None,
        }
    }
}

fn both(a: &Operand, b: &Operand, item: &Item, test: impl Fn(&Value, &Value) -> bool) -> bool {
    match (a.value(item), b.value(item)) {
        (Some(a), Some(b)) => test(&a, &b),
        _ => false,
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    let Some((_, part_value)) = typed(part) else {
        return false;
    };
    match typed(whole) {
        Some((_, Value::String(text))) => {
            part_value.as_str().is_some_and(|part| text.contains(part))
        }
        Some(("L", Value::Array(elements))) => elements.contains(part),
        Some((_, Value::Array(elements))) => elements.contains(part_value),
        _ => false,
    }
}

/// What is not there compares as nothing, except that it is not equal.
fn compare(a: &Operand, how: &str, b: &Operand, item: &Item) -> bool {
    let (Some(a), Some(b)) = (a.value(item), b.value(item)) else {
        return how == "<>";
    };
    match how {
        "=" => same(&a, &b),
        "<>" => !same(&a, &b),
        _ => order(&a, &b).is_some_and(|order| match how {
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        }),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    if let (Some(("SS" | "NS" | "BS", Value::Array(a))), Some((_, Value::Array(b)))) =
        (typed(a), typed(b))
    {
        return a.len() == b.len() && a.iter().all(|one| b.contains(one));
    }
    a == b || order(a, b).is_some_and(Ordering::is_eq)
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a["S"].as_str(), b["S"].as_str()) {
        (Some(a), Some(b)) => Some(a.cmp(b)),
        _ => as_number(a)?.partial_cmp(&as_number(b)?),
    }
}
