//! Writing to a table: an item alone, or several in one transaction.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    Error,
    error::{ProvideErrorMetadata as _, SdkError},
    types::{
        AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValue,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use backon::Retryable;
use bematic::error::StoreError;
use bematic_protocol::time::Timestamp;
use futures::TryFutureExt as _;
use serde::Serialize;

use super::{
    keys::{self, Key},
    table::{Item, Table, backoff, call_error, invalid_request_error},
};

/// The fields that expressions name, by the sort key of their record, as serde writes them:
/// `connection.id` is a field of a field, `keyUses.*` any entry of a map. A sort key that ends in
/// `#` is a prefix. `the_fields_of_expressions_are_serdes` compares them.
const FIELDS_IN_EXPRESSIONS: [(&str, &[&str]); 7] = [
    (
        "AGENT",
        &[
            "active",
            "activeAt",
            "agentVersion",
            "announced",
            "availability",
            "capacity",
            "connection",
            "connection.boundAt",
            "connection.doubtedAt",
            "connection.echoedAt",
            "connection.id",
            "connection.pingedAt",
            "connection.spelling",
            "drain",
            "drain.holder",
            "drain.until",
            "drainRequests",
            "gate",
            "gate.generation",
            "held",
            "keyUses",
            "keyUses.*",
            "lastSeen",
            "revokedKeys",
            "revokedKeys.*",
        ],
    ),
    ("BREAKER", &["version"]),
    ("TASK", &["shown", "version"]),
    ("BATCH", &["shown", "version"]),
    (
        "CONN",
        &["agentId", "connectedAt", "id", "keyId", "spelling"],
    ),
    ("TASKS", &["created"]),
    (keys::API_KEY_PREFIX, &["validUntil"]),
];

/// The attributes that are no fields of a record: of the indexes, the time-to-live, and the time of the
/// status that was stored last.
const NON_RECORD_ATTRIBUTES: [&str; 4] = ["duePk", "dueSk", "expiresAt", "statusAt"];

/// A write of one item, and its condition.
#[derive(Debug)]
pub(super) struct Write {
    table: Table,
    action: Action,
    /// The clauses of an update by their keyword.
    clauses: BTreeMap<&'static str, Vec<String>>,
    condition: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<Item>,
    returned: ReturnValue,
}

#[derive(Debug)]
enum Action {
    Put(Item),
    Update(Key),
    Delete(Key),
    /// Only checks the condition, as a part of a transaction.
    Check(Key),
}

/// Adds the table, the condition, the names and the values to a builder. The SDK's builders of writes
/// have the same methods, but no trait in common.
macro_rules! conditional {
    ($builder:expr, $write:expr) => {{
        let present_item = ReturnValuesOnConditionCheckFailure::AllOld;
        $builder
            .table_name($write.table.name)
            .set_return_values_on_condition_check_failure(
                $write.condition.is_some().then_some(present_item),
            )
            .set_condition_expression($write.condition)
            .set_expression_attribute_names($write.names)
            .set_expression_attribute_values($write.values)
    }};
}

/// The condition of a write does not hold: the present item, empty if there is none.
#[derive(Debug)]
pub(super) struct ConditionFailed(pub(super) Item);

/// The label of a write in a transaction: the record that the write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WriteLabel {
    /// A request of Slack, which creates a task or a bulk operation once.
    Request,
    Task,
    /// A task's specification, its result, or a late report.
    Content,
    /// A place in an agent's queue.
    Place,
    Agent,
    Breaker,
    ApiKey,
    /// The number of tasks that somebody has created in an hour.
    HourlyTaskCount,
    /// A connection that authenticates in band.
    Connection,
    Batch,
}

impl Table {
    /// Returns the write that puts a record, and replaces one with the same key.
    pub(super) fn prepare_put(
        &self,
        key: &Key,
        record: &impl Serialize,
    ) -> Result<Write, StoreError> {
        let mut item: Item = serde_dynamo::to_item(record).map_err(invalid_request_error)?;
        item.extend(key.attributes());
        Ok(self.new_write(Action::Put(item)))
    }

    /// Returns a write that updates an item.
    pub(super) fn prepare_update(&self, key: Key) -> Write {
        self.new_write(Action::Update(key))
    }

    /// Returns the write that deletes an item.
    pub(super) fn prepare_delete(&self, key: Key) -> Write {
        self.new_write(Action::Delete(key))
    }

