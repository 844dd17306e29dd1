//! The audit records of the commands: of every change, with each outcome, and of nothing else.

use async_trait::async_trait;
use bematic::audit::{AuditActor, AuditOutcome};
use bematic_admin::cli::Cli;
use clap::CommandFactory as _;
use fake_aws::{CALLER_ARN, Call, Failure, FailurePoint, Hook};
use serde_json::{Value, json};

use crate::served::Served;

/// What a command leaves in the audit log.
#[derive(Debug, Clone, Copy)]
enum Recorded {
    /// Nothing: it only reads.
    Nothing,
    /// A change.
    Done(Kept),
    /// A refusal with this code.
    Refused(&'static str, Kept),
}

/// How long a record is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    /// As commands are.
    Usual,
    /// As security events are.
    Security,
}

use Kept::{Security, Usual};
use Recorded::{Done, Nothing, Refused};

/// Commands in an order in which they can be given, and what each leaves. The action of a record is what
/// is typed before the bar.
const COMMANDS: [(&str, Recorded); 30] = [
    ("agent create box", Done(Security)),
    ("agent create box", Refused("AGENT_EXISTS", Security)),
    ("agent create box --add-key", Done(Security)),
    ("agent create any", Refused("RESERVED_NAME", Security)),
    ("agent list", Nothing),
    ("agent keys box", Nothing),
    ("agent keys nobody", Nothing),
    ("agent rotate box | --overlap 1h", Done(Security)),
    ("agent rotate nobody", Refused("UNKNOWN_AGENT", Security)),
    ("agent revoke nobody", Refused("UNKNOWN_AGENT", Security)),
    ("agent revoke box", Done(Security)),
    (
        "agent revoke box --key 0123",
        Refused("NO_SUCH_KEY", Security),
    ),
    ("agent breaker box", Nothing),
    ("agent breaker box | --consecutive-failures 3", Done(Usual)),
    ("agent breaker box --defaults", Done(Usual)),
    (
        "agent breaker box | --failure-percent 200",
        Refused("INVALID_SETTINGS", Usual),
    ),
    (
        "agent breaker nobody --defaults",
        Refused("UNKNOWN_AGENT", Usual),
    ),
    (
        "project create --channel C1 --agent box | --name web --local-path /private",
        Done(Usual),
    ),
    (
        "project create --channel C1 --agent box | --name web --local-path /private",
        Refused("PROJECT_EXISTS", Usual),
    ),
    (
        "project create --channel C1 --agent box --replace | --name web --local-path /private",
        Done(Security),
    ),
    (
        "project create --channel C2 --agent any --external-users | --name web --local-path /private",
        Done(Security),
    ),
    (
        "project create --channel C3 --agent nobody | --name web --local-path /private",
        Refused("UNKNOWN_AGENT", Usual),
    ),
    (
        "project edit --channel C1 --external-users true",
        Done(Security),
    ),
    (
        "project edit --channel C1 --agent any | --system-prompt private",
        Done(Usual),
    ),
    (
        "project edit --channel C1 | --max-budget -1",
        Refused("INVALID_PROJECT", Usual),
    ),
    (
        "project edit --channel C9 | --model m",
        Refused("NO_PROJECT", Usual),
    ),
    ("project list", Nothing),
    ("project delete --channel C1", Done(Security)),
    ("dead-letters list", Nothing),
    ("dead-letters redrive --queue batch", Done(Usual)),
];

/// Returns the command without the bar, and the action of its record.
fn split(command: &str) -> (String, &str) {
    let action = command.split(" | ").next().unwrap();
    (command.replace(" | ", " ").replace(" -1", "=-1"), action)
}

#[tokio::test]
async fn each_change_is_recorded_with_its_outcome_and_nothing_else_is() {
    let stack = Served::start(&json!({})).await;
    let mut keys = Vec::new();
    let mut known = 0;
    for (command, expected) in COMMANDS {
        let (typed, action) = split(command);
        let ended = stack.run(&format!("{typed} --json")).await;
        if let Ok(Value::Object(output)) = serde_json::from_str(&ended.output) {
            keys.extend(output.get("apiKey").cloned());
        }
        let log = stack.audit_log().await;
        let (outcome, code, kept) = match expected {
            Nothing => {
                assert_eq!(log.len(), known, "{command}: {log:?}");
                continue;
            }
            Done(kept) => (AuditOutcome::Done, None, kept),
            Refused(code, kept) => (AuditOutcome::Refused, Some(code), kept),
        };
        known += 1;
        assert_eq!(log.len(), known, "{command}: {ended:?}");
        let record = &log[0];
        assert_eq!(record.action, action, "{ended:?}");
        assert_eq!(record.outcome, outcome, "{command}: {ended:?}");
        assert_eq!(record.code.as_deref(), code, "{command}: {ended:?}");
        assert_eq!(record.security, kept == Security, "{command}");
        assert_eq!(ended.succeeded, outcome == AuditOutcome::Done, "{ended:?}");
        let AuditActor::Administrator {
            machine,
            aws_identity,
        } = &record.actor
        else {
            panic!("{record:?}")
        };
        let names = machine.split_once('@');
        let are_there = names.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        assert!(are_there, "{machine}");
        assert_eq!(aws_identity.as_deref(), Some(CALLER_ARN));
    }
    assert_eq!(keys.len(), 3, "{keys:?}");
    for item in stack.audit_items() {
        let days = if item["security"] == true { 365 } else { 90 };
        assert_eq!(days_kept(&item), days, "{item}");
        let text = item.to_string();
        let is_in = |key: &Value| text.contains(key.as_str().unwrap().trim_start_matches("bm_"));
        assert!(
            !keys.iter().any(is_in) && !text.contains("private"),
            "{text}"
        );
    }
}

