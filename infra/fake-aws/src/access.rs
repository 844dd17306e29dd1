//! What a request to DynamoDB accesses.

use serde_json::Value;

use crate::calls::Action;

/// How a read is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    Eventual,
    Strong,
    Transaction,
}

/// One access of a request: to an item, or by a query.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// What IAM calls it.
    pub(crate) action: &'static str,
    pub(crate) table: &'a str,
    pub(crate) index: Option<&'a str>,
    /// The key, or the whole item.
    pub(crate) item: Option<&'a Value>,
    pub(crate) consistency: Consistency,
}

/// What IAM calls the parts of a transaction.
const PARTS: [(&str, &str); 5] = [
    ("Get", "GetItem"),
    ("Put", "PutItem"),
    ("Update", "UpdateItem"),
    ("Delete", "DeleteItem"),
    ("ConditionCheck", "ConditionCheckItem"),
];
const SINGLE: [&str; 6] = [
    "GetItem",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "Query",
    "Scan",
];

impl<'a> Access<'a> {
    fn new(action: &'static str, request: &'a Value, consistency: Consistency) -> Self {
        Self {
            action,
            table: request["TableName"].as_str().unwrap_or_default(),
            index: request["IndexName"].as_str(),
            item: request.get("Key").or_else(|| request.get("Item")),
            consistency,
        }
    }

    /// The accesses that a request is made of; none of a request that is not understood.
    pub(crate) fn of(operation: &str, request: &'a Value) -> Vec<Self> {
        let list = |value: &'a Value| value.as_array().into_iter().flatten();
        let tables = || request["RequestItems"].as_object().into_iter().flatten();
        let in_batch = |action, table, item, consistency| Self {
            action,
            table,
            index: None,
            item,
            consistency,
        };
        match operation {
            "TransactGetItems" | "TransactWriteItems" => {
                let parts = list(&request["TransactItems"]).filter_map(|one| {
                    let (part, action) = PARTS.iter().find(|(part, _)| one.get(part).is_some())?;
                    Some(Self::new(action, &one[part], Consistency::Transaction))
                });
                parts.collect()
            }
            "BatchGetItem" => {
                let keys = tables().flat_map(|(table, wanted)| {
                    let keys = list(&wanted["Keys"]);
                    let consistency = consistency(wanted);
                    keys.map(move |key| in_batch("BatchGetItem", table, Some(key), consistency))
                });
                keys.collect()
            }
            "BatchWriteItem" => {
                let writes = tables().flat_map(|(table, writes)| {
                    list(writes).map(move |one| {
                        let put = one["PutRequest"].get("Item");
                        let item = put.or_else(|| one["DeleteRequest"].get("Key"));
                        in_batch("BatchWriteItem", table, item, Consistency::Eventual)
                    })
                });
                writes.collect()
            }
            _ => {
                let action = SINGLE.into_iter().find(|action| *action == operation);
                let access = action.map(|it| Self::new(it, request, consistency(request)));
                access.into_iter().collect()
            }
        }
    }

    pub(crate) fn action(&self) -> Action {
        Action {
            name: self.action.to_owned(),
            resource: self.resource(),
        }
    }

    /// The table, or its index as `table/index`.
    pub(crate) fn resource(&self) -> String {
        let index = self.index.map(|index| format!("/{index}"));
        format!("{}{}", self.table, index.unwrap_or_default())
    }

    pub(crate) fn writes(&self) -> bool {
        !["GetItem", "BatchGetItem", "Query", "Scan"].contains(&self.action)
    }
}

fn consistency(request: &Value) -> Consistency {
    if request["ConsistentRead"] == true {
        Consistency::Strong
    } else {
        Consistency::Eventual
    }
}
