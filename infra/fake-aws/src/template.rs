//! The tables and queues of a SAM or CloudFormation template.

use dynoxide::types::{AttributeDefinition, GlobalSecondaryIndex, KeySchemaElement};
use serde::Deserialize;
use serde_norway::{Value, from_value};

/// The tables and queues of a template, by logical id. Of the intrinsic functions, `GetAtt` of a
/// dead-letter queue is understood.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) tables: Vec<Table>,
    pub(crate) queues: Vec<QueueSpec>,
}

/// The reason that a text is not a template that a fake can be made from.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The text is not YAML, or a table or queue is not what CloudFormation takes.
    #[error("the template is invalid: {0}")]
    Invalid(#[from] serde_norway::Error),
    /// The queue's dead-letter queue is missing, or of another type.
    #[error("{0}: its dead-letter queue is missing or of the other type")]
    DeadLetterQueue(String),
}

/// The properties of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Table {
    #[serde(skip)]
    pub(crate) id: String,
    pub(crate) attribute_definitions: Vec<AttributeDefinition>,
    /// The partition key, and the sort key if there is one.
    pub(crate) key_schema: Vec<KeySchemaElement>,
    #[serde(default)]
    pub(crate) global_secondary_indexes: Vec<GlobalSecondaryIndex>,
}

/// The properties of a queue.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueSpec {
    /// The queue's logical id.
    #[serde(skip)]
    pub id: String,
    /// The condition under which SQS moves a message to the dead-letter queue.
    pub redrive_policy: Option<RedrivePolicy>,
    #[serde(rename = "FifoQueue")]
    pub(crate) fifo: bool,
    pub(crate) deduplication_scope: String,
    pub(crate) delay_seconds: u64,
    /// In seconds.
    pub(crate) visibility_timeout: Option<u64>,
}

/// The condition under which SQS moves a message to the dead-letter queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedrivePolicy {
    dead_letter_target_arn: ResourceAttribute,
    /// The number of receives after which a message is moved instead of being received again.
    pub max_receive_count: u64,
}

/// An attribute of a resource, such as `!GetAtt Queue.Arn`.
#[derive(Debug, Clone, Deserialize)]
enum ResourceAttribute {
    GetAtt(String),
}

impl RedrivePolicy {
    /// The dead-letter queue's logical id.
    pub(crate) fn dead_letter_queue(&self) -> &str {
        let ResourceAttribute::GetAtt(arn) = &self.dead_letter_target_arn;
        arn.trim_end_matches(".Arn")
    }
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let yaml: Value = serde_norway::from_str(text)?;
        let (mut tables, mut queues) = (Vec::new(), Vec::new());
        for (id, resource) in yaml["Resources"].as_mapping().into_iter().flatten() {
            let id = id.as_str().unwrap_or_default().to_owned();
            let properties = resource["Properties"].clone();
            match resource["Type"].as_str() {
                Some("AWS::DynamoDB::Table") => tables.push(Table {
                    id,
                    ..from_value(properties)?
                }),
                Some("AWS::SQS::Queue") => queues.push(QueueSpec {
                    id,
                    ..from_value(properties)?
                }),
                _ => {}
            }
        }
        // The dead-letter queue of a FIFO queue is a FIFO queue, that of a standard queue a standard one
        // (SQS developer guide, "Using dead-letter queues").
        let has_dead_letter_queue = |queue: &QueueSpec| {
            queue.redrive_policy.as_ref().is_none_or(|policy| {
                let dead = |it: &QueueSpec| it.id == policy.dead_letter_queue();
                queues.iter().any(|it| dead(it) && it.fifo == queue.fifo)
            })
        };
        match queues.iter().find(|queue| !has_dead_letter_queue(queue)) {
            Some(queue) => Err(TemplateError::DeadLetterQueue(queue.id.clone())),
            None => Ok(Self { tables, queues }),
        }
    }

    /// The queues.
    pub fn queues(&self) -> &[QueueSpec] {
        &self.queues
    }

    /// The tables' logical ids.
    pub fn table_ids(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.id.as_str())
    }
}
