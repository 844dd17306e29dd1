//! DynamoDB: requests as they are on the wire, answered by an embedded `dynoxide` database.
//!
//! Where dynoxide differs from AWS in what a test could see, it is corrected here: what UpdateItem
//! returns of an item that was not there, how long a ClientRequestToken counts, and that its reads are
//! all consistent.

use std::{collections::HashMap, sync::Arc};

use dynoxide::{
    AttributeValue, Database, DynoxideError, ImportOptions, Item, actions::scan::ScanRequest,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    access::{Access, Consistency},
    calls::Failure,
    clock::{Clock, Time},
    items::get,
    meter::{Facts, Meter},
    reply::Reply,
    template::Table,
};

/// How long a ClientRequestToken counts: "A client request token is valid for 10 minutes after the first
/// request that uses it is completed" (API reference, TransactWriteItems).
const TOKEN_MS: u64 = 10 * 60 * 1000;

/// Which reads lag behind while they are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// Queries and scans of secondary indexes, which are never consistent.
    Indexes,
    /// Every read that does not ask for consistency. A BatchGetItem that asks for it of one table lags
    /// for none.
    Eventual,
}

/// The tables.
pub(crate) struct Dynamo {
    db: Database,
    tables: Arc<[Table]>,
    /// What reads show that lag behind.
    stale: Option<(Lag, Database)>,
    /// When a token was used, and for what.
    tokens: HashMap<String, (u64, Value)>,
}

impl Dynamo {
    pub(crate) fn new(tables: &[Table], clock: Clock) -> Self {
        let db = Database::memory_with_clock(Arc::new(Time(clock)));
        let db = db.expect("SQLite opens a database in memory");
        create(&db, tables);
        Self {
            db,
            tables: tables.into(),
            stale: None,
            tokens: HashMap::new(),
        }
    }

