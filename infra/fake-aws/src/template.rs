//! What a SAM or CloudFormation template says of tables and queues.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use serde_norway::Value as Yaml;

/// The tables and queues of a template, by logical id.
///
/// References are resolved as far as tables and queues need it: `Ref` to a parameter is its default,
/// `Ref` and `GetAtt` to a resource its logical id. Whatever else a template computes is left out.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) tables: Vec<Table>,
    pub(crate) queues: Vec<QueueSpec>,
}

/// Why a text is not a template that a fake can be made from.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The text is not YAML.
    #[error("the template is not YAML")]
    Yaml(#[from] serde_norway::Error),
    /// A resource lacks something, or contradicts another.
    #[error("{resource}: {problem}")]
    Resource {
        /// The logical id.
        resource: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) id: String,
    /// The request that creates it.
    pub(crate) create: Json,
    pub(crate) time_to_live: Option<String>,
    /// The attributes of its key: partition, and sort if it has one.
    pub(crate) key: Vec<String>,
    pub(crate) indexes: Vec<Index>,
}

/// A secondary index.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) name: String,
    /// The attributes of its key: partition, and sort if it has one.
    pub(crate) key: Vec<String>,
    /// The attributes that it projects, keys included; all of them where there is no list.
    pub(crate) projected: Option<BTreeSet<String>>,
}

/// A queue's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its logical id.
    pub id: String,
    /// First in, first out.
    pub fifo: bool,
    /// Whether the body's SHA-256 is the de-duplication id of a message that has none.
    pub content_based_deduplication: bool,
    /// Whether a de-duplication id counts within a message group only.
    pub deduplication_by_group: bool,
    /// `DelaySeconds`, in milliseconds.
    pub delay_ms: u64,
    /// `VisibilityTimeout`, in milliseconds.
    pub visibility_timeout_ms: u64,
    /// `MessageRetentionPeriod`, in milliseconds.
    pub retention_ms: u64,
    /// The dead-letter queue's logical id and `maxReceiveCount`.
    pub redrive: Option<(String, u64)>,
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let yaml: Yaml = serde_norway::from_str(text)?;
        let resources: Vec<_> = yaml["Resources"]
            .as_mapping()
            .into_iter()
            .flatten()
            .collect();
        let of = |kind: &str| {
            let of_kind = resources
                .iter()
                .filter(|(_, it)| it["Type"].as_str() == Some(kind));
            let found = of_kind.filter_map(|(id, it)| {
                Some((
                    id.as_str()?.to_owned(),
                    resolve(&it["Properties"], &yaml["Parameters"]),
                ))
            });
            found.collect::<Vec<_>>()
        };
        let tables = of("AWS::DynamoDB::Table").into_iter();
        let queues = of("AWS::SQS::Queue").into_iter();
        let template = Self {
            tables: tables
                .map(|(id, it)| table(id, &it))
                .collect::<Result<_, _>>()?,
            queues: queues.map(|(id, it)| queue(id, &it)).collect(),
        };
        for queue in &template.queues {
            template.check_redrive(queue)?;
        }
        Ok(template)
    }

    /// The queues.
    pub fn queues(&self) -> &[QueueSpec] {
        &self.queues
    }

    /// The tables' logical ids.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.id.as_str())
    }

    /// The dead-letter queue of a FIFO queue is a FIFO queue, that of a standard queue a standard one
    /// (SQS developer guide, "Using dead-letter queues").
    fn check_redrive(&self, queue: &QueueSpec) -> Result<(), TemplateError> {
        let Some((dead, _)) = &queue.redrive else {
            return Ok(());
        };
        let dead = self.queues.iter().find(|it| it.id == *dead);
        let problem = match dead {
            None => "its dead-letter queue is not in the template",
            Some(dead) if dead.fifo != queue.fifo => "its dead-letter queue is of the other type",
            Some(_) => return Ok(()),
        };
        Err(TemplateError::Resource {
            resource: queue.id.clone(),
            problem,
        })
    }
}

