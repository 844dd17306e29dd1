//! A second deployment in the same account and region.

use bematic_admin::fetch_outputs;
use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;
use xtask::Workspace;

use crate::harness::Test;

const SECOND: &str = "second";

#[tokio::test]
#[ignore = "it needs the emulator for itself"]
async fn two_stacks_stand_side_by_side() {
    let test = Test::new("side-by-side").await;
    let (aws, workspace) = (&test.stack.aws, Workspace::find().expect("the workspace"));
    let sam = async |arguments: &[&str]| {
        let mut command: Command = workspace.sam_command(arguments).into();
        let command = command
            .args(["--stack-name", SECOND, "--config-env", "local"])
            .env("AWS_ENDPOINT_URL", &aws.aws_endpoint)
            .env("AWS_ACCESS_KEY_ID", &aws.aws_access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &aws.aws_secret_access_key)
            .env("AWS_REGION", &aws.region)
            .env("AWS_DEFAULT_REGION", &aws.region)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        let output = command.output().await.expect("the SAM CLI starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    };
    let execute_api = aws.aws_endpoint.trim_start_matches("http://");
    let execute_api = format!("LocalExecuteApi={execute_api}/_aws/execute-api");
    let parameters = [
        "SlackSigningSecret=secret",
        "SlackBotToken=xoxb-second",
        "SlackTeamId=T0SECOND",
        "SlackAppId=A0SECOND",
        &execute_api,
    ];
    sam(&[&["deploy", "--parameter-overrides"][..], &parameters].concat()).await;
    let config = aws.sdk_config().await;
    let first = fetch_outputs(&config, "bematic").await.expect("the first");
    let second = fetch_outputs(&config, SECOND).await.expect("the second");
    assert_eq!(first.len(), second.len());
    // The outputs of the audit log are parameters; all others name resources.
    let resources = first.iter().filter(|(name, _)| !name.ends_with("Days"));
    for (name, value) in resources {
        assert_ne!(value, &second[name], "{name} is of both stacks");
    }
    let schedules = test
        .call_aws("scheduler", Method::GET, "/schedules", String::new())
        .await;
    let schedules: Value = schedules.json().await.expect("schedules");
    let names = schedules["Schedules"].as_array().into_iter().flatten();
    let mut names: Vec<_> = names.filter_map(|it| it["Name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bematic-sweeper", "second-sweeper"]);
    sam(&["delete", "--no-prompts"]).await;
}
