//! What `template.yaml` says of the functions: the bench deploys nothing that the template does not
//! describe.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use fake_aws::FakeAws;
use serde_norway::Value;
use xtask::Workspace;

use crate::aws::{MANAGEMENT, SLACK};
use crate::events::SECRET;
use crate::slack::BOT_TOKEN;

/// The template.
#[derive(Debug, Clone)]
pub struct Template {
    yaml: Value,
    /// Its tables and queues.
    pub(crate) aws: fake_aws::Template,
}

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

impl Template {
    /// The checkout's.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let path = workspace.join("template.yaml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            yaml: serde_norway::from_str(&text).context("template.yaml is not YAML")?,
            aws: fake_aws::Template::parse(&text).context("template.yaml")?,
        })
    }

    fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.yaml["Resources"].as_mapping().into_iter().flatten();
        resources
            .filter(move |(_, resource)| resource["Type"].as_str() == Some(kind))
            .filter_map(|(id, resource)| Some((id.as_str()?, &resource["Properties"])))
    }

    /// The functions as they are deployed on this AWS, with Slack and API Gateway at `url`.
    pub fn functions(&self, aws: &FakeAws, url: &str) -> Result<Vec<Function>> {
        let tables = self.aws.tables().map(|id| (id.to_owned(), id.to_owned()));
        let queues = self.aws.queues().iter();
        let queues = queues.map(|queue| (queue.id.clone(), aws.queue(&queue.id).url()));
        let others = [
            ("SlackSigningSecret", SECRET.to_owned()),
            ("SlackBotToken", BOT_TOKEN.to_owned()),
            ("SlackApiUrl", format!("{url}{SLACK}")),
            ("WEBSOCKET_MANAGEMENT_URL", format!("{url}{MANAGEMENT}")),
        ];
        let others = others.map(|(name, value)| (name.to_owned(), value));
        self.functions_with(&tables.chain(queues).chain(others).collect())
    }

    /// The functions, their variables looked up in `values`: by their own name, by the name of the
    /// resource or parameter that they refer to, or as that parameter's default.
    fn functions_with(&self, values: &BTreeMap<String, String>) -> Result<Vec<Function>> {
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
            own.or(self.yaml["Globals"]["Function"][key].as_u64())
                .with_context(|| format!("{id} has no {key}"))
        };
        let mut variables = BTreeMap::new();
        let all = &self.yaml["Globals"]["Function"]["Environment"]["Variables"];
        let own = &properties["Environment"]["Variables"];
        let given = [all, own].into_iter().filter_map(Value::as_mapping);
        for (variable, value) in given.flatten() {
            let variable = variable.as_str().unwrap_or_default();
            let value = self.value(variable, value, values).with_context(|| {
                format!(
                    "the template gives {name} the variable {variable}, and the bench does not \
                     know what to set it to: say so in infra/bench/src/template.rs"
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
                known.or_else(|| scalar(&self.yaml["Parameters"][name]["Default"]))
            }
            Value::Tagged(_) => None,
            plain => scalar(plain),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn template() -> (Template, FakeAws) {
        let template = Template::read(&Workspace::find().unwrap()).unwrap();
        let aws = FakeAws::new(&template.aws, Arc::new(|| 0));
        (template, aws)
    }

    #[test]
    fn every_function_of_the_checkout_is_there_with_its_variables() {
        let (template, aws) = template();
        let functions = template.functions(&aws, "http://x").unwrap();
        let mut names: Vec<_> = functions.iter().map(|it| it.name.clone()).collect();
        names.sort();
        assert_eq!(names, Workspace::find().unwrap().functions().unwrap());
        let find = |name: &str| functions.iter().find(|it| it.name == name).unwrap();
        let message = find("ws-message");
        assert_eq!(message.variables["TASKS_TABLE"], "TasksTable");
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
        let error = template().0.functions_with(&BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("infra/bench/src/template.rs"));
    }

    #[tokio::test]
    async fn a_heartbeat_that_is_written_down_changes_no_index() {
        let (_, aws) = template();
        aws.meter(true);
        let client = Client::new(&aws.sdk_config());
        for seen in ["1", "2"] {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let names = ["pk", "sk", "id", "listPk", "listSk", "duePk", "dueSk"];
            let put = client.put_item().table_name("AgentsTable");
            let put = names
                .into_iter()
                .fold(put, |put, it| put.item(it, text("box")));
            let put = put.item("lastSeen", AttributeValue::N(seen.to_owned()));
            put.send().await.unwrap();
        }
        let written = aws
            .calls()
            .take()
            .into_iter()
            .map(|call| call.units().write);
        assert_eq!(written.collect::<Vec<_>>(), [3.0, 1.0]);
    }
}