    /// Returns the check that an item exists, as a part of a transaction.
    pub(super) fn prepare_exists_check(&self, key: Key) -> Write {
        self.new_write(Action::Check(key)).if_exists()
    }

    fn new_write(&self, action: Action) -> Write {
        Write {
            table: self.clone(),
            action,
            clauses: BTreeMap::new(),
            condition: None,
            names: None,
            values: None,
            returned: ReturnValue::None,
        }
    }

    /// Executes all writes or none. Returns the labels of the writes whose condition failed, with
    /// the present item, empty if there is none: all writes took place if there are no such labels.
    ///
    /// # Errors
    /// Any failure but that of a condition.
    pub(super) async fn transact<L: Ord>(
        &self,
        writes: Vec<(L, Write)>,
    ) -> Result<BTreeMap<L, Item>, StoreError> {
        let (labels, writes): (Vec<L>, Vec<Write>) = writes.into_iter().unzip();
        let items = writes.into_iter().map(Write::into_transact_item);
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let call = self.client.transact_write_items();
        let call = call.set_transact_items(Some(items));
        match retry_on_transaction_conflict(|| call.clone().send()).await {
            Ok(_) => Ok(BTreeMap::new()),
            Err(Error::TransactionCanceledException(cancelled))
                if cancelled
                    .cancellation_reasons()
                    .iter()
                    .any(is_condition_failure) =>
            {
                // DynamoDB gives a reason for each write, in their order.
                let reasons = cancelled.cancellation_reasons.unwrap_or_default();
                let refused = labels
                    .into_iter()
                    .zip(reasons)
                    .filter(|(_, reason)| is_condition_failure(reason));
                Ok(refused
                    .map(|(label, reason)| (label, reason.item.unwrap_or_default()))
                    .collect())
            }
            Err(error) => Err(write_error("TransactWriteItems", error)),
        }
    }
}

impl Write {
    /// Adds a condition, which has to hold together with the others. `#name` is the attribute `name`;
    /// without `#`, DynamoDB refuses names that it reserves.
    pub(super) fn when(mut self, condition: &str) -> Self {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '#' || c == '.';
        let words = condition.split(|c| !is_path(c));
        for path in words.filter(|word| word.starts_with('#')) {
            self.register_attribute_path(&path.replace('#', ""));
        }
        self.condition = Some(match self.condition {
            Some(others) => format!("{others} AND ({condition})"),
            None => format!("({condition})"),
        });
        self
    }

    /// Adds the value of a placeholder of a condition, such as `:now`.
    pub(super) fn set_placeholder_value(
        mut self,
        placeholder: &str,
        value: impl Serialize,
    ) -> Result<Self, StoreError> {
        let values = self.values.get_or_insert_default();
        values.insert(placeholder.to_owned(), attribute_value(value)?);
        Ok(self)
    }

    /// Adds the condition that no item has the key.
    pub(super) fn if_absent(self) -> Self {
        self.when("attribute_not_exists(pk)")
    }

    /// Adds the condition that the item exists.
    pub(super) fn if_exists(self) -> Self {
        self.when("attribute_exists(pk)")
    }

    /// Adds the condition that the record's version is the one that the write was decided on; 0 if
    /// there was no record.
    pub(super) fn if_version(self, version: u64) -> Result<Self, StoreError> {
        match version {
            0 => Ok(self.if_absent()),
            _ => self
                .when("#version = :ifVersion")
                .set_placeholder_value(":ifVersion", version),
        }
    }

    /// Sets an attribute: of the item that is put in addition to the record's, or by the update.
    pub(super) fn set(mut self, path: &str, value: impl Serialize) -> Result<Self, StoreError> {
        if let Action::Put(item) = &mut self.action {
            item.insert(path.to_owned(), attribute_value(value)?);
            return Ok(self);
        }
        self.clause("SET", "NAME = VALUE", path, value)
    }

    /// Sets an attribute unless the item has it.
    pub(super) fn set_if_absent(
        self,
        path: &str,
        value: impl Serialize,
    ) -> Result<Self, StoreError> {
        self.clause("SET", "NAME = if_not_exists(NAME, VALUE)", path, value)
    }

    /// Adds to a number or a set.
    pub(super) fn add_to_attribute(
        self,
        path: &str,
        value: impl Serialize,
    ) -> Result<Self, StoreError> {
        self.clause("ADD", "NAME VALUE", path, value)
    }

