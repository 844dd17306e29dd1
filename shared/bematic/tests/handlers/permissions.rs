//! The permissions of the functions: exactly those that their calls need.
//!
//! The template is compared with the traffic of the tests here, which a process of its own records.
//! A call that a new feature makes needs a test that makes it, and a statement in the function's
//! role.

use std::{collections::BTreeSet, env, fs, process::Command};

use fake_aws::Permission;
use serde_norway::Value;

use crate::world::RECORD_VARIABLE;

/// The tests that are not repeated for the record, by parts of their names: they run one scenario
/// in hundreds of variants, and other tests make the same calls.
const NOT_RECORDED: [&str; 8] = [
    "at_any_call",
    "at_once",
    "concurrent",
    "conflicts",
    "disorder",
    "disturbed",
    "each_command_takes_its_role",
    "fuzz",
];

/// Permissions of functions, by the function's name.
type Permissions = BTreeSet<(String, Permission)>;

/// A function of the template, and its role.
struct Function<'a> {
    name: &'a str,
    properties: &'a Value,
    /// The role's properties; null for a function without a role of its own.
    role: &'a Value,
}

/// Returns the functions of a template, named as their folders are.
fn functions(template: &Value) -> Vec<Function<'_>> {
    let resources = &template["Resources"];
    let all = resources.as_mapping().into_iter().flatten();
    let functions = all.filter(|(_, it)| it["Type"] == "AWS::Serverless::Function");
    let functions = functions.map(|(_, it)| {
        let properties = &it["Properties"];
        let folder = properties["CodeUri"].as_str().unwrap();
        Function {
            name: folder.trim_end_matches('/').rsplit('/').next().unwrap(),
            properties,
            role: &resources[resource(&properties["Role"])]["Properties"],
        }
    });
    functions.collect()
}

/// Returns the resource that `!Ref`, `!GetAtt` or `!Sub` names, as [`Permission`] does, and of `!If`
/// that of the first alternative; anything else as it is.
fn resource(value: &Value) -> String {
    /// The stage of the WebSocket API, before the method.
    const STAGE: &str = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebSocketApi}/${StageName}/";
    let (tag, text) = match value {
        Value::Tagged(tagged) if tagged.tag == "!If" => return resource(&tagged.value[1]),
        Value::Tagged(tagged) => (tagged.tag.to_string(), tagged.value.as_str()),
        other => (String::new(), other.as_str()),
    };
    let text = text.unwrap_or_default();
    match tag.as_str() {
        "!GetAtt" => text.split('.').next().unwrap().to_owned(),
        "!Sub" => match text.strip_prefix(STAGE) {
            Some(path) => path.to_owned(),
            None => text.replacen("${", "", 1).replacen(".Arn}", "", 1),
        },
        _ => text.to_owned(),
    }
}

/// Returns the elements of a list, or the one element that stands for a list of one.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Sequence(all) => all,
        one => std::slice::from_ref(one),
    }
}

impl Function<'_> {
    /// The permissions that the statements of the role grant.
    fn granted(&self) -> impl Iterator<Item = Permission> {
        let policies = list(&self.role["Policies"]).iter();
        let statements = policies.flat_map(|it| list(&it["PolicyDocument"]["Statement"]));
        statements.flat_map(|it| {
            let actions = list(&it["Action"]).iter().map(|it| it.as_str().unwrap());
            actions.flat_map(|action| {
                let resources = list(&it["Resource"]).iter();
                resources.map(move |it| Permission::new(action, resource(it)))
            })
        })
    }

    /// The permissions that Lambda needs to call the function: it writes the function's log, and
    /// receives the messages that invoke it, in the name of the function's role.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html>
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
    fn needed_by_lambda(&self) -> Vec<Permission> {
        let log = resource(&self.properties["LoggingConfig"]["LogGroup"]);
        let log = ["logs:CreateLogStream", "logs:PutLogEvents"].map(|it| (it, log.clone()));
        let events = self.properties["Events"].as_mapping().into_iter().flatten();
        let sources = events.filter(|(_, event)| event["Type"] == "SQS");
        let sources = sources.map(|(_, event)| resource(&event["Properties"]["Queue"]));
        let receiving = sources.flat_map(|queue| {
            [
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
            ]
            .map(|it| (it, queue.clone()))
        });
        let all = log.into_iter().chain(receiving);
        all.map(|(action, resource)| Permission::new(action, resource))
            .collect()
    }

    /// What grants the function more than the statements of its role say.
    fn other_grants(&self) -> Option<String> {
        let name = self.name;
        if self.role.is_null() {
            // SAM would attach managed policies to the role that it makes.
            return Some(format!("{name} has no role of its own"));
        }
        let properties = self.role.as_mapping().into_iter().flatten();
        let mut names = properties.map(|(name, _)| name.as_str().unwrap());
        let other = names.find(|it| !["AssumeRolePolicyDocument", "Policies"].contains(it));
        other.map(|it| format!("the role of {name} has {it}"))
    }
}

