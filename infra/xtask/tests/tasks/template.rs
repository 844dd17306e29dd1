//! What `template.yaml` must hold beyond what the linters check.

use std::collections::{BTreeMap, BTreeSet};

use serde_norway::{Mapping, Value};
use xtask::Workspace;

/// The reference that makes a name one of the stack's own.
const STACK_NAME: &str = "${AWS::StackName}";
/// The concurrent executions of a new AWS account.
const NEW_ACCOUNT_CONCURRENCY: u64 = 10;
/// The executions that are left for Slack and the agents in a new account.
const API_CONCURRENCY: u64 = 3;
/// Functions, as SAM names them.
const FUNCTION: &str = "AWS::Serverless::Function";
/// Secrets of Secrets Manager.
const SECRET: &str = "AWS::SecretsManager::Secret";

/// What a function's `main` calls to use a secret, the variable from which it learns the secret's
/// ARN, and the resource and the parameter that the ARN is of.
const SECRETS: [(&str, &str, [&str; 2]); 2] = [
    (
        "signing_secret()",
        "SLACK_SIGNING_SECRET_ARN",
        ["SigningSecret", "SlackSigningSecretArn"],
    ),
    (
        "slack_client()",
        "SLACK_BOT_TOKEN_ARN",
        ["BotToken", "SlackBotTokenArn"],
    ),
];

/// The resource types of the template with the property that names one, which must then be unique
/// in an account and region. Without that property, CloudFormation makes a name up.
const NAME_PROPERTIES: [(&str, Option<&str>); 13] = [
    ("AWS::ApiGatewayV2::Api", Some("Name")),
    ("AWS::ApiGatewayV2::Authorizer", None),
    ("AWS::ApiGatewayV2::Integration", None),
    ("AWS::ApiGatewayV2::Route", None),
    ("AWS::ApiGatewayV2::Stage", None),
    ("AWS::DynamoDB::Table", Some("TableName")),
    ("AWS::IAM::Role", Some("RoleName")),
    ("AWS::Lambda::Permission", None),
    ("AWS::Logs::LogGroup", Some("LogGroupName")),
    ("AWS::S3::Bucket", Some("BucketName")),
    ("AWS::SQS::Queue", Some("QueueName")),
    (SECRET, Some("Name")),
    (FUNCTION, Some("FunctionName")),
];

struct Template(Value);

/// A resource: its logical id, its type, and the whole of it.
struct Resource<'a> {
    id: &'a str,
    kind: &'a str,
    value: &'a Value,
}

impl<'a> Resource<'a> {
    fn property(&self, name: &str) -> &'a Value {
        &self.value["Properties"][name]
    }

    /// The events that invoke a function.
    fn events(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        entries(self.property("Events")).map(|(_, event)| event)
    }

    /// The queue whose messages invoke the function.
    fn source_queue(&self) -> Option<&'a str> {
        let mut events = self.events();
        let event = events.find(|event| event["Type"] == "SQS")?;
        Some(referenced(&event["Properties"]["Queue"]))
    }
}

