//! The functions of `template.yaml`: the bench deploys nothing that the template does not describe.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};
use fake_aws::FakeAws;
use serde_norway::Value;
use xtask::Workspace;

use crate::aws::{BOT_TOKEN_ARN, MANAGEMENT_PATH, SIGNING_SECRET_ARN, SLACK_API_PATH};

/// The parameters that an account with 1000 concurrent executions sets, as the template recommends:
/// the defaults fit a new account.
const CONCURRENCY_PARAMETERS: [(&str, &str); 3] = [
    ("DispatcherConcurrency", "20"),
    ("NotifierConcurrency", "10"),
    ("BatchConcurrency", "5"),
];

pub(crate) type FunctionsByName = BTreeMap<String, Function>;
type Variables = BTreeMap<String, String>;

pub(crate) struct Template {
    yaml: Value,
    pub(crate) aws: fake_aws::Template,
}

#[derive(Debug)]
pub(crate) struct Function {
    /// MB of memory.
    pub(crate) memory: u64,
    pub(crate) timeout: Duration,
    pub(crate) variables: Variables,
    pub(crate) source: Option<EventSourceMapping>,
}

/// The event source mapping of a queue.
#[derive(Debug, Clone)]
pub(crate) struct EventSourceMapping {
    pub(crate) queue: String,
    pub(crate) batch: usize,
    pub(crate) concurrency: usize,
}

