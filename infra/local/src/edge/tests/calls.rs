//! Calls of functions to AWS.

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;

use super::cloud::Event;
use super::{ACCESS_KEY_ID, Fixture};

const CONNECTION: &str = "/_aws/execute-api/api/prod/@connections/c1";
const TARGET: &str = "x-amz-target";
const FUNCTION_KEY: &str = "ASIA00FF";

impl Fixture {
    /// A request that a function has signed.
    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.post_as(FUNCTION_KEY, path)
    }

    fn post_as(&self, key: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.edge.endpoint());
        let scope = "20260101/us-east-1/dynamodb/aws4_request";
        let signature = format!("AWS4-HMAC-SHA256 Credential={key}/{scope}");
        reqwest::Client::new()
            .post(url)
            .header("authorization", signature)
    }

    async fn status(&self, target: &'static str) -> u16 {
        let call = self.post("/").header(TARGET, target).body("{}");
        call.send().await.expect("an answer").status().as_u16()
    }

    fn always(&self) {
        self.edge.fail_aws_calls(42, 1.0);
    }
}

#[tokio::test]
async fn a_call_is_handed_on_and_its_answer_back() {
    let mut fixture = Fixture::start().await;
    let answer = fixture
        .post("/queue?a=%20b")
        .body("{}")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["x-cloud"], "yes");
    assert_eq!(answer.text().await.expect("a text"), "answer");
    let call = Event::Call {
        method: Method::POST,
        uri: "/queue?a=%20b".to_owned(),
        body: Bytes::from_static(b"{}"),
    };
    assert_eq!(fixture.cloud.next().await, call);
}

#[tokio::test]
async fn a_post_to_a_connection_has_at_most_128_kb() {
    let mut fixture = Fixture::start().await;
    let post = fixture.post(CONNECTION).body("x".repeat(128 * 1024));
    assert_eq!(post.send().await.expect("an answer").status(), 202);
    assert!(matches!(fixture.cloud.next().await, Event::Call { .. }));

    for bytes in [128 * 1024 + 1, 2 * 1024 * 1024] {
        let post = fixture.post(CONNECTION).body("x".repeat(bytes));
        let answer = post.send().await.expect("an answer");
        assert_eq!(answer.status(), 413, "{bytes} bytes");
        assert_eq!(
            answer.headers()["x-amzn-errortype"],
            "PayloadTooLargeException"
        );
    }
    assert!(fixture.cloud.nothing_more());
}

#[tokio::test]
async fn half_of_the_failing_calls_reach_the_cloud_and_all_are_counted() {
    let mut fixture = Fixture::start().await;
    fixture.always();
    let mut made = 0;
    for _ in 0..20 {
        let call = fixture
            .post("/")
            .header(TARGET, "DynamoDB_20120810.PutItem");
        let answer = call.send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["__type"], "Disturbed");
        let text = body["message"].as_str().expect("a text");
        made += usize::from(text.contains("after it was made"));
    }
    let counts = fixture.edge.call_counts();
    assert_eq!((counts.made, counts.failed), (20, 20));
    assert!((4..=16).contains(&made), "{made}");
    for _ in 0..made {
        assert!(matches!(fixture.cloud.next().await, Event::Call { .. }));
    }
    assert!(fixture.cloud.nothing_more());
}

#[tokio::test]
async fn only_calls_of_functions_fail_and_none_once_it_is_switched_off() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.status("AmazonSQS.SendMessage").await, 202);
    fixture.always();
    assert_eq!(fixture.status("AmazonSQS.SendMessage").await, 400);
    assert_eq!(fixture.status("Logs_20140328.PutLogEvents").await, 202);
    let webhook = fixture.post("/_aws/execute-api/api/$default/slack/commands");
    assert_eq!(webhook.send().await.expect("an answer").status(), 202);
    // Nor do those of tools, which look at what the functions have done.
    for key in [ACCESS_KEY_ID, "test"] {
        let call = fixture
            .post_as(key, "/")
            .header(TARGET, "DynamoDB_20120810.Scan");
        assert_eq!(call.send().await.expect("an answer").status(), 202, "{key}");
    }
    fixture.edge.fail_aws_calls(42, 0.0);
    assert_eq!(fixture.status("AmazonSQS.SendMessage").await, 202);
    assert_eq!(fixture.edge.call_counts().made, 3);
}

#[tokio::test]
async fn a_refused_call_is_told_where_the_credentials_are_in_the_services_protocol() {
    let fixture = Fixture::start().await;
    for (kind, code) in [
        (
            "application/x-amz-json-1.1",
            r#""__type":"UnrecognizedClientException""#,
        ),
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            "<Code>UnrecognizedClientException</Code>",
        ),
    ] {
        let call = fixture.post_as("test", "/").header("content-type", kind);
        let answer = call.send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "{kind}");
        let text = answer.text().await.expect("a text");
        assert!(
            text.contains(code) && text.contains("awsAccessKeyId"),
            "{text}"
        );
    }
}