    /// Deletes elements of a set.
    pub(super) fn delete_from_set(
        self,
        path: &str,
        value: impl Serialize,
    ) -> Result<Self, StoreError> {
        self.clause("DELETE", "NAME VALUE", path, value)
    }

    /// Removes an attribute of the item.
    pub(super) fn remove(mut self, path: &str) -> Self {
        if let Action::Put(item) = &mut self.action {
            item.remove(path);
            return self;
        }
        let name = self.register_attribute_path(path);
        self.clauses.entry("REMOVE").or_default().push(name);
        self
    }

    /// Puts the item into a partition of the index `due`, or removes it.
    pub(super) fn set_due(
        self,
        partition: impl Serialize,
        at: Option<impl ToString>,
    ) -> Result<Self, StoreError> {
        match at {
            Some(at) => self.set("duePk", partition)?.set("dueSk", at.to_string()),
            None => Ok(self.remove_due()),
        }
    }

    /// Removes the item from the index `due`.
    pub(super) fn remove_due(self) -> Self {
        self.remove("duePk").remove("dueSk")
    }

    /// Changes the place in the index `due` of an item that is there.
    pub(super) fn postpone_due(self, at: Timestamp) -> Result<Self, StoreError> {
        let present = self.when("attribute_exists(duePk)");
        present.set("dueSk", at.to_string())
    }

    /// Puts the item into a list of the index `list`.
    pub(super) fn add_to_list_index(self, list: &str, name: &str) -> Result<Self, StoreError> {
        self.set("listPk", keys::shard_partition_of(list, name))?
            .set("listSk", name)
    }

    /// Makes [`Self::send`] return the item's attributes before or after the write.
    pub(super) fn returning(self, returned: ReturnValue) -> Self {
        Self { returned, ..self }
    }

    fn clause(
        mut self,
        keyword: &'static str,
        pattern: &str,
        path: &str,
        value: impl Serialize,
    ) -> Result<Self, StoreError> {
        let placeholder = format!(":{}", path.replace('.', "_"));
        let clause = pattern.replace("NAME", &self.register_attribute_path(path));
        let clause = clause.replace("VALUE", &placeholder);
        self.clauses.entry(keyword).or_default().push(clause);
        self.set_placeholder_value(&placeholder, value)
    }

    /// Returns the path of an attribute with placeholders in place of the names.
    fn register_attribute_path(&mut self, path: &str) -> String {
        let entry = path.rsplit_once('.').map(|(map, _)| format!("{map}.*"));
        let fields = self.allowed_expression_fields();
        debug_assert!(
            NON_RECORD_ATTRIBUTES.contains(&path)
                || fields.contains(&path)
                || entry.is_some_and(|entry| fields.contains(&&*entry)),
            "`{path}` is no field of the record: add it to FIELDS_IN_EXPRESSIONS, or mend the expression"
        );
        let names = self.names.get_or_insert_default();
        names.extend(
            path.split('.')
                .map(|name| (format!("#{name}"), name.to_owned())),
        );
        format!("#{}", path.replace('.', ".#"))
    }

