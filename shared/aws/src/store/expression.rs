//! Expressions: the condition and the update of a write, with their names and values.
//!
//! An expression is written with the plain names of attributes, such as
//! `SET lastSeen = :now REMOVE connection`. Every name becomes a placeholder of DynamoDB
//! (`#lastSeen`), so that reserved words need no care, and has to be one of the record's
//! [`Record::FIELDS`], which a test compares with what serde writes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use bematic::error::StoreError;

use super::{
    keys::{self, Key},
    table::{Item, Record, key_item, number, unwritable},
};

/// The words of expressions that are no names.
const WORDS: [&str; 12] = [
    "ADD",
    "AND",
    "BETWEEN",
    "DELETE",
    "OR",
    "REMOVE",
    "SET",
    "attribute_exists",
    "attribute_not_exists",
    "begins_with",
    "if_not_exists",
    "size",
];

/// The condition and the update of a write of one record; each may be empty.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    fields: &'static [&'static str],
    update: String,
    condition: String,
    names: HashMap<String, String>,
    values: Item,
}

/// The names and values of an expression, as the SDK takes them: `None` instead of an empty map.
pub(super) type Parts = (
    Option<String>,
    Option<String>,
    Option<HashMap<String, String>>,
    Option<Item>,
);

impl Expression {
    /// Returns an empty expression on records of the type `R`.
    pub(super) fn on<R: Record>() -> Self {
        Self {
            fields: R::FIELDS,
            update: String::new(),
            condition: String::new(),
            names: HashMap::new(),
            values: Item::new(),
        }
    }

    /// Returns the condition that the record's version is the one that a change was decided on.
    pub(super) fn version<R: Record>(version: u64) -> Self {
        let same = Self::on::<R>().when("version = :version");
        same.value(":version", number(version))
    }

    /// Adds clauses to the update.
    pub(super) fn update(mut self, clauses: &str) -> Self {
        let clauses = self.named(clauses);
        join(&mut self.update, " ", &clauses);
        self
    }

    /// Adds a condition, which has to hold together with the others.
    pub(super) fn when(mut self, condition: &str) -> Self {
        let condition = self.named(condition);
        join(&mut self.condition, " AND ", &condition);
        self
    }

    /// Adds the value of a placeholder, such as `:now`.
    pub(super) fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(placeholder.to_owned(), value);
        self
    }

    /// Adds the values of several placeholders.
    pub(super) fn values(mut self, values: Item) -> Self {
        self.values.extend(values);
        self
    }

    /// Returns the update, the condition, the names and the values.
    pub(super) fn parts(self) -> Parts {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        (
            text(self.update),
            text(self.condition),
            Some(self.names).filter(|names| !names.is_empty()),
            Some(self.values).filter(|values| !values.is_empty()),
        )
    }

    /// Returns the update of an item as a part of a transaction.
    pub(super) fn update_of(self, table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
        let (update, condition, names, values) = self.parts();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .set_update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = update.build().map_err(unwritable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Returns the put of an item as a part of a transaction.
    pub(super) fn put_of(self, table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
        let (_, condition, names, values) = self.parts();
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        let put = put.build().map_err(unwritable)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Replaces the names in a text by placeholders, and records them.
    fn named(&mut self, text: &str) -> String {
        let mut named = String::with_capacity(text.len() + 16);
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        for run in text.split_inclusive(|c: char| !is_word(c)) {
            let word = run.trim_end_matches(|c: char| !is_word(c));
            if word.is_empty() || word.starts_with(':') || WORDS.contains(&word) {
                named.push_str(run);
                continue;
            }
            debug_assert!(
                self.fields.contains(&word) || keys::ATTRIBUTES.contains(&word),
                "`{word}` is no field of the record: add it to its FIELDS, or mend the expression"
            );
            let path = word.split('.').map(|name| {
                self.names.insert(format!("#{name}"), name.to_owned());
                format!("#{name}")
            });
            named.push_str(&path.collect::<Vec<_>>().join("."));
            named.push_str(&run[word.len()..]);
        }
        named
    }
}

fn join(text: &mut String, separator: &str, more: &str) {
    if !text.is_empty() {
        text.push_str(separator);
    }
    text.push_str(more);
}

/// Returns the check that an item exists, which changes nothing, as a part of a transaction.
pub(super) fn check_exists(table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key_item(key)))
        .condition_expression("attribute_exists(pk)");
    let check = check.build().map_err(unwritable)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

/// Returns the deletion of an item as a part of a transaction.
pub(super) fn delete(table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(key_item(key)));
    let delete = delete.build().map_err(unwritable)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}
