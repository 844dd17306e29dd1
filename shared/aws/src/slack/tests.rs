//! The client against a small HTTP server that answers what a test says and keeps what it was asked.

use std::time::Duration;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Response, header},
};
use bematic::slack::{
    Message,
    api::{Destination, SlackApi, SlackError},
};
use bematic_protocol::{ids::Subject, time::Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{ClientError, SlackClient};

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";
const TOKEN: &str = "xoxb-secret";

struct Request {
    method: String,
    token: String,
    body: String,
}

impl Request {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Status, `Retry-After` and body.
type Answer = (u16, Option<&'static str>, String);

#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    fn answering(answers: &[Value]) -> Self {
        let fake = Self::default();
        for answer in answers {
            fake.then(200, None, &answer.to_string());
        }
        fake
    }

    fn then(&self, status: u16, retry_after: Option<&'static str>, body: &str) {
        let answer = (status, retry_after, body.to_owned());
        self.answers.lock().unwrap().push_back(answer);
    }

    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    async fn client(&self) -> SlackClient {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/api/{method}", axum::routing::post(answer))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        client(&url)
    }
}

fn client(url: &str) -> SlackClient {
    SlackClient::new(url, SecretString::from(TOKEN), Duration::from_secs(5)).unwrap()
}

async fn answer(
    State(fake): State<Fake>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<String> {
    let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let request = Request {
        method,
        token,
        body,
    };
    fake.requests.lock().unwrap().push(request);
    let (status, retry_after, body) = fake.answers.lock().unwrap().pop_front().unwrap();
    let mut response = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response.body(body).unwrap()
}

fn to(thread_ts: Option<&str>) -> Destination {
    Destination {
        channel: "C1".parse().unwrap(),
        thread_ts: thread_ts.map(|ts| ts.parse().unwrap()),
    }
}

fn task() -> Subject {
    Subject::Task(TASK.parse().unwrap())
}

async fn failure(fake: Fake) -> SlackError {
    let client = fake.client().await;
    let message = Message::plain("hi");
    let error = client.post(&to(None), &message, None).await.unwrap_err();
    assert_eq!(fake.requests().len(), 1, "the client tries once");
    error
}

#[tokio::test]
async fn a_card_is_posted_with_its_marker() {
    let fake = Fake::answering(&[json!({ "ok": true, "ts": "1.5", "channel": "C1" })]);
    let client = fake.client().await;
    let message = Message::plain("hi");
    let ts = client.post(&to(Some("1.1")), &message, Some(task())).await;
    assert_eq!(ts.unwrap().as_str(), "1.5");
    let requests = fake.requests();
    assert_eq!(requests[0].method, "chat.postMessage");
    assert_eq!(requests[0].token, format!("Bearer {TOKEN}"));
    assert_eq!(
        requests[0].json(),
        json!({
            "channel": "C1", "thread_ts": "1.1", "text": "hi", "parse": "none",
            "link_names": false, "unfurl_links": false, "unfurl_media": false,
            "metadata": { "event_type": "bematic_task", "event_payload": { "task_id": TASK } },
        })
    );
}

#[tokio::test]
async fn an_update_replaces_text_and_blocks_and_leaves_the_marker() {
    let fake = Fake::answering(&[json!({ "ok": true, "ts": "1.5" })]);
    let client = fake.client().await;
    let (channel, ts) = ("C1".parse().unwrap(), "1.5".parse().unwrap());
    let message = Message::plain("hi");
    client.update(&channel, &ts, &message).await.unwrap();
    let requests = fake.requests();
    assert_eq!(requests[0].method, "chat.update");
    assert_eq!(
        requests[0].json(),
        json!({
            "channel": "C1", "ts": "1.5", "text": "hi", "blocks": [], "parse": "none",
            "link_names": false,
        })
    );
}

#[tokio::test]
async fn an_ephemeral_message_names_its_reader() {
    let fake = Fake::answering(&[json!({ "ok": true, "message_ts": "1.5" })]);
    let client = fake.client().await;
    let user = "U1".parse().unwrap();
    let (to, message) = (to(None), Message::plain("hi"));
    client.post_ephemeral(&to, &user, &message).await.unwrap();
    let requests = fake.requests();
    assert_eq!(requests[0].method, "chat.postEphemeral");
    assert_eq!(requests[0].json()["user"], "U1");
}

fn posted(ts: &str, task: &str) -> Value {
    json!({ "ts": ts, "type": "message", "metadata": {
        "event_type": "bematic_task", "event_payload": { "task_id": task } } })
}

#[tokio::test]
async fn a_lost_card_is_found_by_its_marker_on_a_later_page() {
    let other = "0198c0de-0000-7000-8000-000000000002";
    let odd = json!({ "metadata": { "event_type": "bematic_task", "event_payload": [] } });
    let fake = Fake::answering(&[
        json!({ "ok": true, "messages": [odd, { "ts": "1.9" }, posted("1.8", other)],
            "response_metadata": { "next_cursor": "next=" } }),
        json!({ "ok": true, "messages": [posted("1.5", TASK)] }),
    ]);
    let client = fake.client().await;
    let since = Timestamp::from_millis(1_700_000_060_000);
    let found = client.find_marked(&to(None), task(), since).await.unwrap();
    assert_eq!(found, "1.5".parse().ok());
    let requests = fake.requests();
    assert_eq!(requests[0].method, "conversations.history");
    assert_eq!(
        requests[0].body,
        "channel=C1&oldest=1700000000.000000&limit=200&include_all_metadata=true"
    );
    assert!(requests[1].body.ends_with("&cursor=next%3D"));
}

#[tokio::test]
async fn a_card_that_is_nowhere_is_none_in_a_thread_too() {
    let fake = Fake::answering(&[json!({ "ok": true, "messages": [],
        "response_metadata": { "next_cursor": "" } })]);
    let client = fake.client().await;
    let since = Timestamp::from_millis(0);
    let found = client.find_marked(&to(Some("1.1")), task(), since).await;
    assert_eq!(found.unwrap(), None);
    let requests = fake.requests();
    assert_eq!(requests[0].method, "conversations.replies");
    assert!(requests[0].body.starts_with("channel=C1&ts=1.1&oldest=0."));
}

#[tokio::test]
async fn a_429_says_how_long_to_wait_and_is_not_waited_for() {
    let fake = Fake::default();
    fake.then(429, Some("7"), r#"{"ok":false,"error":"ratelimited"}"#);
    let error = failure(fake).await;
    assert!(error.is_transient());
    let SlackError::RateLimited { retry_after, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(retry_after, Duration::from_secs(7));
}

#[tokio::test]
async fn what_slack_answers_decides_what_the_error_is_worth() {
    for (status, body, code) in [
        (
            200,
            r#"{"ok":false,"error":"channel_not_found"}"#,
            "SLACK_REFUSED",
        ),
        (
            200,
            r#"{"ok":false,"error":"invalid_auth"}"#,
            "SLACK_UNAVAILABLE",
        ),
        (200, r#"{"ok":false}"#, "SLACK_REFUSED"),
        (404, "no such page", "SLACK_REFUSED"),
        (
            200,
            r#"{"ok":false,"error":"message_not_found"}"#,
            "SLACK_MESSAGE_GONE",
        ),
        (
            200,
            r#"{"ok":false,"error":"cant_update_message"}"#,
            "SLACK_MESSAGE_GONE",
        ),
        (
            200,
            r#"{"ok":false,"error":"ratelimited"}"#,
            "SLACK_RATE_LIMITED",
        ),
        (429, "", "SLACK_RATE_LIMITED"),
        (
            200,
            r#"{"ok":false,"error":"internal_error"}"#,
            "SLACK_UNAVAILABLE",
        ),
        (503, "<html>", "SLACK_UNAVAILABLE"),
        (200, "<html>", "SLACK_UNAVAILABLE"),
        (200, r#"{"ok":true}"#, "SLACK_UNAVAILABLE"),
    ] {
        let fake = Fake::default();
        fake.then(status, None, body);
        assert_eq!(failure(fake).await.code(), code, "{status} {body}");
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_the_token_stays_secret() {
    // Bound and dropped: nothing listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&url);
    let sent = client.post(&to(None), &Message::plain("hi"), None).await;
    let error = sent.unwrap_err();
    assert_eq!(error.code(), "SLACK_UNAVAILABLE");
    assert!(!format!("{client:?} {error:?} {error}").contains(TOKEN));
}

#[tokio::test]
async fn a_silent_slack_is_given_up_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let token = SecretString::from(TOKEN);
    let client = SlackClient::new(&url, token, Duration::from_millis(50)).unwrap();
    let sent = client.post(&to(None), &Message::plain("hi"), None).await;
    assert_eq!(sent.unwrap_err().code(), "SLACK_UNAVAILABLE");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let made = SlackClient::new("slack", SecretString::from(TOKEN), Duration::from_secs(1));
    assert!(matches!(made, Err(ClientError::Url(_))));
}