    /// Returns the fields of the record that an expression may name.
    fn allowed_expression_fields(&self) -> &'static [&'static str] {
        let sk = match &self.action {
            Action::Put(item) => item.get("sk").and_then(|sk| sk.as_s().ok()),
            Action::Update(key) | Action::Delete(key) | Action::Check(key) => Some(&key.sk),
        };
        let of_record = FIELDS_IN_EXPRESSIONS.iter().find(|(record, _)| {
            sk.is_some_and(|sk| sk == record || record.ends_with('#') && sk.starts_with(record))
        });
        of_record.map_or(&[], |(_, fields)| fields)
    }

    /// Whether the write has no effect and no condition.
    pub(super) fn is_empty(&self) -> bool {
        self.clauses.is_empty() && self.condition.is_none()
    }

    fn update_expression(&self) -> Option<String> {
        let clauses = self.clauses.iter();
        let clauses = clauses.map(|(keyword, clauses)| format!("{keyword} {}", clauses.join(", ")));
        Some(clauses.collect::<Vec<_>>().join(" ")).filter(|update| !update.is_empty())
    }

    /// Executes the write. Returns the attributes that were asked for, or that the condition failed.
    pub(super) async fn send(self) -> Result<Result<Item, ConditionFailed>, StoreError> {
        let (client, update) = (self.table.client.clone(), self.update_expression());
        let (operation, sent) = match self.action {
            Action::Put(item) => {
                let call = client.put_item().set_item(Some(item));
                let call = conditional!(call, self).return_values(self.returned);
                let sent = retry_on_transaction_conflict(|| call.clone().send()).await;
                ("PutItem", sent.map(|answer| answer.attributes))
            }
            Action::Update(key) => {
                let call = client.update_item().set_key(Some(key.attributes()));
                let call = call.set_update_expression(update);
                let call = conditional!(call, self).return_values(self.returned);
                let sent = retry_on_transaction_conflict(|| call.clone().send()).await;
                ("UpdateItem", sent.map(|answer| answer.attributes))
            }
            Action::Delete(key) => {
                let call = client.delete_item().set_key(Some(key.attributes()));
                let call = conditional!(call, self).return_values(self.returned);
                let sent = retry_on_transaction_conflict(|| call.clone().send()).await;
                ("DeleteItem", sent.map(|answer| answer.attributes))
            }
            Action::Check(_) => {
                return Err(call_error("ConditionCheck")("it is no call of its own"));
            }
        };
        match sent {
            Ok(attributes) => Ok(Ok(attributes.unwrap_or_default())),
            Err(Error::ConditionalCheckFailedException(refused)) => {
                Ok(Err(ConditionFailed(refused.item.unwrap_or_default())))
            }
            Err(error) => Err(write_error(operation, error)),
        }
    }

    fn into_transact_item(self) -> Result<TransactWriteItem, StoreError> {
        let (part, update) = (TransactWriteItem::builder(), self.update_expression());
        let part = match self.action {
            Action::Put(item) => {
                let put = Put::builder().set_item(Some(item));
                part.put(
                    conditional!(put, self)
                        .build()
                        .map_err(invalid_request_error)?,
                )
            }
            Action::Update(key) => {
                let change = Update::builder().set_key(Some(key.attributes()));
                let change = conditional!(change, self).set_update_expression(update);
                part.update(change.build().map_err(invalid_request_error)?)
            }
            Action::Delete(key) => {
                let delete = Delete::builder().set_key(Some(key.attributes()));
                part.delete(
                    conditional!(delete, self)
                        .build()
                        .map_err(invalid_request_error)?,
                )
            }
            Action::Check(key) => {
                let check = ConditionCheck::builder().set_key(Some(key.attributes()));
                part.condition_check(
                    conditional!(check, self)
                        .build()
                        .map_err(invalid_request_error)?,
                )
            }
        };
        Ok(part.build())
    }
}

fn attribute_value(value: impl Serialize) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(invalid_request_error)
}

/// Sends a call, and again while a transaction on its items is under way, which the SDK does not.
async fn retry_on_transaction_conflict<T, E, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    Error: From<SdkError<E>>,
{
    (|| call().err_into())
        .retry(backoff())
        .when(is_conflict_or_throttling)
        .await
}

/// Whether another write of an item was under way, or was throttled in a transaction.
fn is_conflict_or_throttling(error: &Error) -> bool {
    match error {
        Error::TransactionConflictException(_) => true,
        Error::TransactionCanceledException(cancelled) => {
            let reasons = cancelled.cancellation_reasons();
            !reasons.iter().any(is_condition_failure)
                && reasons.iter().any(|reason| {
                    matches!(
                        reason.code(),
                        Some(
                            "TransactionConflict"
                                | "ThrottlingError"
                                | "ProvisionedThroughputExceeded"
                        )
                    )
                })
        }
        _ => false,
    }
}

/// Returns the error of a write that failed. A value that DynamoDB does not take, such as an item of
/// more than 400 KB, is refused however often it is sent
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>).
fn write_error(operation: &'static str, error: Error) -> StoreError {
    let is_refused = match &error {
        Error::TransactionCanceledException(cancelled) => {
            let mut reasons = cancelled.cancellation_reasons().iter();
            reasons.any(|it| it.code() == Some("ValidationError"))
        }
        error => error.code() == Some("ValidationException"),
    };
    if is_refused {
        let source = error.into();
        return StoreError::Refused { operation, source };
    }
    call_error(operation)(error)
}

