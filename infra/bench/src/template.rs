//! What `template.yaml` says of the functions, the tables and the queues: the bench deploys nothing
//! that the template does not describe.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_norway::Value;
use xtask::Workspace;

use crate::dynamo::units::{Index, Shows};

/// The template.
#[derive(Debug, Clone)]
pub struct Template(Value);

/// A function as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name of its crate.
    pub name: String,
    /// MB of memory.
    pub memory: u64,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Its environment.
    pub variables: BTreeMap<String, String>,
    /// What feeds it, if a queue does.
    pub source: Option<Source>,
}

/// How a queue feeds a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The queue's logical id.
    pub queue: String,
    /// Messages of an invocation at most.
    pub batch: usize,
    /// Invocations at a time at most.
    pub concurrency: usize,
}

/// A queue as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its logical id.
    pub id: String,
    /// Whether it is first in first out.
    pub fifo: bool,
    /// By how much every message of it is delayed.
    pub delay: Duration,
}

impl Template {
    /// The checkout's.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.join("template.yaml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let template = serde_norway::from_str(&text).context("template.yaml is not YAML")?;
        Ok(Self(template))
    }

    fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.0["Resources"].as_mapping().into_iter().flatten();
        resources
            .filter(move |(_, resource)| resource["Type"].as_str() == Some(kind))
            .filter_map(|(id, resource)| Some((id.as_str()?, &resource["Properties"])))
    }

    /// The functions, their variables looked up in `values`: by their own name, by the name of the
    /// resource or parameter that they refer to, or as that parameter's default.
    pub fn functions(&self, values: &BTreeMap<String, String>) -> Result<Vec<Function>> {
        let functions = self.resources("AWS::Serverless::Function");
        functions
            .map(|(id, properties)| self.function(id, properties, values))
            .collect()
    }

    fn function(
        &self,
        id: &str,
        properties: &Value,
        values: &BTreeMap<String, String>,
    ) -> Result<Function> {
        let name = properties["CodeUri"].as_str();
        let name = name.and_then(|uri| uri.trim_end_matches('/').rsplit('/').next());
        let name = name.with_context(|| format!("{id} has no CodeUri"))?;
        let number = |key: &str| {
            let own = properties[key].as_u64();
            own.or(self.0["Globals"]["Function"][key].as_u64())
                .with_context(|| format!("{id} has no {key}"))
        };
        let mut variables = BTreeMap::new();
        let all = &self.0["Globals"]["Function"]["Environment"]["Variables"];
        let own = &properties["Environment"]["Variables"];
        let given = [all, own].into_iter().filter_map(Value::as_mapping);
        for (variable, value) in given.flatten() {
            let variable = variable.as_str().unwrap_or_default();
            let value = self.value(variable, value, values).with_context(|| {
                format!(
                    "the template gives {name} the variable {variable}, and the bench does not \
                     know what to set it to: say so in infra/bench/src/stage.rs"
                )
            })?;
            variables.insert(variable.to_owned(), value);
        }
        Ok(Function {
            name: name.to_owned(),
            memory: number("MemorySize")?,
            timeout: Duration::from_secs(number("Timeout")?),
            variables,
            source: source(properties),
        })
    }

    fn value(
        &self,
        variable: &str,
        value: &Value,
        values: &BTreeMap<String, String>,
    ) -> Option<String> {
        if let Some(own) = values.get(variable) {
            return Some(own.clone());
        }
        match value {
            Value::Tagged(tagged) if tagged.tag == "Ref" => {
                let name = tagged.value.as_str()?;
                let known = values.get(name).cloned();
                known.or_else(|| scalar(&self.0["Parameters"][name]["Default"]))
            }
            Value::Tagged(_) => None,
            plain => scalar(plain),
        }
    }

    /// The tables by logical id, with their indexes.
    pub fn tables(&self) -> Result<Vec<(String, Vec<Index>)>> {
        let tables = self.resources("AWS::DynamoDB::Table");
        tables
            .map(|(id, properties)| {
                let indexes = properties["GlobalSecondaryIndexes"].as_sequence();
                let indexes = indexes.into_iter().flatten().map(index);
                let indexes = indexes.collect::<Result<_>>();
                Ok((id.to_owned(), indexes.with_context(|| id.to_owned())?))
            })
            .collect()
    }

    /// The queues.
    pub fn queues(&self) -> Vec<QueueSpec> {
        let queues = self.resources("AWS::SQS::Queue");
        queues
            .map(|(id, properties)| QueueSpec {
                id: id.to_owned(),
                fifo: properties["FifoQueue"].as_bool().unwrap_or(false),
                delay: Duration::from_secs(properties["DelaySeconds"].as_u64().unwrap_or(0)),
            })
            .collect()
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The queue of the function's SQS event.
fn source(properties: &Value) -> Option<Source> {
    let events = properties["Events"].as_mapping()?;
    let event = events
        .values()
        .find(|event| event["Type"].as_str() == Some("SQS"))?;
    let mapping = &event["Properties"];
    let Value::Tagged(queue) = &mapping["Queue"] else {
        return None;
    };
    let number = |value: &Value| value.as_u64().and_then(|number| number.try_into().ok());
    // What AWS takes where nothing is said.
    let (batch, concurrency) = (10, 1000);
    Some(Source {
        queue: queue.value.as_str()?.trim_end_matches(".Arn").to_owned(),
        batch: number(&mapping["BatchSize"]).unwrap_or(batch),
        concurrency: number(&mapping["ScalingConfig"]["MaximumConcurrency"]).unwrap_or(concurrency),
    })
}

fn index(value: &Value) -> Result<Index> {
    let name = value["IndexName"].as_str().context("an index has a name")?;
    let key = |kind: &str| {
        let keys = value["KeySchema"].as_sequence().into_iter().flatten();
        let mut keys = keys.filter(|key| key["KeyType"].as_str() == Some(kind));
        Some(keys.next()?["AttributeName"].as_str()?.to_owned())
    };
    let projection = &value["Projection"];
    let shows = match projection["ProjectionType"].as_str() {
        Some("ALL") => Shows::All,
        Some("KEYS_ONLY") => Shows::Keys,
        Some("INCLUDE") => {
            let names = projection["NonKeyAttributes"].as_sequence();
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            Shows::Some(names.map(ToOwned::to_owned).collect())
        }
        other => bail!("the index {name} has a projection {other:?}"),
    };
    Ok(Index {
        name: name.to_owned(),
        partition: key("HASH").with_context(|| format!("the index {name} has no key"))?,
        sort: key("RANGE"),
        shows,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dynamo::units::{Units, write_units};

    fn template() -> Template {
        Template::read(&Workspace::find().unwrap()).unwrap()
    }

    fn values() -> BTreeMap<String, String> {
        let names = [
            "TasksTable",
            "AgentsTable",
            "DispatchQueue",
            "DispatchDeadLetters",
            "NotificationsQueue",
            "NotificationsDeadLetters",
            "BatchQueue",
            "BatchDeadLetters",
            "SlackSigningSecret",
            "SlackBotToken",
            "WEBSOCKET_MANAGEMENT_URL",
        ];
        let value = |name: &str| (name.to_owned(), format!("the {name}"));
        names.into_iter().map(value).collect()
    }

    #[test]
    fn every_function_of_the_checkout_is_there_with_its_variables() {
        let functions = template().functions(&values()).unwrap();
        let mut names: Vec<_> = functions.iter().map(|it| it.name.clone()).collect();
        names.sort();
        assert_eq!(names, Workspace::find().unwrap().functions().unwrap());
        let find = |name: &str| functions.iter().find(|it| it.name == name).unwrap();
        let message = find("ws-message");
        assert_eq!(message.variables["TASKS_TABLE"], "the TasksTable");
        assert_eq!(message.variables["TASK_ACK_SECONDS"], "30");
        assert_eq!(message.timeout, Duration::from_secs(15));
        assert_eq!(find("dispatcher").variables["MAX_RECEIVES"], "10");
        let source = find("dispatcher").source.as_ref().unwrap();
        assert_eq!(source.queue, "DispatchQueue");
        assert!(
            source.batch == 10 && source.concurrency < 1000,
            "{source:?}"
        );
        assert_eq!(find("notifier").timeout, Duration::from_secs(30));
        assert!(find("slack-webhook").memory > message.memory);
    }

    #[test]
    fn a_variable_that_nothing_is_known_of_is_refused() {
        let error = template().functions(&BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("infra/bench/src/stage.rs"));
    }

    #[test]
    fn what_changes_often_is_in_no_index() {
        let tables = template().tables().unwrap();
        let indexes = |id: &str| &tables.iter().find(|(table, _)| table == id).unwrap().1;
        let agent = |seen: &str| {
            let agent = json!({
                "pk": { "S": "AGENT#box" }, "sk": { "S": "AGENT" }, "id": { "S": "box" },
                "listPk": { "S": "AGENTS#1" }, "listSk": { "S": "box" },
                "duePk": { "S": "CONNECTED#1" }, "dueSk": { "S": "box" }, "lastSeen": { "N": seen },
            });
            agent.as_object().unwrap().clone()
        };
        let heartbeat = (agent("1"), agent("2"));
        let (own, of_indexes) = write_units(
            Some(&heartbeat.0),
            Some(&heartbeat.1),
            indexes("AgentsTable"),
            false,
        );
        assert_eq!(own, Units::writes(1.0));
        assert!(of_indexes.iter().all(|it| *it == Units::default()));
        let due = indexes("TasksTable").iter().find(|it| it.name == "due");
        let task = json!({
            "pk": { "S": "TASK#1" }, "sk": { "S": "TASK" }, "id": { "S": "1" },
            "agentId": { "S": "box" }, "duePk": { "S": "DUE#1" }, "dueSk": { "S": "5" },
            "version": { "N": "1" },
        });
        let task = task.as_object().unwrap();
        let shown = due.unwrap().image(task).unwrap();
        assert!(shown.contains_key("id") && shown.contains_key("agentId"));
        assert!(!shown.contains_key("version"));
    }

    #[test]
    fn tables_and_queues_are_as_they_are_deployed() {
        let tables = template().tables().unwrap();
        let (_, indexes) = tables.iter().find(|(id, _)| id == "TasksTable").unwrap();
        let due = indexes.iter().find(|index| index.name == "due").unwrap();
        assert_eq!(
            (due.partition.as_str(), due.sort.as_deref()),
            ("duePk", Some("dueSk"))
        );
        let queues = template().queues();
        let queue = |id: &str| queues.iter().find(|queue| queue.id == id).unwrap();
        assert!(!queue("DispatchQueue").fifo && queue("NotificationsQueue").fifo);
        assert_eq!(queue("NotificationsQueue").delay, Duration::from_secs(3));
    }
}
