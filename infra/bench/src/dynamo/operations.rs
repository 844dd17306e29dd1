//! The operations.

use serde_json::{Map, Value, json};

use super::expression::{Condition, Fault, Names, Update, changed};
use super::size::{Item, item_size};
use super::table::{Key, key, shown};
use super::units::{Consistency, Index, Units, read_units, write_units};
use super::{Dynamo, Problem, Touch, error, table_name};

type Answer = Result<(Value, Units), Problem>;

/// A write, decided on but not yet done.
struct Write {
    table: String,
    key: Key,
    before: Option<Item>,
    after: Option<Item>,
    units: Units,
    /// Whether its condition holds.
    holds: bool,
    /// The item, if its condition does not hold and the caller wants to see it.
    seen: Option<Item>,
}

/// What a write does.
#[derive(Clone, Copy)]
enum Kind {
    Put,
    Update,
    Delete,
    Check,
}

impl Dynamo {
    pub(super) fn operate(
        &mut self,
        operation: &str,
        request: &Value,
        touched: &mut Vec<Touch>,
    ) -> Answer {
        match operation {
            "GetItem" => self.get(request, touched),
            "BatchGetItem" => self.batch_get(request, touched),
            "TransactGetItems" => self.transact_get(request, touched),
            "Query" => {
                let found = self.table(request)?.query(request)?;
                let index = request["IndexName"].as_str();
                touched.push(Touch {
                    of: place(table_name(request)?, index),
                    partition: found.partition,
                    units: found.units,
                });
                Ok((found.answer, found.units))
            }
            "PutItem" => self.write_one(Kind::Put, request, touched),
            "UpdateItem" => self.write_one(Kind::Update, request, touched),
            "DeleteItem" => self.write_one(Kind::Delete, request, touched),
            "BatchWriteItem" => self.batch_write(request, touched),
            "TransactWriteItems" => self.transact(request, touched),
            _ => Err(Fault::new("the bench does not know this operation").into()),
        }
    }

    fn read(
        &self,
        request: &Value,
        consistency: Consistency,
        touched: &mut Vec<Touch>,
    ) -> Result<(Option<Value>, Units), Problem> {
        let key = key(object(request, "Key")?)?;
        let item = self.table(request)?.get(&key);
        let units = read_units(item.map_or(0, item_size), consistency);
        touched.push(Touch {
            of: table_name(request)?.to_owned(),
            partition: key.0,
            units,
        });
        Ok((item.map(|item| shown(item.clone(), request)), units))
    }

    fn get(&self, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let (item, units) = self.read(request, consistency(request), touched)?;
        let answer = item.map_or_else(|| json!({}), |item| json!({ "Item": item }));
        Ok((answer, units))
    }

    fn batch_get(&self, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let (mut responses, mut units) = (Map::new(), Units::default());
        for (table, wanted) in object(request, "RequestItems")? {
            let mut items = Vec::new();
            for key in array(wanted, "Keys")? {
                let mut one = wanted.clone();
                one["TableName"] = table.as_str().into();
                one["Key"] = key.clone();
                let (item, cost) = self.read(&one, consistency(wanted), touched)?;
                items.extend(item);
                units += cost;
            }
            responses.insert(table.clone(), items.into());
        }
        let answer = json!({ "Responses": responses, "UnprocessedKeys": {} });
        Ok((answer, units))
    }

    fn transact_get(&self, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let (mut responses, mut units) = (Vec::new(), Units::default());
        for one in array(request, "TransactItems")? {
            let (item, cost) = self.read(&one["Get"], Consistency::Transaction, touched)?;
            responses.push(item.map_or_else(|| json!({}), |item| json!({ "Item": item })));
            units += cost;
        }
        Ok((json!({ "Responses": responses }), units))
    }

    fn write_one(&mut self, kind: Kind, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let write = self.decide(kind, request, false, touched)?;
        let units = write.units;
        if !write.holds {
            let mut body = error(
                "ConditionalCheckFailedException",
                "The conditional request failed",
            );
            if let Some(item) = write.seen {
                body["Item"] = Value::Object(item);
            }
            return Err(Problem::Refused { body, units });
        }
        let returned = match request["ReturnValues"].as_str() {
            Some("ALL_NEW") => write.after.clone(),
            Some("ALL_OLD") => write.before.clone(),
            None | Some("NONE") => None,
            Some(other) => {
                return Err(Fault::new(format!("ReturnValues {other} is not known here")).into());
            }
        };
        self.apply(write)?;
        let attributes = returned.map(|item| json!({ "Attributes": item }));
        Ok((attributes.unwrap_or_else(|| json!({})), units))
    }

    fn batch_write(&mut self, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let mut units = Units::default();
        for (table, requests) in object(request, "RequestItems")? {
            for one in requests.as_array().into_iter().flatten() {
                let (kind, mut one) = match (one.get("PutRequest"), one.get("DeleteRequest")) {
                    (Some(put), _) => (Kind::Put, put.clone()),
                    (_, Some(delete)) => (Kind::Delete, delete.clone()),
                    _ => return Err(Fault::new("a batch puts and deletes").into()),
                };
                one["TableName"] = table.as_str().into();
                let write = self.decide(kind, &one, false, touched)?;
                units += write.units;
                self.apply(write)?;
            }
        }
        Ok((json!({ "UnprocessedItems": {} }), units))
    }