impl Template {
    fn read() -> Self {
        let path = Workspace::find().unwrap().join("template.yaml");
        Self(serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        let entries = entries(&self.0["Resources"]);
        entries.map(|(id, value)| Resource {
            id,
            kind: value["Type"].as_str().unwrap(),
            value,
        })
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = Resource<'_>> {
        self.resources().filter(move |it| it.kind == kind)
    }

    /// Whether a parameter is the text of a secret.
    fn is_secret_text(&self, name: &str) -> bool {
        self.0["Parameters"][name]["NoEcho"] == true
    }

    /// Whether a name is that of a secret: of its text, its ARN or its resource.
    fn is_secret(&self, name: &str) -> bool {
        let arn = &self.0["Parameters"][name]["AllowedPattern"];
        let arn = arn.as_str().unwrap_or_default();
        self.is_secret_text(name)
            || arn.contains("secretsmanager")
            || self.0["Resources"][name]["Type"] == SECRET
    }

    /// The role of a function.
    fn role(&self, function: &Resource<'_>) -> &Value {
        &self.0["Resources"][referenced(function.property("Role"))]
    }

    /// The statements of a function's role.
    fn statements(&self, function: &Resource<'_>) -> impl Iterator<Item = &Value> {
        let policies = sequence(&self.role(function)["Properties"]["Policies"]);
        policies.flat_map(|it| sequence(&it["PolicyDocument"]["Statement"]))
    }

    /// The queues to which a function's role lets it send.
    fn target_queues(&self, function: &Resource<'_>) -> BTreeSet<&str> {
        let sends = |it: &&Value| sequence(&it["Action"]).any(|action| action == "sqs:SendMessage");
        let resources = self
            .statements(function)
            .filter(sends)
            .flat_map(|statement| sequence(&statement["Resource"]));
        resources.map(referenced).collect()
    }

    /// The parameter that a value refers to.
    fn parameter(&self, value: &Value) -> &Value {
        &self.0["Parameters"][referenced(value)]
    }
}

/// Every resource and parameter that a value refers to, however deep in it.
fn all_referenced(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Tagged(tagged) if ["Ref", "GetAtt"].iter().any(|it| tagged.tag == *it) => {
            let name = referenced(value).split('.').next().unwrap_or_default();
            BTreeSet::from([name.to_owned()])
        }
        Value::Tagged(tagged) if tagged.tag == "Sub" => {
            let text = substituted(value).split("${").skip(1);
            let names = text.filter_map(|it| it.split(['.', '}']).next());
            names.map(ToOwned::to_owned).collect()
        }
        Value::Tagged(tagged) => all_referenced(&tagged.value),
        Value::Sequence(values) => values.iter().flat_map(all_referenced).collect(),
        Value::Mapping(entries) => entries.values().flat_map(all_referenced).collect(),
        _ => BTreeSet::new(),
    }
}

/// The entries of a mapping whose keys are texts; none if the value is absent.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mapping: Option<&Mapping> = value.as_mapping();
    let entries = mapping.into_iter().flatten();
    entries.map(|(key, value)| (key.as_str().unwrap(), value))
}

/// The elements of a list, or the one element that stands for a list of one.
fn sequence(value: &Value) -> impl Iterator<Item = &Value> {
    let one = std::slice::from_ref(value);
    value.as_sequence().map_or(one, Vec::as_slice).iter()
}

/// The resource or parameter that `!Ref` or `!GetAtt` names, or else the text itself.
fn referenced(value: &Value) -> &str {
    let text = match value {
        Value::Tagged(tagged) => tagged.value.as_str(),
        other => other.as_str(),
    };
    text.unwrap_or_default().trim_end_matches(".Arn")
}

/// The text of `!Sub`.
fn substituted(value: &Value) -> &str {
    match value {
        Value::Tagged(tagged) if tagged.tag == "Sub" => tagged.value.as_str().unwrap_or_default(),
        _ => "",
    }
}

#[test]
fn every_name_that_must_be_unique_in_an_account_is_the_stacks_own() {
    let template = Template::read();
    let properties = BTreeMap::from(NAME_PROPERTIES);
    let mut named = 0;
    for it in template.resources() {
        let Some(property) = properties.get(it.kind) else {
            panic!("{}: say in NAME_PROPERTIES what names a {}", it.id, it.kind);
        };
        let name = property.map(|property| it.property(property));
        if let Some(name) = name.filter(|name| !name.is_null()) {
            assert!(substituted(name).contains(STACK_NAME), "{}", it.id);
            named += 1;
        }
        // SAM gives a schedule the event's logical id, the same in every stack.
        let schedules = it.events().filter(|event| event["Type"] == "ScheduleV2");
        for schedule in schedules {
            let name = substituted(&schedule["Properties"]["Name"]);
            assert!(name.contains(STACK_NAME), "{}: {schedule:?}", it.id);
            named += 1;
        }
    }
    assert!(named > 20, "only {named} names were found");
}

#[test]
fn functions_that_messages_bring_back_to_themselves_may_loop_and_no_others() {
    let template = Template::read();
    let functions: Vec<_> = template.of_kind(FUNCTION).collect();
    let consumer = |queue: &str| {
        let mut consumers = functions.iter();
        Some(consumers.find(|it| it.source_queue() == Some(queue))?.id)
    };
    let next = |id: &str| -> BTreeSet<&str> {
        let function = functions.iter().find(|it| it.id == id).unwrap();
        let queues = template.target_queues(function);
        queues.into_iter().filter_map(consumer).collect()
    };
    let mut loops = BTreeSet::new();
    for function in &functions {
        let mut reached = next(function.id);
        for _ in &functions {
            reached = reached
                .iter()
                .flat_map(|id| next(id))
                .chain(reached.clone())
                .collect();
        }
        let allowed = function.property("RecursiveLoop") == "Allow";
        assert_eq!(allowed, reached.contains(function.id), "{}", function.id);
        if allowed {
            loops.insert(function.id);
        }
    }
    assert_eq!(loops, BTreeSet::from(["Batch", "Dispatcher"]));
}