/// Compares the functions' policies with the permissions that they were seen to need. Returns what
/// is wrong, in words.
fn differences(template: &Value, mut needed: Permissions) -> Vec<String> {
    let mut granted = Permissions::new();
    let mut differences = Vec::new();
    for function in functions(template) {
        let of_function = |it| (function.name.to_owned(), it);
        granted.extend(function.granted().map(of_function));
        needed.extend(function.needed_by_lambda().into_iter().map(of_function));
        differences.extend(function.other_grants());
    }
    let lacking = needed.difference(&granted);
    differences.extend(lacking.map(|(function, it)| format!("{function} lacks {it}")));
    let unused = granted.difference(&needed);
    differences.extend(unused.map(|(function, it)| format!("{function} does not use {it}")));
    differences
}

/// Runs the other tests in a process of their own. Returns the permissions that their calls needed,
/// and the tests' output.
fn record() -> (Permissions, String) {
    let path = format!(
        "{}/permissions-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    fs::write(&path, "").unwrap();
    let mut tests = Command::new(env::current_exe().unwrap());
    tests.env(RECORD_VARIABLE, &path);
    for name in ["permissions::"].iter().chain(&NOT_RECORDED) {
        tests.args(["--skip", name]);
    }
    let output = tests.output().unwrap();
    let recorded = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let permissions = recorded.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [function, action, resource] = words[..] else {
            panic!("{line}");
        };
        (function.to_owned(), Permission::new(action, resource))
    });
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    (permissions.collect(), output)
}

#[test]
#[ignore = "it runs all other tests once more: `cargo xtask test` does so"]
fn each_function_is_permitted_what_it_calls_and_nothing_else() {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
    let template = serde_norway::from_str(&fs::read_to_string(template).unwrap()).unwrap();
    let (recorded, output) = record();
    let differences = differences(&template, recorded);
    // A test that fails may make fewer calls.
    let failed: Vec<_> = output.lines().filter(|it| it.ends_with("FAILED")).collect();
    assert!(
        differences.is_empty(),
        "the roles in template.yaml are not what the functions need:\n{}\n{}",
        differences.join("\n"),
        failed.join("\n")
    );
}

const SMALL: &str = "
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/worker/
      Role: !GetAtt WorkerRole.Arn
      LoggingConfig: { LogGroup: !Ref WorkerLogs }
      Events: { Messages: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } } }
  WorkerRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {}
      Policies:
        - PolicyDocument:
            Statement:
              - Action: [logs:CreateLogStream, logs:PutLogEvents]
                Resource: !GetAtt WorkerLogs.Arn
              - Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes]
                Resource: !GetAtt Work.Arn
              - Action: dynamodb:Query
                Resource: [!GetAtt Things.Arn, !Sub '${Things.Arn}/index/due']
              - Action: execute-api:ManageConnections
                Resource: !Sub 'arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebSocketApi}/${StageName}/POST/@connections/*'
";

/// Compares the small template, in which `old` is replaced, with what its function needs.
fn small_differences(old: &str, new: &str) -> Vec<String> {
    assert!(SMALL.contains(old));
    let template = serde_norway::from_str(&SMALL.replacen(old, new, 1)).unwrap();
    let needed = [
        ("dynamodb:Query", "Things"),
        ("dynamodb:Query", "Things/index/due"),
        ("execute-api:ManageConnections", "POST/@connections/*"),
    ];
    let needed = needed.map(|(action, on)| ("worker".to_owned(), Permission::new(action, on)));
    differences(&template, needed.into())
}

#[test]
fn a_permission_that_is_missing_or_not_used_is_named() {
    assert_eq!(small_differences("", ""), [""; 0]);
    for (old, new, expected) in [
        (
            "/index/due",
            "/index/*",
            &[
                "worker lacks dynamodb:Query Things/index/due",
                "worker does not use dynamodb:Query Things/index/*",
            ][..],
        ),
        (
            "dynamodb:Query",
            "[dynamodb:Query, dynamodb:Scan]",
            &[
                "worker does not use dynamodb:Scan Things",
                "worker does not use dynamodb:Scan Things/index/due",
            ],
        ),
        (
            "sqs:DeleteMessage, ",
            "",
            &["worker lacks sqs:DeleteMessage Work"],
        ),
        (
            "POST/@",
            "*/@",
            &[
                "worker lacks execute-api:ManageConnections POST/@connections/*",
                "worker does not use execute-api:ManageConnections */@connections/*",
            ],
        ),
        (
            "AssumeRolePolicyDocument: {}",
            "ManagedPolicyArns: [arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole]",
            &["the role of worker has ManagedPolicyArns"],
        ),
    ] {
        assert_eq!(small_differences(old, new), expected);
    }
    let without = small_differences("Role: !GetAtt WorkerRole.Arn", "Policies: []");
    assert!(without.contains(&"worker has no role of its own".to_owned()));
}
