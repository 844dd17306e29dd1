//! DynamoDB's expressions: conditions, updates and key conditions, as far as Bematic uses them.
//! What is not understood is a fault, which ends the bench: nothing is taken for true.

mod condition;
mod lexer;
mod parser;
mod update;

use serde_json::{Map, Value};

pub(super) use self::{
    condition::Condition,
    update::{Update, changed},
};
use super::size::Item;

/// What is wrong with a request, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(String);

impl Fault {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an attribute is: its name, and the names below it.
pub(super) type Path = Vec<String>;

/// What an expression's placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) names: Option<&'a Map<String, Value>>,
    pub(super) values: Option<&'a Map<String, Value>>,
}

impl<'a> Names<'a> {
    /// Those of a request.
    pub(super) fn of(request: &'a Value) -> Self {
        Self {
            names: request["ExpressionAttributeNames"].as_object(),
            values: request["ExpressionAttributeValues"].as_object(),
        }
    }

    fn name(&self, word: &str) -> Result<String, Fault> {
        if !word.starts_with('#') {
            return Ok(word.to_owned());
        }
        let name = self.names.and_then(|names| names.get(word)?.as_str());
        name.map(ToOwned::to_owned)
            .ok_or_else(|| Fault::new(format!("the name {word} is not defined")))
    }

    fn value(&self, word: &str) -> Result<Value, Fault> {
        let value = self.values.and_then(|values| values.get(word));
        value
            .cloned()
            .ok_or_else(|| Fault::new(format!("the value {word} is not defined")))
    }
}

/// What is at `path`.
pub(super) fn at<'a>(item: &'a Item, path: &[String]) -> Option<&'a Value> {
    let (first, below) = path.split_first()?;
    let mut value = item.get(first)?;
    for name in below {
        value = value.get("M")?.get(name)?;
    }
    Some(value)
}

/// What may stand where a value is expected.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Value(Value),
    Size(Path),
    IfNotExists(Path, Box<Operand>),
    Append(Box<Operand>, Box<Operand>),
    Sum(Box<Operand>, Box<Operand>),
    Difference(Box<Operand>, Box<Operand>),
}

impl Operand {
    /// Its value; none if there is no such attribute.
    pub(super) fn value(&self, item: &Item) -> Option<Value> {
        match self {
            Self::Path(path) => at(item, path).cloned(),
            Self::Value(value) => Some(value.clone()),
            Self::Size(path) => at(item, path).map(length),
            Self::IfNotExists(path, other) => at(item, path).cloned().or_else(|| other.value(item)),
            Self::Append(a, b) => {
                let list = |operand: &Self| operand.value(item)?["L"].as_array().cloned();
                let (mut list, more) = (list(a)?, list(b)?);
                list.extend(more);
                Some(serde_json::json!({ "L": list }))
            }
            Self::Sum(a, b) => number(a, b, item, |a, b| a + b),
            Self::Difference(a, b) => number(a, b, item, |a, b| a - b),
        }
    }
}

fn number(a: &Operand, b: &Operand, item: &Item, of: fn(f64, f64) -> f64) -> Option<Value> {
    let value = |operand: &Operand| as_number(&operand.value(item)?);
    Some(from_number(of(value(a)?, value(b)?)))
}

pub(super) fn as_number(attribute: &Value) -> Option<f64> {
    attribute.get("N")?.as_str()?.parse().ok()
}

pub(super) fn from_number(number: f64) -> Value {
    serde_json::json!({ "N": number.to_string() })
}

/// Of a text its bytes, of the rest its elements.
fn length(attribute: &Value) -> Value {
    let length = match super::size::typed(attribute) {
        Some((_, Value::String(text))) => text.len(),
        Some((_, Value::Array(elements))) => elements.len(),
        Some((_, Value::Object(fields))) => fields.len(),
        _ => 0,
    };
    serde_json::json!({ "N": length.to_string() })
}

#[cfg(test)]
mod tests;
