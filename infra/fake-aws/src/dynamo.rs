//! DynamoDB: requests as they are on the wire, answered by an embedded `dynoxide` database.
//!
//! Where dynoxide differs from AWS in what a test could see, it is corrected here: what UpdateItem
//! returns of an item that was not there, and how long a ClientRequestToken counts. Metering looks at
//! items before and after a write, since AWS charges refused writes too, and names no partitions.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue as SdkValue};
use dynoxide::{
    AttributeValue, Database, DynoxideError, ImportOptions, Item,
    actions::{
        get_item::GetItemRequest, query::QueryRequest, scan::ScanRequest,
        transact_write_items::TransactWriteItemsRequest, update_item::UpdateItemRequest,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Clock, Reply,
    calls::{Action, Failure},
    template::Table,
    units::{Consistency, Touch, Units, read, write},
};

/// How long a ClientRequestToken counts: "idempotency for 10 minutes" (API reference, TransactWriteItems).
const TOKEN_MS: u64 = 10 * 60 * 1000;

/// Which reads lag behind while they are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// Queries and scans of secondary indexes, which are never consistent.
    Indexes,
    /// Every read that does not ask for consistency.
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

/// One access of a request.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// What IAM calls it.
    action: &'static str,
    table: &'a str,
    index: Option<&'a str>,
    /// The key, or the whole item.
    item: Option<&'a Value>,
    consistency: Consistency,
}

impl Part<'_> {
    pub(crate) fn action(&self) -> Action {
        Action {
            name: self.action.to_owned(),
            resource: self.resource(),
        }
    }

    fn resource(&self) -> String {
        match self.index {
            Some(index) => format!("{}/{index}", self.table),
            None => self.table.to_owned(),
        }
    }

    fn writes(&self) -> bool {
        !["GetItem", "BatchGetItem", "Query", "Scan"].contains(&self.action)
    }
}