fn table(id: String, properties: &Json) -> Result<Table, TemplateError> {
    let lacking = |problem| TemplateError::Resource {
        resource: id.clone(),
        problem,
    };
    let key = key(properties).ok_or_else(|| lacking("it has no KeySchema"))?;
    let mut create = json!({ "TableName": id, "BillingMode": "PAY_PER_REQUEST" });
    let mut indexes = Vec::new();
    for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        for index in properties[kind].as_array().into_iter().flatten() {
            let index = self::index(index, &key);
            indexes.push(
                index.ok_or_else(|| lacking("an index lacks a name, a key or a projection"))?,
            );
        }
    }
    for property in [
        "AttributeDefinitions",
        "KeySchema",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
    ] {
        if let Some(value) = properties.get(property) {
            create[property] = value.clone();
        }
    }
    let ttl = &properties["TimeToLiveSpecification"];
    let time_to_live = ttl["AttributeName"]
        .as_str()
        .filter(|_| flag(&ttl["Enabled"]));
    Ok(Table {
        time_to_live: time_to_live.map(ToOwned::to_owned),
        create,
        key,
        indexes,
        id,
    })
}

fn index(properties: &Json, table_key: &[String]) -> Option<Index> {
    let key = key(properties)?;
    let projection = &properties["Projection"];
    let included = projection["NonKeyAttributes"]
        .as_array()
        .into_iter()
        .flatten();
    let keys = || key.iter().chain(table_key).cloned();
    let projected = match projection["ProjectionType"].as_str()? {
        "ALL" => None,
        "KEYS_ONLY" => Some(keys().collect()),
        _ => Some(keys().chain(included.filter_map(text)).collect()),
    };
    Some(Index {
        name: text(&properties["IndexName"])?,
        key,
        projected,
    })
}

/// Attribute names, the partition key's first.
fn key(properties: &Json) -> Option<Vec<String>> {
    let schema = properties["KeySchema"].as_array()?;
    let named = |kind: &str| {
        let element = schema.iter().find(|it| it["KeyType"] == kind)?;
        text(&element["AttributeName"])
    };
    Some(
        [Some(named("HASH")?), named("RANGE")]
            .into_iter()
            .flatten()
            .collect(),
    )
}

/// Defaults are those of CloudFormation's `AWS::SQS::Queue`.
fn queue(id: String, properties: &Json) -> QueueSpec {
    let ms = |name: &str, default: u64| number(&properties[name]).unwrap_or(default) * 1000;
    let redrive = &properties["RedrivePolicy"];
    let dead = text(&redrive["deadLetterTargetArn"]);
    QueueSpec {
        fifo: flag(&properties["FifoQueue"]),
        content_based_deduplication: flag(&properties["ContentBasedDeduplication"]),
        deduplication_by_group: properties["DeduplicationScope"] == "messageGroup",
        delay_ms: ms("DelaySeconds", 0),
        visibility_timeout_ms: ms("VisibilityTimeout", 30),
        retention_ms: ms("MessageRetentionPeriod", 345_600),
        redrive: dead.zip(number(&redrive["maxReceiveCount"])),
        id,
    }
}

/// YAML as JSON, references resolved.
fn resolve(value: &Yaml, parameters: &Yaml) -> Json {
    match value {
        Yaml::Null => Json::Null,
        Yaml::Bool(flag) => Json::Bool(*flag),
        Yaml::Number(number) => serde_json::to_value(number).unwrap_or_default(),
        Yaml::String(text) => Json::String(text.clone()),
        Yaml::Sequence(values) => values.iter().map(|it| resolve(it, parameters)).collect(),
        Yaml::Mapping(fields) => {
            let mut resolved = Map::new();
            for (name, value) in fields {
                let name = name.as_str().unwrap_or_default();
                if fields.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) {
                    return call(name.trim_start_matches("Fn::"), value, parameters);
                }
                resolved.insert(name.to_owned(), resolve(value, parameters));
            }
            Json::Object(resolved)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            call(tag.trim_start_matches('!'), &tagged.value, parameters)
        }
    }
}

/// An intrinsic function's value.
fn call(function: &str, argument: &Yaml, parameters: &Yaml) -> Json {
    let name = argument.as_str().or_else(|| argument[0].as_str());
    match (function, name) {
        ("Ref", Some("AWS::NoValue")) => Json::Null,
        ("Ref", Some(name)) => match parameters.get(name) {
            Some(parameter) => resolve(&parameter["Default"], parameters),
            None => name.into(),
        },
        ("GetAtt", Some(name)) => name.split('.').next().into(),
        ("Sub", Some(text)) => text.into(),
        _ => Json::Null,
    }
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

/// CloudFormation takes numbers and flags as text too.
fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(value: &Json) -> bool {
    value == true || value == "true"
}