#[test]
fn what_a_schedule_invokes_is_not_repeated_and_may_be_limited_to_one_at_a_time() {
    let template = Template::read();
    let is_scheduled = |it: &Resource<'_>| it.events().any(|event| event["Type"] == "ScheduleV2");
    let scheduled: Vec<_> = template.of_kind(FUNCTION).filter(is_scheduled).collect();
    assert_eq!(
        scheduled.iter().map(|it| it.id).collect::<Vec<_>>(),
        ["Sweeper"]
    );
    for it in scheduled {
        let asynchronous = it.property("EventInvokeConfig");
        let retries = it.events().map(|event| &event["Properties"]["RetryPolicy"]);
        for policy in retries.chain([asynchronous]) {
            assert_eq!(policy["MaximumRetryAttempts"], 0, "{policy:?}");
            assert_eq!(policy["MaximumEventAgeInSeconds"], 60, "{policy:?}");
        }
        assert!(it.property("Timeout").as_u64() < Some(60));
    }
}

#[test]
fn concurrency_is_reserved_only_on_request() {
    let template = Template::read();
    let mut reserved = Vec::new();
    for it in template.of_kind(FUNCTION) {
        let Value::Tagged(choice) = it.property("ReservedConcurrentExecutions") else {
            continue;
        };
        let [condition, parameter, fallback] = &choice.value.as_sequence().unwrap()[..] else {
            panic!("{}: {choice:?}", it.id);
        };
        assert_eq!(template.parameter(parameter)["Default"], 0, "{}", it.id);
        assert_eq!(referenced(fallback), "AWS::NoValue");
        let condition = &template.0["Conditions"][condition];
        let condition = serde_norway::to_string(condition).unwrap();
        assert!(condition.contains(referenced(parameter)), "{condition}");
        reserved.push(it.id);
    }
    assert_eq!(reserved, ["SlackWebhook", "Sweeper"]);
}

#[test]
fn the_default_concurrency_fits_a_new_account_and_leaves_some_for_slack() {
    let template = Template::read();
    let mut sum = 0;
    for it in template.of_kind(FUNCTION) {
        for event in it.events() {
            sum += match event["Type"].as_str().unwrap() {
                "ScheduleV2" => 1,
                "SQS" => {
                    let Value::Tagged(choice) = &event["Properties"]["ScalingConfig"] else {
                        panic!("{}: {event:?}", it.id);
                    };
                    // The emulator's comes first.
                    let scaling = choice.value.as_sequence().unwrap().last().unwrap();
                    let parameter = template.parameter(&scaling["MaximumConcurrency"]);
                    // The minimum of an event source mapping.
                    assert_eq!(parameter["MinValue"], 2, "{}", it.id);
                    parameter["Default"].as_u64().unwrap()
                }
                other => panic!("{}: what does {other} add?", it.id),
            };
        }
    }
    assert!(
        sum > 1 && sum + API_CONCURRENCY <= NEW_ACCOUNT_CONCURRENCY,
        "{sum}"
    );
}

#[test]
fn every_route_that_anybody_can_call_has_a_throttle_of_its_own() {
    let template = Template::read();
    for stage in template.of_kind("AWS::ApiGatewayV2::Stage") {
        let api = referenced(stage.property("ApiId"));
        let is_own = |it: &Resource<'_>| referenced(it.property("ApiId")) == api;
        let routes = template.of_kind("AWS::ApiGatewayV2::Route").filter(is_own);
        let routes: BTreeMap<_, _> = routes
            .map(|it| (it.property("RouteKey").as_str().unwrap(), it.id))
            .collect();
        let settings: BTreeMap<_, _> = entries(stage.property("RouteSettings")).collect();
        for (key, settings) in &settings {
            // API Gateway refuses settings of a route that does not exist yet.
            let route = routes.get(key).copied();
            let mut dependencies = sequence(&stage.value["DependsOn"]);
            assert!(dependencies.any(|it| it.as_str() == route), "{key}");
            // A parameter would arrive as text.
            for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
                assert!(settings[limit].as_u64() > Some(0), "{key} {limit}");
            }
        }
        // All other routes of the WebSocket API belong to connections that are open.
        let is_websocket = routes.contains_key("$connect");
        for key in routes
            .keys()
            .filter(|key| !is_websocket || **key == "$connect")
        {
            assert!(settings.contains_key(key), "{key}");
        }
        let default = stage.property("DefaultRouteSettings");
        assert!(!default["ThrottlingRateLimit"].is_null(), "{}", stage.id);
        assert!(!default["ThrottlingBurstLimit"].is_null(), "{}", stage.id);
    }
}

