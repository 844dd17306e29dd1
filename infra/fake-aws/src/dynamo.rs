//! DynamoDB: requests as they are on the wire, answered by an embedded `dynoxide` database.
//!
//! Where dynoxide differs from AWS in what a test could see, it is corrected here: what UpdateItem
//! returns of an item that was not there, and that its reads are all consistent. A query reports its units,
//! asked or not, and a ClientRequestToken counts for nothing.

use std::{collections::HashMap, sync::Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::{
    AttributeValue as StoredValue, Database, DynoxideError, ImportOptions, Item as StoredItem,
    actions::{
        create_table::CreateTableRequest, query::QueryRequest, scan::ScanRequest,
        transact_write_items::TransactWriteItemsRequest, update_item::UpdateItemRequest,
    },
    errors::CancellationReason,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    common::{ServiceError, ServiceResult, lock},
    metering::{Access, ItemAccess, PartitionAccess, find_item},
    template::Table,
};

/// An item in the SDK's types.
pub type Item = HashMap<String, AttributeValue>;

/// The tables. What is done to them here is no call to DynamoDB.
pub struct Tables {
    db: Database,
    schemas: Vec<Table>,
    /// What eventually consistent reads return while they are frozen.
    stale: Mutex<Option<Database>>,
}

impl Tables {
    pub(crate) fn new(tables: &[Table]) -> Self {
        Self {
            db: create_database(tables),
            schemas: tables.to_vec(),
            stale: Mutex::default(),
        }
    }

    /// Returns an item by the text values of its key: partition, and sort if the table has one.
    ///
    /// # Panics
    /// If the template has no such table, or the table another key.
    pub fn item(&self, table: &str, key: &[&str]) -> Option<Item> {
        let described = self.schemas.iter().find(|it| it.id == table);
        let names = &described.expect("a table of the template").key_schema;
        assert_eq!(names.len(), key.len(), "the key of {table} is {names:?}");
        let value = |value: &&str| StoredValue::S((*value).to_owned());
        let names = names.iter().map(|it| it.attribute_name.clone());
        let key = names.zip(key.iter().map(value)).collect();
        find_item(&self.db, table, key).as_ref().map(to_sdk)
    }

    /// Returns all items of a table.
    pub fn items(&self, table: &str) -> Vec<Item> {
        self.stored_items(table).iter().map(to_sdk).collect()
    }

    /// Puts an item.
    ///
    /// # Panics
    /// If DynamoDB would refuse the item.
    pub fn put(&self, table: &str, item: &Item) {
        let item = serde_dynamo::Item::from(item.clone());
        let request = json!({ "TableName": table, "Item": item });
        let put = run_with_json(&request, |it| self.db.put_item(it));
        put.expect("an item that the table takes");
    }

    /// Has eventually consistent reads return what there is now, until [`Tables::thaw_reads`]. A
    /// BatchGetItem that asks for consistency of one table lags for none.
    pub fn freeze_eventual_reads(&self) {
        *lock(&self.stale) = Some(self.copy_database());
    }

    /// Has eventually consistent reads return the present again.
    pub fn thaw_reads(&self) {
        *lock(&self.stale) = None;
    }

    /// Answers a call, and returns the partitions that it accessed if it is metered, since that takes
    /// more reads.
    pub(crate) fn call(
        &self,
        operation: &str,
        request: &Value,
        accesses: &[Access<'_>],
        metered: bool,
    ) -> (ServiceResult, Vec<PartitionAccess>) {
        // Held throughout the call, so that no other call comes between it and its metering.
        let stale = lock(&self.stale);
        let is_eventual = accesses.iter().all(Access::is_eventual_read);
        let stale = stale.as_ref().filter(|_| is_eventual);
        let measured = accesses.iter().filter(|_| metered);
        let items = measured.clone();
        let items = items.filter_map(|it| ItemAccess::new(&self.db, &self.schemas, it));
        let items: Vec<_> = items.collect();
        let answer = answer(stale.unwrap_or(&self.db), operation, request);
        let mut partitions = Vec::new();
        match &answer {
            Ok(answer) if operation == "Query" => {
                partitions.extend(measured.map(|it| it.queried_partition(request, answer)));
            }
            Ok(_)
            | Err(
                DynoxideError::ConditionalCheckFailedException(..)
                | DynoxideError::TransactionCanceledException(..),
            ) => {
                let took_effect = answer.is_ok();
                let items = items.into_iter();
                partitions
                    .extend(items.flat_map(|it| it.partition_accesses(&self.db, took_effect)));
            }
            // What is refused for another reason is not charged: it never came to an item.
            Err(_) => {}
        }
        (answer.map_err(ServiceError::from), partitions)
    }

    fn copy_database(&self) -> Database {
        let copy = create_database(&self.schemas);
        for Table { id, .. } in &self.schemas {
            let copied = copy.import_items(id, self.stored_items(id), ImportOptions::default());
            copied.expect("what a table held, its copy holds");
        }
        copy
    }

    fn stored_items(&self, table: &str) -> Vec<StoredItem> {
        let (mut items, mut from) = (Vec::new(), None);
        loop {
            let request = ScanRequest {
                table_name: table.to_owned(),
                exclusive_start_key: from,
                ..ScanRequest::default()
            };
            let page = self.db.scan(request).expect("the table exists");
            items.extend(page.items.into_iter().flatten());
            from = page.last_evaluated_key;
            if from.is_none() {
                return items;
            }
        }
    }
}

/// A database with the tables, empty.
fn create_database(tables: &[Table]) -> Database {
    let db = Database::memory().expect("SQLite opens a database in memory");
    for table in tables.iter().cloned() {
        let indexes = Some(table.global_secondary_indexes).filter(|it| !it.is_empty());
        let created = db.create_table(CreateTableRequest {
            table_name: table.id,
            key_schema: table.key_schema,
            attribute_definitions: table.attribute_definitions,
            global_secondary_indexes: indexes,
            billing_mode: Some("PAY_PER_REQUEST".to_owned()),
            ..CreateTableRequest::default()
        });
        created.expect("the template describes a table that DynamoDB takes");
    }
    db
}

fn answer(db: &Database, operation: &str, request: &Value) -> dynoxide::Result<Value> {
    match operation {
        "GetItem" => run_with_json(request, |it| db.get_item(it)),
        "BatchGetItem" => run_with_json(request, |it| db.batch_get_item(it)),
        "PutItem" => run_with_json(request, |it| db.put_item(it)),
        "DeleteItem" => run_with_json(request, |it| db.delete_item(it)),
        "BatchWriteItem" => run_with_json(request, |it| db.batch_write_item(it)),
        "UpdateItem" => run_with_json(request, |it: UpdateItemRequest| {
            // "Returns all of the attributes of the item, as they appeared before" (API reference): none of
            // an item that was not there, of which dynoxide returns the key.
            let old = it.return_values.as_deref() == Some("ALL_OLD");
            let created = old && find_item(db, &it.table_name, it.key.clone()).is_none();
            let mut answer = db.update_item(it)?;
            answer.attributes = answer.attributes.filter(|_| !created);
            Ok(answer)
        }),
        // The units are for the metering.
        "Query" => run_with_json(request, |it: QueryRequest| {
            db.query(QueryRequest {
                return_consumed_capacity: Some("TOTAL".to_owned()),
                ..it
            })
        }),
        // The SDK sends a new token with every transaction; dynoxide would search them all.
        "TransactWriteItems" => run_with_json(request, |it: TransactWriteItemsRequest| {
            db.transact_write_items(TransactWriteItemsRequest {
                client_request_token: None,
                ..it
            })
        }),
        _ => Err(DynoxideError::ValidationException(operation.to_owned())),
    }
}

/// Deserializes a request, and serializes its answer.
fn run_with_json<Q: DeserializeOwned, A: Serialize>(
    request: &Value,
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<Value> {
    let request = Q::deserialize(request)
        .map_err(|error| DynoxideError::ValidationException(error.to_string()))?;
    Ok(json!(operation(request)?))
}

fn to_sdk(item: &StoredItem) -> Item {
    let item = serde_json::from_value::<serde_dynamo::Item>(json!(item));
    item.expect("both write DynamoDB's JSON").into()
}

impl From<DynoxideError> for ServiceError {
    fn from(error: DynoxideError) -> Self {
        let kind = error.error_type();
        Self {
            status: error.status_code(),
            code: kind.rsplit('#').next().unwrap_or(kind),
            body: serde_json::from_str(&error.to_json()).unwrap_or_default(),
        }
    }
}

/// The refusal of a write because another transaction holds an item, for a transaction the one of its part
/// of this number.
pub(crate) fn transaction_conflict(operation: &str, part: usize, parts: usize) -> ServiceError {
    let message = "Transaction is ongoing for the item";
    if operation != "TransactWriteItems" {
        return ServiceError::new(400, "TransactionConflictException", message);
    }
    let reason = |code: &str, message: Option<&str>| CancellationReason {
        code: code.to_owned(),
        message: message.map(ToOwned::to_owned),
        item: None,
    };
    let mut reasons = vec![reason("None", None); parts];
    reasons[part] = reason("TransactionConflict", Some(message));
    DynoxideError::TransactionCanceledException("Transaction cancelled".to_owned(), reasons).into()
}