    /// Answers a call. It is metered if that is asked for, since it takes more reads.
    pub(crate) fn call(
        &mut self,
        operation: &str,
        request: &Value,
        accesses: &[Access<'_>],
        (now, metered): (u64, bool),
    ) -> Reply {
        let tables = self.tables.clone();
        let meter = metered.then(|| Meter::new(&self.db, &tables, accesses));
        let mut facts = Facts::default();
        let answer = self.answer(operation, request, accesses, now, &mut facts);
        let error = answer.as_ref().err().map(DynoxideError::error_type);
        let error = error.and_then(|it| it.rsplit('#').next());
        // What is refused for another reason is not charged: it never came to an item.
        let refused = [
            "ConditionalCheckFailedException",
            "TransactionCanceledException",
        ];
        facts.done = error.is_none();
        let charged = error.is_none_or(|it| refused.contains(&it));
        let meter = meter.filter(|_| charged);
        let touched = meter.map(|it| it.touched(request, &facts));
        let touched = touched.unwrap_or_default();
        let (status, body) = match &answer {
            Ok(body) => (200, body.to_string()),
            Err(error) => (error.status_code(), error.to_json()),
        };
        Reply {
            units: touched.iter().map(|touch| touch.units).sum(),
            touched,
            ..Reply::new(status, error, body)
        }
    }

    /// The database, or what lagging reads see of it.
    fn source(&self, accesses: &[Access<'_>]) -> &Database {
        let mut reads = accesses.iter();
        let eventual = reads.all(|it| !it.writes() && it.consistency == Consistency::Eventual);
        let on_index = accesses.iter().any(|it| it.index.is_some());
        match &self.stale {
            Some((Lag::Eventual, stale)) if eventual => stale,
            Some((Lag::Indexes, stale)) if eventual && on_index => stale,
            _ => &self.db,
        }
    }

    fn answer(
        &mut self,
        operation: &str,
        request: &Value,
        accesses: &[Access<'_>],
        now: u64,
        facts: &mut Facts,
    ) -> dynoxide::Result<Value> {
        let db = self.source(accesses).clone();
        match operation {
            "GetItem" => run(request, |it| db.get_item(it)),
            "BatchGetItem" => run(request, |it| db.batch_get_item(it)),
            "TransactGetItems" => run(request, |it| db.transact_get_items(it)),
            "PutItem" => run(request, |it| db.put_item(it)),
            "UpdateItem" => update(&db, request),
            "DeleteItem" => run(request, |it| db.delete_item(it)),
            "BatchWriteItem" => run(request, |it| db.batch_write_item(it)),
            "Query" | "Scan" => {
                // Asks for units, and does not tell them to a caller who did not ask.
                let mode = request["ReturnConsumedCapacity"].as_str();
                let told = mode.is_some_and(|mode| mode != "NONE");
                let mut request = request.clone();
                if !told {
                    request["ReturnConsumedCapacity"] = "TOTAL".into();
                }
                let mut answer = match operation {
                    "Query" => run(&request, |it| db.query(it)),
                    _ => run(&request, |it| db.scan(it)),
                }?;
                let units = &answer["ConsumedCapacity"]["CapacityUnits"];
                facts.queried = units.as_f64().unwrap_or_default();
                if let Some(answer) = answer.as_object_mut().filter(|_| !told) {
                    answer.remove("ConsumedCapacity");
                }
                Ok(answer)
            }
            "TransactWriteItems" => self.transact(request, now, facts),
            _ => Err(DynoxideError::ValidationException(format!(
                "{operation} is not known here"
            ))),
        }
    }

    /// dynoxide remembers a ClientRequestToken by the clock of this machine; it is remembered here
    /// instead, by the caller's.
    fn transact(
        &mut self,
        request: &Value,
        now: u64,
        facts: &mut Facts,
    ) -> dynoxide::Result<Value> {
        self.tokens.retain(|_, (at, _)| now < *at + TOKEN_MS);
        let (items, token) = (&request["TransactItems"], &request["ClientRequestToken"]);
        // A token of another length is dynoxide's to refuse.
        let token = token.as_str().filter(|it| (1..=36).contains(&it.len()));
        let before = token.and_then(|token| self.tokens.get(token));
        if let Some((_, before)) = before {
            if before == items {
                facts.replayed = true;
                return Ok(json!({}));
            }
            let message = "the token was used with other items before".to_owned();
            return Err(DynoxideError::IdempotentParameterMismatchException(message));
        }
        let mut request = request.clone();
        if let (Some(_), Some(request)) = (token, request.as_object_mut()) {
            request.remove("ClientRequestToken");
        }
        let answer = run(&request, |it| self.db.transact_write_items(it))?;
        if let Some(token) = token {
            self.tokens.insert(token.to_owned(), (now, items.clone()));
        }
        Ok(answer)
    }

    /// Reads that lag show from now on what there is now.
    pub(crate) fn freeze(&mut self, lag: Lag) {
        let copy = Database::memory().expect("SQLite opens a database in memory");
        create(&copy, &self.tables);
        for table in self.tables.iter() {
            let items = self.items(&table.id);
            let copied = copy.import_items(&table.id, items, ImportOptions::default());
            copied.expect("what a table held, its copy holds");
        }
        self.stale = Some((lag, copy));
    }

    pub(crate) fn thaw(&mut self) {
        self.stale = None;
    }

    /// Deletes what has expired, and tells how many items that were.
    pub(crate) fn sweep_time_to_live(&self) -> usize {
        let swept = self.db.sweep_ttl();
        swept.expect("a sweep asks for nothing that can be refused")
    }

    /// Every item of a table.
    pub(crate) fn items(&self, table: &str) -> Vec<Item> {
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

    pub(crate) fn table(&self, id: &str) -> &Table {
        let table = self.tables.iter().find(|table| table.id == id);
        table.unwrap_or_else(|| panic!("the template has no table {id}"))
    }

    /// A key of text values, in the order of the table's key schema.
    fn key(&self, table: &str, values: &[&str]) -> Item {
        let names = &self.table(table).key;
        assert_eq!(names.len(), values.len(), "the key of {table} is {names:?}");
        let values = values
            .iter()
            .map(|value| AttributeValue::S((*value).to_owned()));
        names.iter().cloned().zip(values).collect()
    }

    pub(crate) fn item(&self, table: &str, key: &[&str]) -> Option<Item> {
        get(&self.db, table, self.key(table, key))
    }

    pub(crate) fn put(&self, table: &str, item: &Item) {
        let request = json!({ "TableName": table, "Item": item });
        let put = run(&request, |it| self.db.put_item(it));
        put.expect("an item that the table takes");
    }

    pub(crate) fn delete(&self, table: &str, key: &[&str]) {
        let request = json!({ "TableName": table, "Key": self.key(table, key) });
        let deleted = run(&request, |it| self.db.delete_item(it));
        deleted.expect("a key of the table");
    }
}

/// Deserializes a request, and serializes its answer.
fn run<Q: DeserializeOwned, A: Serialize>(
    request: &Value,
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<Value> {
    let request = Q::deserialize(request).map_err(|error| malformed(&error.to_string()))?;
    Ok(json!(operation(request)?))
}

/// What DynamoDB answers to a request that dynoxide could not read: dynoxide's own server tells the two
/// kinds apart by the same marks.
fn malformed(error: &str) -> DynoxideError {
    let lacking = [
        "missing field",
        "unknown variant",
        "invalid type: null",
        "AttributeValue",
    ];
    match error.split_once(':') {
        Some((mark, why)) if mark.starts_with("VALIDATION") => {
            DynoxideError::ValidationException(why.to_owned())
        }
        _ if lacking.iter().any(|it| error.contains(it)) => {
            DynoxideError::ValidationException(error.to_owned())
        }
        _ => DynoxideError::SerializationException(error.to_owned()),
    }
}

/// "ALL_OLD - Returns all of the attributes of the item, as they appeared before the UpdateItem
/// operation" (API reference): none of an item that was not there, of which dynoxide returns the key.
fn update(db: &Database, request: &Value) -> dynoxide::Result<Value> {
    let old = request["ReturnValues"] == "ALL_OLD";
    let table = request["TableName"].as_str().unwrap_or_default();
    let key = Item::deserialize(&request["Key"]).unwrap_or_default();
    let created = old && get(db, table, key).is_none();
    let mut answer = run(request, |it| db.update_item(it))?;
    if let Some(answer) = answer.as_object_mut().filter(|_| created) {
        answer.remove("Attributes");
    }
    Ok(answer)
}

fn create(db: &Database, tables: &[Table]) {
    for table in tables {
        let created = run(&table.create, |it| db.create_table(it));
        created.expect("the template describes a table that DynamoDB takes");
        if let Some(attribute) = &table.time_to_live {
            let ttl = json!({ "AttributeName": attribute, "Enabled": true });
            let request = json!({ "TableName": table.id, "TimeToLiveSpecification": ttl });
            let set = run(&request, |it| db.update_time_to_live(it));
            set.expect("a new table has no time to live yet");
        }
    }
}

/// What DynamoDB answers instead of doing what it was asked to.
pub(crate) fn failed(failure: Failure, operation: &str, items: usize) -> Reply {
    let conflict = "Transaction is ongoing for the item";
    let (status, code, message) = match failure {
        Failure::Connection | Failure::Internal => (500, "InternalServerError", "made to fail"),
        Failure::Throttled => (400, "ThrottlingException", "made to throttle"),
        Failure::TransactionConflict(_) if operation.starts_with("Transact") => {
            (400, "TransactionCanceledException", "Transaction cancelled")
        }
        Failure::TransactionConflict(_) => (400, "TransactionConflictException", conflict),
    };
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let mut body = json!({ "__type": kind, "message": message, "Message": message });
    if let Failure::TransactionConflict(part) = failure {
        let mut reasons = vec![json!({ "Code": "None" }); items];
        if let Some(reason) = reasons.get_mut(part) {
            *reason = json!({ "Code": "TransactionConflict", "Message": conflict });
        }
        body["CancellationReasons"] = reasons.into();
    }
    Reply::new(status, Some(code), body.to_string())
}