fn is_condition_failure(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

#[cfg(test)]
mod tests {
    use super::{super::transition::tests::new_task, *};
    use aws_sdk_dynamodb::{Client, Config, config::BehaviorVersion};
    use bematic::{
        agent::{Agent, ApiKey, Binding, DispatchLease, InBandConnection},
        batch::{Batch, BatchKind},
        breaker::Breaker,
    };
    use bematic_protocol::messages::TypeSpelling;

    fn agents_table() -> Table {
        let config = Config::builder().behavior_version(BehaviorVersion::latest());
        let (client, name) = (Client::from_conf(config.build()), "agents".to_owned());
        Table { client, name }
    }

    /// Whether an item has the attribute of this path.
    fn has(item: &Item, path: &str) -> bool {
        match path.split_once('.') {
            None if path == "*" => !item.is_empty(),
            None => item.contains_key(path),
            Some((name, rest)) => matches!(&item[name], AttributeValue::M(map) if has(map, rest)),
        }
    }

    fn check(key: &Key, record: &impl Serialize) {
        let put = agents_table().prepare_put(key, record).unwrap();
        let fields = put.allowed_expression_fields();
        assert!(!fields.is_empty(), "{key} has no fields");
        let Action::Put(item) = &put.action else {
            unreachable!("a put")
        };
        for field in fields {
            assert!(has(item, field), "serde writes no field `{field}` of {key}");
        }
    }

    #[test]
    fn the_fields_of_expressions_are_serdes() {
        let (at, spelling) = (Timestamp::from_millis(1), Some(TypeSpelling::default()));
        let mut agent = Agent::new("box".parse().unwrap(), at);
        agent.connection = Some(Binding {
            pinged_at: Some(at),
            echoed_at: Some(at),
            doubted_at: Some(at),
            ..Binding::new("c".parse().unwrap(), at, spelling)
        });
        agent.last_seen = Some(at);
        agent.agent_version = Some("1".into());
        let key = ApiKey::from_random([1; 32]).hash();
        agent.key_uses.insert(key.key_id(), at);
        agent.revoked_keys.insert(key.key_id(), at);
        let task = new_task("box");
        agent.active.insert(task.id);
        agent.active_at = Some(at);
        agent.held.insert("task#1".into());
        agent.gate.generation = 1;
        agent.dispatch_lease = Some(DispatchLease {
            holder: "me".into(),
            until: at,
        });
        check(&keys::agent(&agent.id), &agent);
        check(&keys::breaker(&agent.id), &Breaker::default());
        let count = serde_json::json!({ "created": 1 });
        check(&keys::hourly_task_count(&"U1".parse().unwrap(), 1), &count);
        let connection = InBandConnection {
            id: "c".parse().unwrap(),
            agent_id: Some(agent.id.clone()),
            connected_at: at,
            spelling,
            key_id: Some(key.key_id()),
        };
        check(&keys::connection(&connection.id), &connection);
        let id = task.id.to_string().parse().unwrap();
        let batch = Batch::new(id, BatchKind::Cancel, task.origin.clone(), at);
        check(&keys::batch(id), &batch);
        check(&keys::task(task.id), &task);
    }

    #[test]
    #[should_panic(expected = "`lastHeard` is no field of the record")]
    fn a_name_that_is_no_field_is_found_by_every_test_that_uses_it() {
        let key = keys::agent(&"box".parse().unwrap());
        let _ = agents_table().prepare_update(key).when("#lastHeard = :now");
    }

    #[test]
    fn names_become_placeholders_and_have_values() {
        let key = keys::agent(&"box".parse().unwrap());
        let update = agents_table()
            .prepare_update(key)
            .set_if_absent("connection.spelling", "x")
            .and_then(|it| it.set("lastSeen", 1))
            .unwrap()
            .remove("active")
            .remove("duePk")
            .if_exists()
            .when("attribute_not_exists(#held) OR size(#held) < #capacity");
        assert_eq!(
            update.update_expression().unwrap(),
            "REMOVE #active, #duePk SET #connection.#spelling = \
             if_not_exists(#connection.#spelling, :connection_spelling), #lastSeen = :lastSeen"
        );
        assert_eq!(
            update.condition.unwrap(),
            "(attribute_exists(pk)) AND \
             (attribute_not_exists(#held) OR size(#held) < #capacity)"
        );
        let mut names: Vec<_> = update.names.unwrap().into_values().collect();
        names.sort();
        let expected = "active capacity connection duePk held lastSeen spelling";
        assert_eq!(names.join(" "), expected);
        assert_eq!(update.values.unwrap().len(), 2);
    }
}
