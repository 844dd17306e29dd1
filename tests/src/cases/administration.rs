//! `bematic`, as an administrator calls it: without a checkout.

use std::path::Path;

use bematic_local::stack::STACK_NAME;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{HandshakeHeaders, Test, TestAgent, TypeSpelling, binary};

/// Calls `bematic` from outside of any checkout; its answer, or else what it complains of.
async fn bematic(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary("bematic"));
    command.args(arguments).current_dir(folder.path());
    command.env_clear().envs(environment.iter().copied());
    let output = command.output().await.expect("bematic runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        // A warning would say that the audit log does not have the identity.
        assert_eq!(text(&output.stderr), "");
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Calls it for the local stack.
async fn local(arguments: &[&str]) -> Result<String, String> {
    let file = std::env::var("BEMATIC_STACK").expect("a stack");
    let file = Path::new(&file).canonicalize().expect("its file");
    let named = ["--stack-file", file.to_str().expect("a path")];
    bematic(&[arguments, &named].concat(), &[]).await
}

fn json(answer: Result<String, String>) -> Value {
    serde_json::from_str(&answer.expect("an answer")).expect("JSON")
}

#[tokio::test]
async fn a_key_opens_a_connection_until_it_is_revoked() {
    let test = Test::new("administered").await;
    let id = format!("{}-new", test.agent_id);
    let created = json(local(&["agent", "create", &id, "--json"]).await);
    assert_eq!(created["agentId"], id.as_str(), "{created}");
    let fields = created.as_object().expect("an object");
    assert_eq!(fields.len(), 3, "{created}");
    let key = created["apiKey"].as_str().expect("a key");

    let complaint = local(&["agent", "create", &id]).await.unwrap_err();
    assert!(complaint.contains("--add-key"), "{complaint}");

    let handshake = HandshakeHeaders::with_key(&id, key);
    let connected = TestAgent::connect(
        &test.stack.websocket_url,
        &handshake,
        TypeSpelling::Canonical,
    )
    .await;
    let mut connected = connected.expect("the key is accepted");
    connected.ping_and_expect_pong().await;
    let keys = json(local(&["agent", "keys", &id, "--json"]).await);
    assert_eq!(keys[0]["keyId"], created["keyId"], "{keys}");
    assert!(keys[0]["lastUsedAt"].is_u64(), "{keys}");
    let rotated = json(local(&["agent", "rotate", &id, "--json"]).await);
    let prefix = &created["keyId"].as_str().expect("an id")[..6];
    let revoked = json(local(&["--json", "agent", "revoke", &id, "--key", prefix]).await);
    assert_eq!(revoked["keys"], 1, "{revoked}");
    connected.expect_close().await;
    let again = TestAgent::connect(
        &test.stack.websocket_url,
        &handshake,
        TypeSpelling::Canonical,
    );
    assert!(again.await.is_err(), "the key is revoked");
    let key = rotated["apiKey"].as_str().expect("a key");
    let handshake = HandshakeHeaders::with_key(&id, key);
    let again = TestAgent::connect(
        &test.stack.websocket_url,
        &handshake,
        TypeSpelling::Canonical,
    );
    drop(again.await.expect("the new key is accepted"));
    let complaint = local(&["agent", "revoke", "nobody"]).await.unwrap_err();
    assert!(complaint.contains("bematic agent list"), "{complaint}");
}

#[tokio::test]
async fn a_deleted_project_takes_no_more_tasks() {
    let test = Test::new("deleted").await;
    let channel = test.channel.id.as_str();
    let deleted = json(local(&["project", "delete", "--channel", channel, "--json"]).await);
    assert_eq!(deleted["channelId"], channel, "{deleted}");
    let listed = json(local(&["project", "list", "--json"]).await);
    let projects = listed.as_array().expect("a list");
    assert!(
        projects
            .iter()
            .all(|project| project["channelId"] != channel),
        "{listed}"
    );
    let answer = test.channel.command("/bm run hello").await;
    assert!(answer.contains("no project"), "{answer}");
    let complaint = local(&["project", "delete", "--channel", channel])
        .await
        .unwrap_err();
    assert!(complaint.contains("has no project"), "{complaint}");
}

#[tokio::test]
async fn an_agents_breaker_gets_settings_and_loses_them_again() {
    let test = Test::new("settings").await;
    let breaker = async |arguments: &[&str]| {
        let call = [&["agent", "breaker", &test.agent_id, "--json"], arguments].concat();
        json(local(&call).await)
    };
    let set = breaker(&["--consecutive-failures", "3"]).await;
    assert_eq!(set["consecutiveFailureThreshold"], 3, "{set}");
    assert_eq!(breaker(&[]).await, set);
    assert_eq!(breaker(&["--defaults"]).await, Value::Null);
    assert_eq!(breaker(&[]).await, Value::Null);
}

#[tokio::test]
async fn a_stack_on_aws_is_found_by_its_name() {
    let test = Test::new("by-name").await;
    let environment = [
        ("AWS_ENDPOINT_URL", test.stack.aws.aws_endpoint.as_str()),
        ("AWS_REGION", test.stack.aws.region.as_str()),
        (
            "AWS_ACCESS_KEY_ID",
            test.stack.aws.aws_access_key_id.as_str(),
        ),
        (
            "AWS_SECRET_ACCESS_KEY",
            test.stack.aws.aws_secret_access_key.as_str(),
        ),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let call = ["agent", "list", "--json", "--stack", STACK_NAME];
    let listed = json(bematic(&call, &environment).await);
    let agents = listed.as_array().expect("a list");
    let own = |agent: &Value| agent["agentId"] == test.agent_id.as_str();
    assert!(agents.iter().any(own), "{listed}");
    let call = [
        "dead-letters",
        "list",
        "--stack",
        STACK_NAME,
        "--queue",
        "batch",
    ];
    let listed = bematic(&call, &environment).await.expect("a list");
    assert!(listed.starts_with("batch"), "{listed}");
    let call = ["agent", "list", "--stack", STACK_NAME];
    let made_up = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let made_up = [&environment[..], &made_up].concat();
    let complaint = bematic(&call, &made_up).await.unwrap_err();
    assert!(complaint.contains("awsAccessKeyId"), "{complaint}");
    let call = ["agent", "list", "--stack", "nothing-here"];
    let complaint = bematic(&call, &environment).await.unwrap_err();
    assert!(complaint.contains("nothing-here"), "{complaint}");
}