    /// All or nothing.
    fn transact(&mut self, request: &Value, touched: &mut Vec<Touch>) -> Answer {
        let mut writes = Vec::new();
        for one in array(request, "TransactItems")? {
            let parts = one.as_object().and_then(|one| one.iter().next());
            let (kind, part) = match parts {
                Some((kind, part)) if kind == "Put" => (Kind::Put, part),
                Some((kind, part)) if kind == "Update" => (Kind::Update, part),
                Some((kind, part)) if kind == "Delete" => (Kind::Delete, part),
                Some((kind, part)) if kind == "ConditionCheck" => (Kind::Check, part),
                _ => return Err(Fault::new("this part of a transaction is not known").into()),
            };
            writes.push(self.decide(kind, part, true, touched)?);
        }
        let units = writes.iter().map(|write| write.units).sum();
        if writes.iter().any(|write| !write.holds) {
            let reasons: Vec<_> = writes.iter().map(reason).collect();
            let mut body = error(
                "TransactionCanceledException",
                "Transaction cancelled, please refer cancellation reasons for specific reasons",
            );
            body["CancellationReasons"] = reasons.into();
            return Err(Problem::Refused { body, units });
        }
        for write in writes {
            self.apply(write)?;
        }
        Ok((json!({}), units))
    }

    fn decide(
        &self,
        kind: Kind,
        request: &Value,
        transaction: bool,
        touched: &mut Vec<Touch>,
    ) -> Result<Write, Fault> {
        let table = self.table(request)?;
        let names = Names::of(request);
        let field = if matches!(kind, Kind::Put) {
            "Item"
        } else {
            "Key"
        };
        let given = object(request, field)?;
        let key = key(given)?;
        let before = table.get(&key).cloned();
        let empty = Item::new();
        let item = before.as_ref().unwrap_or(&empty);
        let condition = request["ConditionExpression"].as_str();
        let condition = condition.map(|text| Condition::parse(text, names));
        let holds = condition.transpose()?.is_none_or(|it| it.holds(item));
        let after = match kind {
            Kind::Put => Some(given.clone()),
            Kind::Delete => None,
            Kind::Check => before.clone(),
            Kind::Update => {
                let text = request["UpdateExpression"].as_str().unwrap_or_default();
                let update = Update::parse(text, names)?;
                let start = before.as_ref().unwrap_or(given);
                // Evaluated only if it takes place: it may speak of what is not there.
                if holds {
                    Some(changed(start, &update)?)
                } else {
                    None
                }
            }
        };
        let after = if holds { after } else { before.clone() };
        let wants = request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
        let items = (before.as_ref(), after.as_ref());
        let written = written(
            table_name(request)?,
            &key,
            items,
            &table.indexes,
            transaction,
        );
        let units = written.iter().map(|touch| touch.units).sum();
        touched.extend(written);
        Ok(Write {
            table: table_name(request)?.to_owned(),
            units,
            seen: before.clone().filter(|_| wants && !holds),
            key,
            before,
            after,
            holds,
        })
    }

    fn apply(&mut self, write: Write) -> Result<(), Fault> {
        self.table_mut(&write.table)?.write(write.key, write.after);
        Ok(())
    }
}

fn reason(write: &Write) -> Value {
    if write.holds {
        return json!({ "Code": "None" });
    }
    let mut reason = json!({
        "Code": "ConditionalCheckFailed",
        "Message": "The conditional request failed",
    });
    if let Some(item) = &write.seen {
        reason["Item"] = Value::Object(item.clone());
    }
    reason
}

fn consistency(request: &Value) -> Consistency {
    if request["ConsistentRead"] == true {
        Consistency::Strong
    } else {
        Consistency::Eventual
    }
}

/// The table, or its index.
fn place(table: &str, index: Option<&str>) -> String {
    index.map_or_else(|| table.to_owned(), |index| format!("{table}/{index}"))
}

/// What a write writes: the item, and what the indexes show of it.
fn written(
    table: &str,
    key: &Key,
    (before, after): (Option<&Item>, Option<&Item>),
    indexes: &[Index],
    transaction: bool,
) -> Vec<Touch> {
    let (own, of_indexes) = write_units(before, after, indexes, transaction);
    let own = Touch {
        of: table.to_owned(),
        partition: key.0.clone(),
        units: own,
    };
    let of_indexes = indexes.iter().zip(of_indexes).filter_map(|(index, units)| {
        let item = [after, before].into_iter().flatten();
        let mut partitions = item.filter_map(|item| item.get(&index.partition)?["S"].as_str());
        (units.write > 0.0).then_some(Touch {
            of: place(table, Some(&index.name)),
            partition: partitions.next()?.to_owned(),
            units,
        })
    });
    [own].into_iter().chain(of_indexes).collect()
}

fn object<'a>(request: &'a Value, field: &str) -> Result<&'a Map<String, Value>, Fault> {
    request[field]
        .as_object()
        .ok_or_else(|| Fault::new(format!("{field} is missing")))
}

fn array<'a>(request: &'a Value, field: &str) -> Result<&'a Vec<Value>, Fault> {
    request[field]
        .as_array()
        .ok_or_else(|| Fault::new(format!("{field} is missing")))
}