#[test]
fn the_parameter_for_authentication_in_band_reaches_the_functions() {
    let template = Template::read();
    let variables = &template.0["Globals"]["Function"]["Environment"]["Variables"];
    let parameter = template.parameter(&variables["IN_BAND_AUTHENTICATION"]);
    let values: Vec<_> = sequence(&parameter["AllowedValues"]).collect();
    assert_eq!(values, ["true", "false"]);
    assert_eq!(parameter["Default"], "true");
}

#[test]
fn tables_are_kept_and_protected_by_default() {
    let template = Template::read();
    assert_eq!(
        template.0["Parameters"]["TableDeletionProtection"]["Default"],
        "true"
    );
    for table in template.of_kind("AWS::DynamoDB::Table") {
        assert_eq!(table.value["DeletionPolicy"], "Retain", "{}", table.id);
        assert_eq!(table.value["UpdateReplacePolicy"], "Retain", "{}", table.id);
        let protection = serde_norway::to_string(table.property("DeletionProtectionEnabled"));
        let protection = protection.unwrap();
        assert!(protection.contains("HasDeletionProtection"), "{protection}");
    }
}

#[test]
fn only_the_functions_that_authenticate_agents_reach_the_keys_and_only_to_read_them() {
    let template = Template::read();
    let mut reaching = Vec::new();
    for function in template.of_kind(FUNCTION) {
        let variable = &function.property("Environment")["Variables"]["KEYS_TABLE"];
        let of_keys: Vec<_> = template
            .statements(&function)
            .filter(|it| {
                let resource = serde_norway::to_string(&it["Resource"]).unwrap();
                resource.contains("KeysTable") || resource.contains("'*'")
            })
            .flat_map(|it| sequence(&it["Action"]))
            .map(|action| action.as_str().unwrap())
            .collect();
        assert_eq!(variable.is_null(), of_keys.is_empty(), "{}", function.id);
        if !of_keys.is_empty() {
            assert_eq!(referenced(variable), "KeysTable");
            reaching.push((function.id, of_keys));
        }
    }
    let (get, check) = ("dynamodb:GetItem", "dynamodb:ConditionCheckItem");
    let expected = [
        ("WsAuthorizer", vec![get]),
        ("WsMessage", vec![get, "dynamodb:BatchGetItem", check]),
    ];
    assert_eq!(reaching, expected);
    let globals = &template.0["Globals"]["Function"]["Environment"]["Variables"];
    assert!(globals["KEYS_TABLE"].is_null());
}

#[test]
fn every_function_logs_into_a_group_that_forgets() {
    let template = Template::read();
    for function in template.of_kind(FUNCTION) {
        let group = referenced(&function.property("LoggingConfig")["LogGroup"]);
        let group = &template.0["Resources"][group];
        assert_eq!(group["Type"], "AWS::Logs::LogGroup", "{}", function.id);
        assert!(!group["Properties"]["RetentionInDays"].is_null());
    }
}

