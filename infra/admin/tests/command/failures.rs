//! The errors of `bematic` when it cannot find or use a deployment.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Runs `bematic` in `folder` with only this environment, and returns its error output.
fn failure(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bematic"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_a_stack_the_error_says_how_to_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = failure(folder.path(), &["agent", "list"], &[]);
    assert!(
        error.contains("--stack NAME") && error.contains("--stack-file FILE"),
        "{error}"
    );
    let error = failure(
        folder.path(),
        &["agent", "list", "--stack-file", "gone.json"],
        &[],
    );
    assert!(
        error.contains("gone.json") && error.contains("cargo xtask up"),
        "{error}"
    );
    let error = failure(
        folder.path(),
        &["agent", "list"],
        &[("BEMATIC_STACK", "other.json")],
    );
    assert!(error.contains("other.json"), "{error}");
    let both = ["agent", "list", "--stack", "a", "--stack-file", "b"];
    let error = failure(folder.path(), &both, &[]);
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn a_local_stack_that_does_not_answer_is_reported_as_ended() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let json = format!(
        r#"{{"awsEndpoint":"http://{free}","region":"us-east-1","queues":{{}},
        "tables":{{"tasks":"t","agents":"a","keys":"k"}},"whatever":1}}"#
    );
    let dir = folder.path().join("target/local");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("stack.json"), json).unwrap();
    let error = failure(folder.path(), &["agent", "list"], &[]);
    assert!(error.contains("does it still run?"), "{error}");
}

#[test]
fn without_a_region_or_credentials_the_error_names_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let call = ["agent", "list", "--stack", "bematic"];
    let error = failure(folder.path(), &call, &[]);
    assert!(error.contains("AWS_REGION"), "{error}");
    let error = failure(folder.path(), &call, &[("AWS_REGION", "eu-west-1")]);
    assert!(error.contains("AWS_PROFILE"), "{error}");
}

/// Serves one request, and returns it.
fn answer_once(status: &'static str, xml: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&request).contains("StackName=") {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the request ended early");
            request.extend(&part[..read]);
        }
        let length = xml.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{xml}"
        )
        .unwrap();
        String::from_utf8(request).unwrap()
    });
    (endpoint, serving)
}

fn on_aws(status: &'static str, xml: &'static str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, serving) = answer_once(status, xml);
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let call = ["agent", "list", "--stack", "my stack"];
    let error = failure(folder.path(), &call, &environment);
    (error, serving.join().unwrap())
}

#[test]
fn a_missing_stack_is_named_and_the_request_is_signed() {
    let xml = "<ErrorResponse><Error><Code>ValidationError</Code>\
               <Message>Stack with id my stack does not exist</Message></Error></ErrorResponse>";
    let (error, request) = on_aws("400 Bad Request", xml);
    assert!(
        error.contains("my stack does not exist") && error.contains("eu-west-1"),
        "{error}"
    );
    assert!(request.contains("Action=DescribeStacks") && request.contains("StackName=my+stack"));
    let credential = "AWS4-HMAC-SHA256 Credential=AKID/";
    assert!(request.contains(credential), "{request}");
    assert!(
        request.contains("/eu-west-1/cloudformation/aws4_request"),
        "{request}"
    );
}

#[test]
fn a_stack_that_is_not_a_deployment_of_bematic_is_refused() {
    let (error, _) = on_aws("200 OK", "<Outputs><member></member></Outputs>");
    assert!(error.contains("not a deployment of Bematic"), "{error}");
}
