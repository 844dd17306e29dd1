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
    item::{Item, Record, key_item, number, unwritable},
    keys::{self, Key},
};

/// The words of expressions that are no names.
const WORDS: [&str; 10] = [
    "ADD",
    "AND",
    "DELETE",
    "OR",
    "REMOVE",
    "SET",
    "attribute_exists",
    "attribute_not_exists",
    "if_not_exists",
    "size",
];

/// The condition and the update of a write of one record; each may be empty.
#[derive(Debug)]
pub(super) struct Expression {
    fields: &'static [&'static str],
    update: String,
    condition: String,
    names: HashMap<String, String>,
    values: Item,
}

/// The parts of an expression, as the SDK takes them: `None` instead of an empty text or map.
pub(super) struct Parts {
    pub(super) update: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<Item>,
    /// What a failed condition returns: the present item. Without a condition, nothing fails.
    pub(super) on_failure: Option<ReturnValuesOnConditionCheckFailure>,
}

impl Expression {
    /// Returns an empty expression on records of the type `R`.
    pub(super) fn on<R: Record>() -> Self {
        Self::with_fields(R::FIELDS)
    }

    /// Returns the expression of a write of any item without a condition.
    pub(super) fn always() -> Self {
        Self::with_fields(&[])
    }

    /// Returns the condition that no item has the key.
    pub(super) fn absent() -> Self {
        Self::always().when("attribute_not_exists(pk)")
    }

    fn with_fields(fields: &'static [&'static str]) -> Self {
        Self {
            fields,
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
        let condition = text(self.condition);
        let all_old = ReturnValuesOnConditionCheckFailure::AllOld;
        Parts {
            update: text(self.update),
            on_failure: condition.is_some().then_some(all_old),
            condition,
            names: Some(self.names).filter(|names| !names.is_empty()),
            values: Some(self.values).filter(|values| !values.is_empty()),
        }
    }

    /// Returns the parts of a condition, which updates nothing.
    pub(super) fn condition(self) -> Parts {
        debug_assert!(self.update.is_empty(), "{self:?} is no condition");
        self.parts()
    }

    /// Returns the update of an item as a part of a transaction.
    pub(super) fn update_of(self, table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
        let parts = self.parts();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .set_update_expression(parts.update)
            .set_condition_expression(parts.condition)
            .set_expression_attribute_names(parts.names)
            .set_expression_attribute_values(parts.values)
            .set_return_values_on_condition_check_failure(parts.on_failure);
        let update = update.build().map_err(unwritable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Returns the put of an item as a part of a transaction.
    pub(super) fn put_of(self, table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
        let parts = self.condition();
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(parts.condition)
            .set_expression_attribute_names(parts.names)
            .set_expression_attribute_values(parts.values);
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

#[cfg(test)]
mod tests {
    use super::{super::transition::tests::new_task, *};
    use bematic::{
        agent::{Agent, Binding, Connection, DispatchLease},
        batch::{Batch, BatchKind},
        breaker::Breaker,
    };
    use bematic_protocol::{messages::Spelling, time::Timestamp};

    /// Whether an item has the attribute of this path.
    fn has(item: &Item, path: &str) -> bool {
        match path.split_once('.') {
            None => item.contains_key(path),
            Some((name, rest)) => matches!(&item[name], AttributeValue::M(map) if has(map, rest)),
        }
    }

    fn check<R: Record>(record: &R) {
        let item = serde_dynamo::to_item(record).unwrap();
        for field in R::FIELDS {
            assert!(has(&item, field), "serde writes no field `{field}`");
        }
    }

    #[test]
    fn the_fields_of_expressions_are_serdes() {
        let (at, spelling) = (Timestamp::from_millis(1), Some(Spelling::default()));
        let mut agent = Agent::new("box".parse().unwrap(), at);
        agent.connection = Some(Binding {
            pinged_at: Some(at),
            echoed_at: Some(at),
            doubted_at: Some(at),
            ..Binding::new("c".parse().unwrap(), at, spelling)
        });
        agent.last_seen = Some(at);
        agent.agent_version = Some("1".into());
        agent
            .active
            .insert("0198c0de-0000-7000-8000-000000000001".parse().unwrap());
        agent.active_at = Some(at);
        agent.held.insert("task#1".into());
        agent.gate.generation = 1;
        agent.dispatch_lease = Some(DispatchLease {
            holder: "me".into(),
            until: at,
        });
        check(&agent);
        check(&Connection {
            id: "c".parse().unwrap(),
            agent_id: Some(agent.id.clone()),
            connected_at: at,
            spelling,
        });
        check(&Breaker::default());
        let task = new_task("box");
        let id = task.id.to_string().parse().unwrap();
        check(&Batch::new(id, BatchKind::Cancel, task.origin.clone(), at));
        check(&task);
    }

    #[test]
    fn names_become_placeholders_and_have_values() {
        let change = Expression::on::<Agent>()
            .update("SET connection.spelling = if_not_exists(connection.spelling, :s)")
            .update("REMOVE active, duePk")
            .when("attribute_exists(pk)")
            .when("(attribute_not_exists(held) OR size(held) < capacity)")
            .value(":s", number(1));
        let parts = change.parts();
        assert_eq!(
            parts.update.unwrap(),
            "SET #connection.#spelling = if_not_exists(#connection.#spelling, :s) \
             REMOVE #active, #duePk"
        );
        assert_eq!(
            parts.condition.unwrap(),
            "attribute_exists(#pk) AND (attribute_not_exists(#held) OR size(#held) < #capacity)"
        );
        assert_eq!(parts.names.unwrap().len(), 7);
        assert_eq!(parts.values.unwrap().len(), 1);
        assert!(parts.on_failure.is_some());
        assert!(Expression::always().parts().on_failure.is_none());
    }

    #[test]
    #[should_panic(expected = "`lastHeard` is no field of the record")]
    fn a_name_that_is_no_field_is_found_by_every_test_that_uses_it() {
        let _ = Expression::on::<Agent>().update("SET lastHeard = :now");
    }
}