/// The accesses that a request is made of; none of a request that cannot be understood.
pub(crate) fn parts<'a>(operation: &str, request: &'a Value) -> Vec<Part<'a>> {
    let part = |action, request: &'a Value, consistency| Part {
        action,
        table: request["TableName"].as_str().unwrap_or_default(),
        index: request["IndexName"].as_str(),
        item: request.get("Key").or_else(|| request.get("Item")),
        consistency,
    };
    let single = |action| vec![part(action, request, consistency(request))];
    let transaction = || request["TransactItems"].as_array().into_iter().flatten();
    let batch = || request["RequestItems"].as_object().into_iter().flatten();
    match operation {
        "GetItem" => single("GetItem"),
        "PutItem" => single("PutItem"),
        "UpdateItem" => single("UpdateItem"),
        "DeleteItem" => single("DeleteItem"),
        "Query" => single("Query"),
        "Scan" => single("Scan"),
        "TransactGetItems" => transaction()
            .map(|one| part("GetItem", &one["Get"], Consistency::Transaction))
            .collect(),
        "TransactWriteItems" => {
            let kinds = [
                ("Put", "PutItem"),
                ("Update", "UpdateItem"),
                ("Delete", "DeleteItem"),
                ("ConditionCheck", "ConditionCheckItem"),
            ];
            let parts = transaction().filter_map(|one| {
                let (kind, action) = kinds.iter().find(|(kind, _)| one.get(kind).is_some())?;
                Some(part(action, &one[kind], Consistency::Transaction))
            });
            parts.collect()
        }
        "BatchGetItem" => batch()
            .flat_map(|(table, wanted)| {
                let keys = wanted["Keys"].as_array().into_iter().flatten();
                keys.map(move |key| Part {
                    action: "BatchGetItem",
                    table,
                    index: None,
                    item: Some(key),
                    consistency: consistency(wanted),
                })
            })
            .collect(),
        "BatchWriteItem" => batch()
            .flat_map(|(table, writes)| {
                let writes = writes.as_array().into_iter().flatten();
                writes.map(move |write| Part {
                    action: "BatchWriteItem",
                    table,
                    index: None,
                    item: write["PutRequest"]
                        .get("Item")
                        .or_else(|| write["DeleteRequest"].get("Key")),
                    consistency: Consistency::Eventual,
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn consistency(request: &Value) -> Consistency {
    if request["ConsistentRead"] == true {
        Consistency::Strong
    } else {
        Consistency::Eventual
    }
}

/// What only the execution of a call tells of it.
#[derive(Default)]
struct Facts {
    /// Read units of a query or scan.
    queried: f64,
    /// A transaction was executed before, under the same token.
    replayed: bool,
}

impl Dynamo {
    pub(crate) fn new(tables: &[Table], clock: Clock) -> Self {
        let db = Database::memory_with_clock(Arc::new(Time(clock)));
        let dynamo = Self {
            db: db.expect("SQLite opens a database in memory"),
            tables: tables.into(),
            stale: None,
            tokens: HashMap::new(),
        };
        create(&dynamo.db, tables);
        dynamo
    }

    pub(crate) fn has(&self, table: &str) -> bool {
        self.table(table).is_some()
    }

    /// Answers a call. It is metered if that is asked for, since it takes more reads.
    pub(crate) fn call(
        &mut self,
        operation: &str,
        request: &Value,
        body: &[u8],
        parts: &[Part<'_>],
        (now, metered): (u64, bool),
    ) -> Reply {
        let tables = self.tables.clone();
        let mut meter = metered.then(|| Meter::new(&self.db, &tables, parts));
        let mut facts = Facts::default();
        let answer = self.answer(operation, request, body, now, &mut facts);
        let error = answer.as_ref().err().map(DynoxideError::error_type);
        let error = error.and_then(|it| it.rsplit('#').next());
        // What is refused for another reason is not charged: it never came to an item.
        let charged = matches!(
            error,
            None | Some("ConditionalCheckFailedException" | "TransactionCanceledException")
        );
        let meter = meter.take_if(|_| charged);
        let touched = meter.map(|it| it.touched(request, error.is_none(), &facts));
        let touched = touched.unwrap_or_default();
        let (status, body) = match &answer {
            Ok(body) => (200, body.clone()),
            Err(error) => (error.status_code(), error.to_json()),
        };
        Reply {
            units: touched.iter().map(|touch| touch.units).sum(),
            touched,
            ..Reply::new(status, error, body)
        }
    }

    /// The database, or what lagging reads see of it.
    fn source(&self, operation: &str, request: &Value) -> &Database {
        let eventual = match operation {
            "GetItem" | "Query" | "Scan" => consistency(request) == Consistency::Eventual,
            // Of present and past within one call, the present is the safer answer.
            "BatchGetItem" => request["RequestItems"].as_object().is_some_and(|tables| {
                tables
                    .values()
                    .all(|it| consistency(it) == Consistency::Eventual)
            }),
            _ => false,
        };
        match &self.stale {
            Some((Lag::Eventual, stale)) if eventual => stale,
            Some((Lag::Indexes, stale)) if eventual && request["IndexName"].is_string() => stale,
            _ => &self.db,
        }
    }

    fn answer(
        &mut self,
        operation: &str,
        request: &Value,
        body: &[u8],
        now: u64,
        facts: &mut Facts,
    ) -> dynoxide::Result<String> {
        let db = self.source(operation, request).clone();
        // Asks for units, and does not tell them to a caller who did not ask.
        let asked = |mode: Option<&str>| matches!(mode, Some("TOTAL" | "INDEXES"));
        let units = |mode: Option<String>| {
            if asked(mode.as_deref()) {
                mode
            } else {
                Some("TOTAL".into())
            }
        };
        match operation {
            "GetItem" => run(body, |it| db.get_item(it)),
            "BatchGetItem" => run(body, |it| db.batch_get_item(it)),
            "TransactGetItems" => run(body, |it| db.transact_get_items(it)),
            "PutItem" => run(body, |it| db.put_item(it)),
            "DeleteItem" => run(body, |it| db.delete_item(it)),
            "BatchWriteItem" => run(body, |it| db.batch_write_item(it)),
            "Query" => run(body, |mut it: QueryRequest| {
                let told = asked(it.return_consumed_capacity.as_deref());
                it.return_consumed_capacity = units(it.return_consumed_capacity);
                let mut answer = db.query(it)?;
                facts.queried = answer
                    .consumed_capacity
                    .as_ref()
                    .map_or(0.0, |it| it.capacity_units);
                answer.consumed_capacity = answer.consumed_capacity.filter(|_| told);
                Ok(answer)
            }),
            "Scan" => run(body, |mut it: ScanRequest| {
                let told = asked(it.return_consumed_capacity.as_deref());
                it.return_consumed_capacity = units(it.return_consumed_capacity);
                let mut answer = db.scan(it)?;
                facts.queried = answer
                    .consumed_capacity
                    .as_ref()
                    .map_or(0.0, |it| it.capacity_units);
                answer.consumed_capacity = answer.consumed_capacity.filter(|_| told);
                Ok(answer)
            }),
            "UpdateItem" => run(body, |it: UpdateItemRequest| {
                // "ALL_OLD - Returns all of the attributes of the item, as they appeared before the
                // UpdateItem operation": none of an item that was not there, of which dynoxide
                // returns the key.
                let old = it.return_values.as_deref() == Some("ALL_OLD");
                let created = old && get(&db, &it.table_name, it.key.clone()).is_none();
                let mut answer = db.update_item(it)?;
                answer.attributes = answer.attributes.filter(|_| !created);
                Ok(answer)
            }),
            "TransactWriteItems" => self.transact(&request["TransactItems"], body, now, facts),
            _ => Err(DynoxideError::ValidationException(format!(
                "{operation} is not known here"
            ))),
        }
    }

    /// dynoxide remembers a ClientRequestToken by the clock of this machine; it is remembered here
    /// instead, by the caller's.
    fn transact(
        &mut self,
        items: &Value,
        body: &[u8],
        now: u64,
        facts: &mut Facts,
    ) -> dynoxide::Result<String> {
        self.tokens.retain(|_, (at, _)| now < *at + TOKEN_MS);
        run(body, |mut request: TransactWriteItemsRequest| {
            // A token of another length is dynoxide's to refuse.
            let token = &mut request.client_request_token;
            let token = token.take_if(|token| (1..=36).contains(&token.len()));
            match token.as_ref().and_then(|token| self.tokens.get(token)) {
                Some((_, before)) if before == items => {
                    facts.replayed = true;
                    return Ok(json!({}));
                }
                Some(_) => {
                    let message = "the token was used with other items before".to_owned();
                    return Err(DynoxideError::IdempotentParameterMismatchException(message));
                }
                None => {}
            }
            let answer = self.db.transact_write_items(request)?;
            if let Some(token) = token {
                self.tokens.insert(token, (now, items.clone()));
            }
            Ok(json!(answer))
        })
    }

    fn table(&self, id: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.id == id)
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
        self.db
            .sweep_ttl()
            .expect("a sweep asks for nothing that can be refused")
    }

    /// Every item of a table.
    pub(crate) fn items(&self, table: &str) -> Vec<Item> {
        let mut request = ScanRequest {
            table_name: table.to_owned(),
            ..ScanRequest::default()
        };
        let mut items = Vec::new();
        loop {
            let page = self.db.scan(request).expect("the table exists");
            items.extend(page.items.into_iter().flatten());
            let Some(last) = page.last_evaluated_key else {
                return items;
            };
            request = ScanRequest {
                table_name: table.to_owned(),
                exclusive_start_key: Some(last),
                ..ScanRequest::default()
            };
        }
    }

    /// A key of text values, in the order of the table's key schema.
    fn key(&self, table: &str, values: &[&str]) -> Item {
        let names = &self.table(table).expect("the template has the table").key;
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
        let put = run(request.to_string().as_bytes(), |it| self.db.put_item(it));
        put.expect("an item that the table takes");
    }

    pub(crate) fn delete(&self, table: &str, key: &[&str]) {
        let request = json!({ "TableName": table, "Key": self.key(table, key) });
        let deleted = run(request.to_string().as_bytes(), |it| self.db.delete_item(it));
        deleted.expect("a key of the table");
    }
}

/// What a call costs, and in which partitions: looks at the items that it writes before and after.
struct Meter<'a> {
    db: Database,
    tables: &'a [Table],
    parts: &'a [Part<'a>],
    /// What each part that writes found.
    before: Vec<Option<Item>>,
}

impl<'a> Meter<'a> {
    fn new(db: &Database, tables: &'a [Table], parts: &'a [Part<'a>]) -> Self {
        let mut meter = Self {
            db: db.clone(),
            tables,
            parts,
            before: Vec::new(),
        };
        let before = parts.iter().map(|part| {
            let (table, key) = meter.key(part).filter(|_| part.writes())?;
            get(db, &table.id, key)
        });
        meter.before = before.collect();
        meter
    }

    fn table(&self, part: &Part<'_>) -> Option<&'a Table> {
        self.tables.iter().find(|table| table.id == part.table)
    }

    /// The table and the key of a part that names an item.
    fn key(&self, part: &Part<'_>) -> Option<(&'a Table, Item)> {
        let table = self.table(part)?;
        let key = table.key.iter().map(|name| {
            let value = serde_json::from_value(part.item?.get(name)?.clone());
            Some((name.clone(), value.ok()?))
        });
        Some((table, key.collect::<Option<_>>()?))
    }

    fn touched(&self, request: &Value, done: bool, facts: &Facts) -> Vec<Touch> {
        let mut touched = Vec::new();
        for (part, before) in self.parts.iter().zip(&self.before) {
            let Some((table, key)) = self.key(part) else {
                touched.extend(self.queried(part, request, facts));
                continue;
            };
            let now = get(&self.db, &table.id, key.clone());
            // "Subsequent TransactWriteItems calls with the same client token return the number of read
            // capacity units consumed in reading the item" (API reference).
            if !part.writes() || facts.replayed {
                let partition = partition(&key, &table.key).unwrap_or_default();
                let units = read(now.as_ref(), part.consistency);
                touched.push(Touch {
                    resource: part.resource(),
                    partition,
                    units,
                });
                continue;
            }
            let before = before.as_ref();
            let after = if done { now.as_ref() } else { before };
            let transaction = part.consistency == Consistency::Transaction;
            for (resource, units) in write(table, before, after, transaction) {
                let index = table
                    .indexes
                    .iter()
                    .find(|it| resource.ends_with(&format!("/{}", it.name)));
                let names = index.map_or(&table.key, |index| &index.key);
                let items = [after, before, Some(&key)].into_iter().flatten();
                let partition = items.filter_map(|item| partition(item, names)).next();
                touched.push(Touch {
                    resource,
                    partition: partition.unwrap_or_default(),
                    units,
                });
            }
        }
        touched
    }

    /// What a query or scan touched: the partition that its condition has the partition key equal.
    fn queried(&self, part: &Part<'_>, request: &Value, facts: &Facts) -> Option<Touch> {
        let table = self.table(part)?;
        let index = table
            .indexes
            .iter()
            .find(|it| Some(it.name.as_str()) == part.index);
        let wanted = index.map_or(&table.key, |index| &index.key).first()?;
        let value = || {
            let condition = request["KeyConditionExpression"].as_str()?;
            let condition = condition.replace(['(', ')', '='], " ");
            let mut words = condition.split_whitespace();
            words.find(|word| {
                let given = request["ExpressionAttributeNames"][word].as_str();
                given.unwrap_or(word) == wanted
            })?;
            let value = request["ExpressionAttributeValues"][words.next()?].clone();
            serde_json::from_value(value).ok()
        };
        let partition = value().and_then(|value| {
            partition(
                &Item::from([(wanted.clone(), value)]),
                std::slice::from_ref(wanted),
            )
        });
        Some(Touch {
            resource: part.resource(),
            partition: partition.unwrap_or_default(),
            units: Units::reads(facts.queried),
        })
    }
}

/// Deserializes a request, and serializes its answer.
fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body);
    let request = request.map_err(|it| DynoxideError::SerializationException(it.to_string()))?;
    Ok(json!(operation(request)?).to_string())
}

fn create(db: &Database, tables: &[Table]) {
    for table in tables {
        let created = run(table.create.to_string().as_bytes(), |it| {
            db.create_table(it)
        });
        created.expect("the template describes a table that DynamoDB takes");
        if let Some(attribute) = &table.time_to_live {
            let ttl = json!({ "AttributeName": attribute, "Enabled": true });
            let request = json!({ "TableName": table.id, "TimeToLiveSpecification": ttl });
            let set = run(request.to_string().as_bytes(), |it| {
                db.update_time_to_live(it)
            });
            set.expect("a new table has no time to live yet");
        }
    }
}

fn get(db: &Database, table: &str, key: Item) -> Option<Item> {
    let request = GetItemRequest {
        table_name: table.to_owned(),
        key,
        ..GetItemRequest::default()
    };
    db.get_item(request).ok()?.item
}

/// The partition key's value as text.
fn partition(item: &Item, key: &[String]) -> Option<String> {
    match item.get(key.first()?)? {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        other => other.to_key_string(),
    }
}

/// What DynamoDB answers instead of doing what it was asked to.
pub(crate) fn failed(failure: Failure, operation: &str, items: usize) -> Reply {
    let (status, code, message) = match failure {
        Failure::Connection | Failure::Internal => {
            (500, "InternalServerError", "Internal server error")
        }
        Failure::Throttled => (
            400,
            "ThrottlingException",
            "Throughput exceeds the current capacity",
        ),
        Failure::TransactionConflict(_) if operation.starts_with("Transact") => (
            400,
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons",
        ),
        Failure::TransactionConflict(_) => (
            400,
            "TransactionConflictException",
            "Transaction is ongoing for the item",
        ),
    };
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let mut body = json!({ "__type": kind, "message": message, "Message": message });
    if let Failure::TransactionConflict(part) = failure {
        let reason = |n| {
            if n == part {
                let message = "Transaction is ongoing for the item";
                json!({ "Code": "TransactionConflict", "Message": message })
            } else {
                json!({ "Code": "None" })
            }
        };
        body["CancellationReasons"] = (0..items).map(reason).collect();
    }
    Reply::new(status, Some(code), body.to_string())
}

/// The caller's clock, as dynoxide wants it.
struct Time(Clock);

impl dynoxide::storage_backend::Clock for Time {
    fn now_unix_secs(&self) -> u64 {
        (self.0)() / 1000
    }

    #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
    fn now_unix_secs_f64(&self) -> f64 {
        (self.0)() as f64 / 1000.0
    }
}

/// An item as the SDK has it.
pub(crate) fn to_sdk(item: Item) -> HashMap<String, SdkValue> {
    item.into_iter()
        .map(|(name, value)| (name, value_to_sdk(value)))
        .collect()
}

fn value_to_sdk(value: AttributeValue) -> SdkValue {
    match value {
        AttributeValue::S(it) => SdkValue::S(it),
        AttributeValue::N(it) => SdkValue::N(it),
        AttributeValue::B(it) => SdkValue::B(Blob::new(it)),
        AttributeValue::BOOL(it) => SdkValue::Bool(it),
        AttributeValue::NULL(it) => SdkValue::Null(it),
        AttributeValue::SS(it) => SdkValue::Ss(it),
        AttributeValue::NS(it) => SdkValue::Ns(it),
        AttributeValue::BS(it) => SdkValue::Bs(it.into_iter().map(Blob::new).collect()),
        AttributeValue::L(it) => SdkValue::L(it.into_iter().map(value_to_sdk).collect()),
        AttributeValue::M(it) => SdkValue::M(to_sdk(it)),
    }
}

/// An item that the SDK has.
pub(crate) fn from_sdk(item: &HashMap<String, SdkValue>) -> Item {
    item.iter()
        .map(|(name, value)| (name.clone(), value_from_sdk(value)))
        .collect()
}

fn value_from_sdk(value: &SdkValue) -> AttributeValue {
    match value {
        SdkValue::S(it) => AttributeValue::S(it.clone()),
        SdkValue::N(it) => AttributeValue::N(it.clone()),
        SdkValue::B(it) => AttributeValue::B(it.clone().into_inner()),
        SdkValue::Bool(it) => AttributeValue::BOOL(*it),
        SdkValue::Ss(it) => AttributeValue::SS(it.clone()),
        SdkValue::Ns(it) => AttributeValue::NS(it.clone()),
        SdkValue::Bs(it) => {
            AttributeValue::BS(it.iter().map(|it| it.clone().into_inner()).collect())
        }
        SdkValue::L(it) => AttributeValue::L(it.iter().map(value_from_sdk).collect()),
        SdkValue::M(it) => AttributeValue::M(from_sdk(it)),
        _ => AttributeValue::NULL(true),
    }
}
