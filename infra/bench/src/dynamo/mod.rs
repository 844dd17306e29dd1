//! DynamoDB in memory, as far as Bematic uses it: it keeps the items, decides conditions and
//! answers queries, so that each handler does on it what it would do on AWS, and every call is
//! counted in the units that AWS would charge.

mod expression;
mod operations;
mod size;
mod table;
pub mod units;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::expression::Fault;
use self::table::Table;
use self::units::{Index, Units};

/// The tables.
#[derive(Debug, Clone, Default)]
pub struct Dynamo {
    tables: BTreeMap<String, Table>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The HTTP status.
    pub status: u16,
    /// The answer.
    pub body: Value,
    /// What it costs.
    pub units: Units,
    /// The partitions that it read or wrote, once for each item or query.
    pub touched: Vec<Touch>,
    /// A request that is wrong, or not understood here: the bench ends.
    pub fault: Option<String>,
}

/// A partition that was read or written.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// Its table, or its index as `table/index`.
    pub of: String,
    /// Its key.
    pub partition: String,
    /// What that costs.
    pub units: Units,
}

/// Why a call is answered with an error.
enum Problem {
    /// The caller provides for it: a condition does not hold.
    Refused { body: Value, units: Units },
    /// It is wrong, or more than is understood here.
    Fault(Fault),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Dynamo {
    /// Makes a table.
    pub fn create(&mut self, name: &str, indexes: Vec<Index>) {
        self.tables.insert(name.to_owned(), Table::new(indexes));
    }

    /// Answers one call.
    pub fn call(&mut self, operation: &str, request: &Value) -> Done {
        let mut touched = Vec::new();
        let (status, body, units, fault) = match self.operate(operation, request, &mut touched) {
            Ok((body, units)) => (200, body, units, None),
            Err(Problem::Refused { body, units }) => (400, body, units, None),
            Err(Problem::Fault(fault)) => {
                let text = format!("{operation}: {fault}");
                let body = error("ValidationException", &text);
                (400, body, Units::default(), Some(text))
            }
        };
        Done {
            status,
            body,
            units,
            touched,
            fault,
        }
    }

    fn table(&self, request: &Value) -> Result<&Table, Fault> {
        let name = table_name(request)?;
        self.tables
            .get(name)
            .ok_or_else(|| Fault::new(format!("there is no table {name}")))
    }

    fn table_mut(&mut self, name: &str) -> Result<&mut Table, Fault> {
        self.tables
            .get_mut(name)
            .ok_or_else(|| Fault::new(format!("there is no table {name}")))
    }
}

fn table_name(request: &Value) -> Result<&str, Fault> {
    request["TableName"]
        .as_str()
        .ok_or_else(|| Fault::new("a request names its table"))
}

fn error(kind: &str, message: &str) -> Value {
    json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
        "message": message,
    })
}

#[cfg(test)]
mod tests;