#[test]
fn a_function_gets_the_secret_that_it_uses_and_no_other() {
    let (template, workspace) = (Template::read(), Workspace::find().unwrap());
    let mut users = BTreeMap::new();
    for function in template.of_kind(FUNCTION) {
        let code = function.property("CodeUri").as_str().unwrap();
        let name = code.trim_end_matches('/').rsplit('/').next().unwrap();
        let main = workspace.join("functions").join(name).join("src/main.rs");
        let main = std::fs::read_to_string(main).unwrap();
        let used = SECRETS.iter().filter(|(call, ..)| main.contains(call));
        let used: Vec<_> = used.collect();
        users.insert(function.id, used.len());

        let sources = used.iter().flat_map(|(.., sources)| sources);
        let sources: BTreeSet<_> = sources.map(|it| (*it).to_owned()).collect();
        // Nothing else about a function names a secret: no variable, and no permission.
        let mut named = all_referenced(function.value);
        named.extend(all_referenced(template.role(&function)));
        named.retain(|it| template.is_secret(it));
        assert_eq!(named, sources, "{}", function.id);

        let variables = &function.property("Environment")["Variables"];
        let variables = entries(variables).filter(|(_, value)| {
            let references = all_referenced(value);
            references.iter().any(|it| template.is_secret(it))
        });
        let variables: BTreeSet<_> = variables.map(|(name, _)| name).collect();
        let expected = used.iter().map(|(_, variable, _)| *variable).collect();
        assert_eq!(variables, expected, "{}", function.id);

        let text = |value: &Value| serde_norway::to_string(value).unwrap();
        let reads = template.statements(&function);
        let reads = reads.filter(|it| text(&it["Action"]).contains("secretsmanager"));
        let reads: Vec<_> = reads.collect();
        assert_eq!(reads.len(), used.len(), "{}", function.id);
        let mut readable = BTreeSet::new();
        for read in reads {
            assert_eq!(read["Action"], "secretsmanager:GetSecretValue");
            readable.extend(all_referenced(&read["Resource"]));
        }
        assert_eq!(readable, sources, "{}", function.id);
        // All resources, all actions, or a policy by its name could be secrets, too.
        for statement in template.statements(&function) {
            for values in [&statement["Action"], &statement["Resource"]] {
                let is_named = |it: &Value| !it.is_null() && it != "*";
                assert!(sequence(values).all(is_named), "{}", function.id);
            }
        }
    }
    users.retain(|_, secrets| *secrets > 0);
    assert_eq!(
        users,
        BTreeMap::from([("Notifier", 1), ("SlackWebhook", 2)])
    );

    // What all functions get is no secret.
    let mut global = all_referenced(&template.0["Globals"]);
    global.retain(|it| template.is_secret(it));
    assert_eq!(global, BTreeSet::new());
}

#[test]
fn the_text_of_a_secret_goes_nowhere_but_into_secrets_manager() {
    let template = Template::read();
    let mut stored = BTreeSet::new();
    for it in template.resources() {
        let mut texts = all_referenced(it.value);
        texts.retain(|name| template.is_secret_text(name));
        if it.kind == SECRET {
            let text = referenced(it.property("SecretString"));
            assert_eq!(texts, BTreeSet::from([text.to_owned()]), "{}", it.id);
            stored.insert(text.to_owned());
        } else {
            assert_eq!(texts, BTreeSet::new(), "{}", it.id);
        }
    }
    let parameters = entries(&template.0["Parameters"]).map(|(name, _)| name.to_owned());
    let texts: BTreeSet<_> = parameters
        .filter(|it| template.is_secret_text(it))
        .collect();
    assert_eq!(stored, texts);
    assert_eq!(texts.len(), SECRETS.len());
}

/// Evaluates a condition of a rule, with these parameters.
fn holds(condition: &Value, parameters: &BTreeMap<&str, &str>) -> bool {
    let Value::Tagged(function) = condition else {
        panic!("{condition:?}");
    };
    let mut operands = sequence(&function.value);
    match function.tag.to_string().as_str() {
        "!Or" => operands.any(|it| holds(it, parameters)),
        "!And" => operands.all(|it| holds(it, parameters)),
        "!Not" => !operands.all(|it| holds(it, parameters)),
        "!Equals" => {
            let mut values = operands.map(|it| match it {
                Value::Tagged(_) => parameters[referenced(it)],
                text => text.as_str().unwrap(),
            });
            values.next() == values.next()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn each_secret_is_given_in_one_way_and_in_no_other() {
    let template = Template::read();
    for name in ["SlackSigningSecret", "SlackBotToken"] {
        let arn = format!("{name}Arn");
        for it in [name, &arn] {
            assert_eq!(template.0["Parameters"][it]["Default"], "", "{it}");
        }
        let rule = &template.0["Rules"][format!("{name}IsGivenOnce")];
        assert!(rule["RuleCondition"].is_null(), "it always applies");
        for (text, id, accepted) in [
            ("", "", false),
            ("x", "", true),
            ("", "arn:", true),
            ("x", "arn:", false),
        ] {
            let parameters = BTreeMap::from([(name, text), (&*arn, id)]);
            for assertion in sequence(&rule["Assertions"]) {
                let given = holds(&assertion["Assert"], &parameters);
                assert_eq!(given, accepted, "{parameters:?}");
                let told = assertion["AssertDescription"].as_str().unwrap();
                assert!(told.contains(name) && told.contains(&arn), "{told}");
            }
        }
    }
}