/// Returns for how many days an item of the audit log is kept.
fn days_kept(item: &Value) -> u64 {
    let at = item["at"].as_u64().unwrap() / 1000;
    (item["expiresAt"].as_u64().unwrap() - at) / 86_400
}

#[test]
fn the_walk_visits_every_command() {
    let mut unvisited = Vec::new();
    let mut pending = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = pending.pop() {
        let is_visited = || COMMANDS.iter().any(|it| it.0.starts_with(&path));
        if !command.has_subcommands() && !is_visited() {
            unvisited.push(path.clone());
        }
        let below = command.get_subcommands().cloned();
        pending.extend(below.map(|it| (format!("{path} {}", it.get_name()).trim().to_owned(), it)));
    }
    assert_eq!(unvisited, [""; 0]);
}

#[tokio::test]
async fn records_are_kept_as_long_as_the_deployment_says() {
    let days = json!({ "auditDays": 7, "securityAuditDays": 14 });
    let stack = Served::start(&days).await;
    stack.run("agent create box").await;
    stack.run("dead-letters redrive").await;
    let mut days: Vec<_> = stack.audit_items().iter().map(days_kept).collect();
    days.sort_unstable();
    assert_eq!(days, [7, 14]);
}

/// Fails every call with this name and resource.
struct Broken(&'static str);

#[async_trait]
impl Hook for Broken {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        let is_broken = call.to_string() == self.0;
        is_broken.then_some((FailurePoint::Before, Failure::Internal))
    }
}

#[tokio::test]
async fn a_key_is_printed_although_its_record_cannot_be_stored_and_the_command_fails() {
    let stack = Served::start(&json!({})).await;
    assert!(stack.run("agent create box").await.succeeded);
    stack.aws.add_hook(Broken("PutItem AgentsTable"));
    let ended = stack.run("agent rotate box").await;
    assert!(!ended.succeeded, "{ended:?}");
    let key = ended.output.lines().find(|it| it.starts_with("key "));
    assert!(key.is_some_and(|it| it.contains("bm_")), "{ended:?}");
    let expected = "the command was executed, but is not in the audit log: DynamoDB PutItem failed";
    assert!(ended.errors.contains(expected), "{ended:?}");
    assert_eq!(stack.audit_log().await.len(), 1);
    // A refusal that cannot be recorded is still told.
    let ended = stack.run("agent rotate nobody").await;
    assert!(
        ended.errors.contains("there is no agent nobody"),
        "{ended:?}"
    );
    assert!(
        ended.errors.contains("this is not in the audit log"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_identity_that_aws_does_not_name_is_recorded_as_unknown_with_a_warning() {
    let stack = Served::start(&json!({})).await;
    stack.aws.add_hook(Broken("GetCallerIdentity"));
    let ended = stack.run("agent create box").await;
    assert!(ended.succeeded && ended.output.contains("bm_"), "{ended:?}");
    assert!(
        ended
            .errors
            .contains("warning: the audit log records an unknown identity"),
        "{ended:?}"
    );
    let log = stack.audit_log().await;
    let [record] = &log[..] else {
        panic!("{log:?}")
    };
    let unknown = matches!(
        &record.actor,
        AuditActor::Administrator {
            aws_identity: None,
            ..
        }
    );
    assert!(unknown, "{record:?}");
}

#[tokio::test]
async fn a_change_that_fails_is_recorded_as_failed() {
    let stack = Served::start(&json!({})).await;
    stack.aws.add_hook(Broken("PutItem KeysTable"));
    let ended = stack.run("agent create box").await;
    assert!(!ended.succeeded && ended.output.is_empty(), "{ended:?}");
    let log = stack.audit_log().await;
    let [record] = &log[..] else {
        panic!("{log:?}")
    };
    assert_eq!(record.outcome, AuditOutcome::Failed);
    assert_eq!(record.code.as_deref(), Some("STORE_UNAVAILABLE"));
}

#[tokio::test]
async fn a_command_asks_for_its_identity_once_and_only_if_it_changes_something() {
    let stack = Served::start(&json!({})).await;
    let asked = || {
        let calls = stack.aws.calls().take();
        let asks = |call: &&Call| call.operation == "GetCallerIdentity";
        calls.iter().filter(asks).count()
    };
    stack.run("agent create box").await;
    assert_eq!(asked(), 1);
    stack.run("agent list").await;
    assert_eq!(asked(), 0);
}
