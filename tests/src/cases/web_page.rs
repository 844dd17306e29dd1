//! What a web page of another site can do to a running stack, from a browser on the developer's
//! machine: nothing. And what a tool can do that has not read the stack's credentials.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bematic_admin::{local_sdk_config, send_signed};
use bematic_local::stack::{STACK_NAME, StackFile};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Request;

use crate::harness::{LIMIT, Test, Webhook, listening_addresses, unique};

const FUNCTIONS: &str = "/2015-03-31/functions";
const SITE: &str = "https://evil.example";

/// Sends a request as a browser writes it, and returns the status of the answer.
async fn send(
    to: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<String> {
    let is_host_given = headers.iter().any(|(name, _)| *name == "Host");
    let host = if is_host_given {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let (headers, length) = (headers.concat(), body.len());
    let request = format!(
        "{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut socket = TcpStream::connect(to).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = [0; "HTTP/1.1 403".len()];
    socket.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Fails unless a request is answered with 403, or nothing listens there any more, as where an
/// execution environment has ended.
async fn assert_refused(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) {
    let answered = timeout(LIMIT, send(to, line, headers, body)).await;
    match answered.expect("an answer in time") {
        Ok(answer) => assert_eq!(answer, "HTTP/1.1 403", "{to} {line} {headers:?}"),
        Err(error) => assert!(
            !listening_addresses().contains(&to),
            "{to} {line} {headers:?}: {error}"
        ),
    }
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_at_every_port_and_nothing_is_run() {
    let test = Test::new("page-of-another-site").await;
    let mut agent = test.connect().await;
    let name = format!("evil-{}", unique());
    let create = json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": "arn:aws:iam::000000000000:role/any", "Code": { "ZipFile": "UEsFBg==" },
    });
    let say = json!({
        "channel": test.channel.id, "user": test.stack.admin_user_id, "text": "/bm run evil",
    });
    let requests = [
        (format!("POST {FUNCTIONS}"), create.to_string()),
        (
            format!("POST {FUNCTIONS}/{STACK_NAME}-sweeper/invocations"),
            "{}".to_owned(),
        ),
        // With the key that the emulator takes from everybody.
        (
            format!("POST {FUNCTIONS}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F1"),
            create.to_string(),
        ),
        ("POST /_ministack/reset".to_owned(), String::new()),
        ("POST /control/say".to_owned(), say.to_string()),
        (
            "GET /2018-06-01/runtime/invocation/next".to_owned(),
            String::new(),
        ),
        (
            "POST /2018-06-01/runtime/init/error".to_owned(),
            "{}".to_owned(),
        ),
    ];
    let ports = listening_addresses();
    for url in [&test.stack.aws.aws_endpoint, &test.stack.slack_url] {
        let known = ports.iter().any(|port| url.ends_with(&port.to_string()));
        assert!(known, "{url} is not among {ports:?}");
    }
    for port in ports {
        assert!(
            port.ip().is_loopback(),
            "{port} can be reached from other machines"
        );
        let host = format!("evil.example:{}", port.port());
        for (line, body) in &requests {
            for page in [
                &[("Origin", SITE), ("Content-Type", "text/plain")][..],
                &[("Origin", "null"), ("Content-Type", "text/plain")],
                // A page whose own name now resolves to this machine.
                &[
                    ("Host", host.as_str()),
                    ("Content-Type", "application/json"),
                ],
                // An image or a script.
                &[
                    ("Sec-Fetch-Site", "cross-site"),
                    ("Sec-Fetch-Mode", "no-cors"),
                ],
            ] {
                assert_refused(port, line, page, body).await;
            }
            let path = line.split_once(' ').expect("a path").1;
            let preflight = [
                ("Origin", SITE),
                ("Access-Control-Request-Method", "POST"),
                (
                    "Access-Control-Request-Headers",
                    "authorization,content-type",
                ),
            ];
            assert_refused(port, &format!("OPTIONS {path}"), &preflight, "").await;
        }
        let (_, path) = test.stack.websocket_url["ws://".len()..]
            .split_once('/')
            .expect("a path");
        let handshake = [
            ("Origin", SITE),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_refused(port, &format!("GET /{path}"), &handshake, "").await;
    }
    let tasks = test.channel.command("/bm tasks").await;
    assert!(tasks.contains("No task yet"), "{tasks}");
    let function = async |name: &str| {
        let path = format!("{FUNCTIONS}/{name}");
        let found = test
            .call_aws("lambda", Method::GET, &path, String::new())
            .await;
        found.status().as_u16()
    };
    assert_eq!(function(&name).await, 404);
    assert_eq!(function(&format!("{STACK_NAME}-sweeper")).await, 200);
    // No execution environment has lost an event, nor ended.
    let id = test.channel.run("say hello").await;
    let task = agent.accept_next_offer().await;
    agent.complete(&task, "hello").await;
    test.channel.card(&id, "Completed").await;
}

#[tokio::test]
async fn a_tool_with_made_up_credentials_sees_the_data_and_runs_nothing() {
    let test = Test::new("made-up").await;
    let aws = &test.stack.aws;
    let config =
        local_sdk_config(aws.aws_endpoint.clone(), aws.region.clone(), "test", "test").await;
    let call = async |service: &str, path: &str, headers: BTreeMap<&str, &str>, body: Value| {
        let mut request = Request::post(format!("{}{path}", aws.aws_endpoint));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body.to_string()).expect("a request");
        let answer = send_signed(&config, service, request)
            .await
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.text().await.expect("a text"),
        )
    };
    let queue = aws.queues["dispatch"].as_str();
    for (service, target, body) in [
        (
            "dynamodb",
            "DynamoDB_20120810.DescribeTable",
            json!({ "TableName": aws.tables.tasks }),
        ),
        (
            "sqs",
            "AmazonSQS.GetQueueAttributes",
            json!({ "QueueUrl": queue, "AttributeNames": ["All"] }),
        ),
        ("logs", "Logs_20140328.DescribeLogGroups", json!({})),
    ] {
        let headers = [
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.0"),
        ];
        let (code, answer) = call(service, "/", headers.into(), body).await;
        assert_eq!(code, 200, "{target}: {answer}");
    }
    let invoke = format!("{FUNCTIONS}/{STACK_NAME}-sweeper/invocations");
    for path in [FUNCTIONS, &invoke] {
        let (code, answer) = call("lambda", path, BTreeMap::new(), json!({})).await;
        assert_eq!(code, 403, "{path}: {answer}");
        assert!(answer.contains("awsAccessKeyId"), "{answer}");
    }
}

#[tokio::test]
async fn keys_that_everybody_knows_open_nothing() {
    let test = Test::new("known-keys").await;
    // Those of every local stack, in earlier versions.
    let url = format!("{}/auth.test", test.stack.slack_api_url);
    let call = reqwest::Client::new()
        .post(url)
        .bearer_auth("xoxb-bematic-local");
    let answer: Value = call
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(answer["error"], "invalid_auth", "{answer}");

    let known = StackFile {
        slack_signing_secret: "bematic-local-signing-secret".to_owned(),
        ..test.stack.clone()
    };
    let webhook = Webhook::new(&known, &test.channel);
    let request = webhook.command("run evil", "known", Duration::ZERO);
    let (status, body) = webhook.send(&request).await;
    assert_eq!(
        (status, &body["error"]),
        (401, &json!("SLACK_SIGNATURE_MISMATCH")),
        "{body}"
    );
}