impl Template {
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let text = fs::read_to_string(workspace.join("template.yaml"))
            .context("template.yaml cannot be read")?;
        Ok(Self {
            yaml: serde_norway::from_str(&text).context("template.yaml is not YAML")?,
            aws: fake_aws::Template::parse(&text).context("template.yaml")?,
        })
    }

    /// The functions as they are deployed on this AWS, with Slack and API Gateway at `url`.
    pub(crate) fn functions(&self, aws: &FakeAws, url: &str) -> Result<FunctionsByName> {
        let tables = self
            .aws
            .table_ids()
            .map(|id| (id.to_owned(), id.to_owned()));
        let queues = self.aws.queues().iter();
        let queues = queues.map(|queue| (queue.id.clone(), aws.queue(&queue.id).url()));
        let others = [
            ("SLACK_SIGNING_SECRET_ARN", SIGNING_SECRET_ARN.to_owned()),
            ("SlackTeamId", local_slack::TEAM_ID.to_owned()),
            ("SlackAppId", local_slack::APP_ID.to_owned()),
            // One person creates all tasks, and an agent's queue may be long.
            ("TasksPerUserHour", u32::MAX.to_string()),
            ("AgentQueueLength", u32::MAX.to_string()),
            ("SLACK_BOT_TOKEN_ARN", BOT_TOKEN_ARN.to_owned()),
            ("SlackApiUrl", format!("{url}{SLACK_API_PATH}")),
            (
                "WEBSOCKET_MANAGEMENT_URL",
                format!("{url}{MANAGEMENT_PATH}"),
            ),
        ];
        let concurrency = CONCURRENCY_PARAMETERS.map(|(name, value)| (name, value.to_owned()));
        let others = others.into_iter().chain(concurrency);
        let others = others.map(|(name, value)| (name.to_owned(), value));
        self.functions_with_values(&tables.chain(queues).chain(others).collect())
    }

    /// The functions, their variables looked up in `values`: by their own name, by the name of the
    /// resource or parameter that they refer to, or as that parameter's default.
    fn functions_with_values(&self, values: &Variables) -> Result<FunctionsByName> {
        let resources = self.yaml["Resources"].as_mapping().into_iter().flatten();
        let is_function = |it: &Value| it["Type"].as_str() == Some("AWS::Serverless::Function");
        let functions = resources.filter(|(_, it)| is_function(it));
        functions
            .map(|(_, it)| self.parse_function(&it["Properties"], values))
            .collect()
    }

    fn parse_function(&self, own: &Value, values: &Variables) -> Result<(String, Function)> {
        let name = own["CodeUri"].as_str();
        let name = name.and_then(|uri| uri.trim_end_matches('/').rsplit('/').next());
        let name = name.context("a function of the template has no CodeUri")?;
        let globals = &self.yaml["Globals"]["Function"];
        let number = |key: &str| {
            let number = own[key].as_u64().or(globals[key].as_u64());
            number.with_context(|| format!("{name} has no {key}"))
        };
        let given = [globals, own].map(|it| it["Environment"]["Variables"].as_mapping());
        let mut variables = Variables::new();
        for (variable, value) in given.into_iter().flatten().flatten() {
            let variable = variable.as_str().unwrap_or_default();
            let value = self
                .variable_value(variable, value, values)
                .with_context(|| {
                    format!(
                        "the template gives {name} the variable {variable}, and the bench does not \
                     know what to set it to: say so in infra/bench/src/template.rs"
                    )
                })?;
            variables.insert(variable.to_owned(), value);
        }
        let function = Function {
            memory: number("MemorySize")?,
            timeout: Duration::from_secs(number("Timeout")?),
            variables,
            source: self.event_source_mapping(own, values),
        };
        Ok((name.to_owned(), function))
    }

    fn variable_value(&self, variable: &str, value: &Value, values: &Variables) -> Option<String> {
        let known = values.get(variable).cloned();
        known.or_else(|| self.resolve(value, values))
    }

    /// A scalar, or what `!Ref` stands for.
    fn resolve(&self, value: &Value, values: &Variables) -> Option<String> {
        match value {
            Value::Tagged(tagged) if tagged.tag == "Ref" => {
                let name = tagged.value.as_str()?;
                let default = || scalar_to_string(&self.yaml["Parameters"][name]["Default"]);
                values.get(name).cloned().or_else(default)
            }
            value => scalar_to_string(value),
        }
    }

    fn event_source_mapping(
        &self,
        function: &Value,
        values: &Variables,
    ) -> Option<EventSourceMapping> {
        let mut events = function["Events"].as_mapping()?.values();
        let mapping = &events.find(|it| it["Type"].as_str() == Some("SQS"))?["Properties"];
        let Value::Tagged(queue) = &mapping["Queue"] else {
            return None;
        };
        // Of a choice, AWS has the last: the first is the emulator's.
        let scaling = match &mapping["ScalingConfig"] {
            Value::Tagged(choice) if choice.tag == "If" => choice.value.as_sequence()?.last()?,
            scaling => scaling,
        };
        // Without a number, AWS takes its own.
        let number = |value: &Value, default| {
            let number = self.resolve(value, values);
            number.and_then(|it| it.parse().ok()).unwrap_or(default)
        };
        Some(EventSourceMapping {
            queue: queue.value.as_str()?.trim_end_matches(".Arn").to_owned(),
            batch: number(&mapping["BatchSize"], 10),
            concurrency: number(&scaling["MaximumConcurrency"], 1000),
        })
    }
}

fn scalar_to_string(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
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
        let names: Vec<_> = functions.keys().cloned().collect();
        assert_eq!(names, Workspace::find().unwrap().function_names().unwrap());
        let find = |name: &str| &functions[name];
        let message = find("ws-message");
        assert_eq!(message.variables["TASKS_TABLE"], "TasksTable");
        assert_eq!(message.variables["TASK_ACK_SECONDS"], "30");
        assert_eq!(message.timeout, Duration::from_secs(15));
        assert_eq!(find("dispatcher").variables["MAX_RECEIVES"], "10");
        let source = find("dispatcher").source.as_ref().unwrap();
        assert_eq!(source.queue, "DispatchQueue");
        assert!(source.batch == 10 && source.concurrency == 20, "{source:?}");
        assert_eq!(find("notifier").timeout, Duration::from_secs(30));
        assert!(find("slack-webhook").memory > message.memory);
    }

    #[test]
    fn a_variable_without_a_known_value_is_refused() {
        let error = template()
            .0
            .functions_with_values(&Variables::new())
            .unwrap_err();
        assert!(format!("{error:#}").contains("infra/bench/src/template.rs"));
    }

    #[tokio::test]
    async fn a_stored_heartbeat_changes_no_index() {
        let (_, aws) = template();
        aws.set_request_unit_metering(true);
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
