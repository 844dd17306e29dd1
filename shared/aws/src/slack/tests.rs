//! Tests of the client against the local Slack: in process, with every request recorded, and over
//! a socket.

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bematic::{
    access::{Membership, Outsider},
    ports::MembershipSource as _,
    secret::{CachedSecret, KEEP, MIN_INTERVAL},
    slack::{
        Message,
        api::{Destination, SlackApi, SlackError},
    },
};
use bematic_protocol::{
    ids::{CardSubject, MessageTs},
    time::{Clock as _, Timestamp},
};
use fake_aws::{Failure, FailurePoint, FakeAws, Template};
use http::{Request, Response, header};
use local_slack::{Clock, Config, Fault, Server, Slack, Ts, handle};
use serde_json::{Value, json};

use super::{ClientSetupError, SlackClient, Transport, wire};
use crate::secrets::SecretsManager;

const TASK: &str = "0198c0de-0000-7000-8000-000000000001";
const OTHER: &str = "0198c0de-0000-7000-8000-000000000002";
const TOKEN: &str = "xoxb-secret";
const TOKEN_ARN: &str = "bot-token";
const CHANNEL: &str = "C0ENGINEERING";
const ADA: &str = "U0ADA";
/// The time in the local Slack, in Unix seconds.
const NOW: u64 = 1_700_000_060;

/// A request as the client sent it.
#[derive(Debug)]
struct Sent {
    path: String,
    token: String,
    body: String,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A clock that a test sets, in Unix milliseconds.
#[derive(Debug)]
struct TestClock(AtomicU64);

impl bematic_protocol::time::Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Relaxed))
    }
}

/// The bot token in Secrets Manager.
#[derive(Debug)]
struct StoredToken {
    aws: FakeAws,
    clock: Arc<TestClock>,
}

impl StoredToken {
    fn new() -> Self {
        let aws = FakeAws::new(&Template::parse("{}").unwrap(), Arc::new(|| 0));
        aws.secrets().put(TOKEN_ARN, TOKEN, 0);
        let clock = Arc::new(TestClock(AtomicU64::new(NOW * 1000)));
        Self { aws, clock }
    }

    fn cached(&self) -> Arc<CachedSecret> {
        let source = SecretsManager::new(&self.aws.sdk_config(), TOKEN_ARN.to_owned());
        Arc::new(CachedSecret::new(Arc::new(source), self.clock.clone()))
    }

    /// Stores another token now.
    fn replace(&self, token: &str) {
        let now = self.clock.now().as_millis();
        self.aws.secrets().put(TOKEN_ARN, token, now);
    }

    fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.clock.0.fetch_add(millis, Relaxed);
    }

    /// Returns how often the token was read since the last call.
    fn reads(&self) -> usize {
        self.aws.calls().take().len()
    }
}

/// The local Slack in process, with the requests that it received.
#[derive(Debug)]
struct Fixture {
    slack: Arc<Slack>,
    token: StoredToken,
    sent: Mutex<Vec<Sent>>,
}

impl Fixture {
    fn new() -> Arc<Self> {
        let mut config = Config::new("signing-secret", TOKEN);
        config.clock = Clock::new(|| NOW * 1_000_000);
        let (slack, sent) = (Slack::new(config), Mutex::default());
        let token = StoredToken::new();
        Arc::new(Self { slack, token, sent })
    }

    fn client(self: &Arc<Self>) -> SlackClient {
        let token = self.token.cached();
        SlackClient::with_transport(self.clone(), "http://slack.invalid/api/", token).unwrap()
    }

    fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

#[async_trait]
impl Transport for Fixture {
    async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        let token = request.headers()[header::AUTHORIZATION].to_str()?;
        self.sent.lock().unwrap().push(Sent {
            path: request.uri().path().to_owned(),
            token: token.to_owned(),
            body: String::from_utf8(request.body().clone())?,
        });
        Ok(handle(&self.slack, request).await?)
    }
}

fn client(url: &str) -> SlackClient {
    SlackClient::new(url, StoredToken::new().cached(), Duration::from_secs(5)).unwrap()
}

fn to(thread: Option<Ts>) -> Destination {
    Destination {
        channel: CHANNEL.parse().unwrap(),
        thread_ts: thread.map(|ts| ts.to_string().parse().unwrap()),
    }
}

fn about(task: &str) -> CardSubject {
    CardSubject::Task(task.parse().unwrap())
}

fn place(ts: &MessageTs) -> Ts {
    ts.as_str().parse().unwrap()
}

#[tokio::test]
async fn a_card_is_posted_with_its_marker() {
    let fixture = Fixture::new();
    let root = fixture
        .slack
        .post_without_event(ADA, CHANNEL, None, "fix it")
        .unwrap();
    let message = Message::plain("hi");
    let client = fixture.client();
    let ts = client
        .post(&to(Some(root)), &message, Some(about(TASK)))
        .await;
    let shown = fixture.slack.message(CHANNEL, place(&ts.unwrap())).unwrap();
    assert_eq!(
        (shown.thread, shown.content.text.as_str()),
        (Some(root), "hi")
    );
    let [sent] = fixture.sent().try_into().unwrap();
    assert_eq!(sent.path, "/api/chat.postMessage");
    assert_eq!(sent.token, format!("Bearer {TOKEN}"));
    assert_eq!(
        sent.json(),
        json!({
            "channel": CHANNEL, "thread_ts": root, "text": "hi", "parse": "none",
            "link_names": false, "unfurl_links": false, "unfurl_media": false,
            "metadata": { "event_type": "bematic_task", "event_payload": { "task_id": TASK } },
        })
    );
}

#[tokio::test]
async fn an_update_replaces_text_and_blocks_and_leaves_the_marker() {
    let fixture = Fixture::new();
    let client = fixture.client();
    let first = Message::plain("hi");
    let ts = client
        .post(&to(None), &first, Some(about(TASK)))
        .await
        .unwrap();
    let metadata = || {
        let message = fixture.slack.message(CHANNEL, place(&ts)).unwrap();
        (
            message.updates,
            message.content.text,
            message.content.metadata,
        )
    };
    let (_, _, marker) = metadata();
    assert!(marker.is_some());
    fixture.sent();
    let message = Message::plain("done");
    client
        .update(&to(None).channel, &ts, &message)
        .await
        .unwrap();
    assert_eq!(metadata(), (1, "done".to_owned(), marker));
    let [sent] = fixture.sent().try_into().unwrap();
    assert_eq!(sent.path, "/api/chat.update");
    assert_eq!(
        sent.json(),
        json!({
            "channel": CHANNEL, "ts": ts, "text": "done", "blocks": [], "parse": "none",
            "link_names": false,
        })
    );
}

#[tokio::test]
async fn an_ephemeral_message_names_its_reader() {
    let fixture = Fixture::new();
    let (client, user) = (fixture.client(), ADA.parse().unwrap());
    let message = Message::plain("hi");
    let posted = client.post_ephemeral(&to(None), &user, &message).await;
    posted.unwrap();
    let [shown] = fixture
        .slack
        .ephemeral_messages(CHANNEL)
        .try_into()
        .unwrap();
    assert_eq!(shown.only_for.as_deref(), Some(ADA));
    assert_eq!(fixture.sent()[0].path, "/api/chat.postEphemeral");
}

#[tokio::test]
async fn a_lost_card_is_found_by_its_marker_on_a_later_page() {
    let fixture = Fixture::new();
    let (client, message) = (fixture.client(), Message::plain("hi"));
    let card = client
        .post(&to(None), &message, Some(about(TASK)))
        .await
        .unwrap();
    client
        .post(&to(None), &message, Some(about(OTHER)))
        .await
        .unwrap();
    for _ in 0..200 {
        fixture
            .slack
            .post_without_event(ADA, CHANNEL, None, "chat")
            .unwrap();
    }
    fixture.sent();
    let since = Timestamp::from_millis(NOW * 1000);
    let task = about(TASK);
    let found = client
        .find_marked_message(&to(None), task, since)
        .await
        .unwrap();
    assert_eq!(found, Some(card));
    let [first, second] = fixture.sent().try_into().unwrap();
    assert_eq!(first.path, "/api/conversations.history");
    assert_eq!(
        first.body,
        "channel=C0ENGINEERING&oldest=1700000000.000000&limit=200&include_all_metadata=true"
    );
    let (same, cursor) = second.body.split_once("&cursor=").unwrap();
    assert_eq!(same, first.body);
    assert!(!cursor.is_empty());
}

#[tokio::test]
async fn a_card_that_does_not_exist_is_not_found_in_a_thread() {
    let fixture = Fixture::new();
    let root = fixture
        .slack
        .post_without_event(ADA, CHANNEL, None, "fix it")
        .unwrap();
    let (to, since) = (to(Some(root)), Timestamp::from_millis(0));
    let client = fixture.client();
    let found = client.find_marked_message(&to, about(TASK), since).await;
    assert_eq!(found.unwrap(), None);
    let sent = fixture.sent();
    assert_eq!(sent[0].path, "/api/conversations.replies");
    let expected = format!("channel={CHANNEL}&ts={root}&oldest=0.");
    assert!(sent[0].body.starts_with(&expected), "{sent:?}");
}

#[test]
fn a_message_of_another_shape_has_no_marker() {
    let odd = json!({ "metadata": { "event_type": "bematic_task", "event_payload": [] } });
    let page = json!({ "ok": true, "messages": [odd, {}] }).to_string();
    let page: wire::MessagesPage =
        wire::interpret_response("conversations.history", 200, None, page.as_bytes()).unwrap();
    assert_eq!(page.find_marked_ts(about(TASK)), None);
    assert_eq!(page.next_cursor(), None);
}

#[tokio::test]
async fn a_429_says_how_long_to_wait_and_is_not_waited_for() {
    let fixture = Fixture::new();
    fixture.slack.add_fault(Fault::rate_limited("*", 7));
    let message = Message::plain("hi");
    let sent = fixture.client().post(&to(None), &message, None).await;
    let error = sent.unwrap_err();
    assert_eq!(fixture.sent().len(), 1, "the client tries once");
    assert!(error.is_transient());
    let SlackError::RateLimited { retry_after, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(retry_after, Duration::from_secs(7));
}

#[test]
fn the_answer_decides_the_kind_of_the_error() {
    for (status, body, code) in [
        (
            200,
            r#"{"ok":false,"error":"channel_not_found"}"#,
            "SLACK_REFUSED",
        ),
        (
            200,
            r#"{"ok":false,"error":"invalid_auth"}"#,
            "SLACK_TOKEN_REFUSED",
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
        let read = wire::interpret_response::<wire::PostedMessage>(
            "chat.postMessage",
            status,
            None,
            body.as_bytes(),
        );
        let error = read.err().unwrap();
        assert_eq!(error.code(), code, "{status} {body}");
    }
}

#[tokio::test]
async fn the_local_slack_answers_over_http_too() {
    let config = Config::new("signing-secret", TOKEN);
    let server = Server::start(config).await.unwrap();
    let client = client(&server.api_url());
    let message = Message::plain("hi");
    client.post(&to(None), &message, None).await.unwrap();
    assert_eq!(server.state().messages(CHANNEL)[0].content.text, "hi");
    server.state().add_fault(Fault::rate_limited("*", 7));
    let error = client.post(&to(None), &message, None).await.unwrap_err();
    let wait =
        matches!(error, SlackError::RateLimited { retry_after, .. } if retry_after.as_secs() == 7);
    assert!(wait, "{error:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn an_unreachable_slack_is_unavailable_and_the_token_stays_secret() {
    // The port is free again after the drop: nothing listens on it.
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
async fn a_call_without_an_answer_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let token = StoredToken::new().cached();
    let client = SlackClient::new(&url, token, Duration::from_millis(50)).unwrap();
    let sent = client.post(&to(None), &Message::plain("hi"), None).await;
    assert_eq!(sent.unwrap_err().code(), "SLACK_UNAVAILABLE");
}

#[test]
fn an_address_that_is_not_a_url_is_refused() {
    let made = SlackClient::new("slack", StoredToken::new().cached(), Duration::from_secs(1));
    assert!(matches!(made, Err(ClientSetupError::Url(_))));
}

/// Posts a message as the notifier does.
async fn post(client: &SlackClient) -> Result<MessageTs, SlackError> {
    client.post(&to(None), &Message::plain("hi"), None).await
}

#[tokio::test]
async fn the_token_is_read_at_the_first_call_and_then_once_in_some_minutes() {
    let fixture = Fixture::new();
    let client = fixture.client();
    assert_eq!(fixture.token.reads(), 0);
    for _ in 0..20 {
        post(&client).await.unwrap();
    }
    assert_eq!(fixture.token.reads(), 1);
    fixture.token.pass(KEEP);
    post(&client).await.unwrap();
    assert_eq!(fixture.token.reads(), 1);
}

#[tokio::test]
async fn a_token_that_was_replaced_is_used_at_once_and_slack_is_called_again() {
    let fixture = Fixture::new();
    fixture.token.replace("xoxb-old");
    let client = fixture.client();
    assert_eq!(
        post(&client).await.unwrap_err().code(),
        "SLACK_TOKEN_REFUSED"
    );
    fixture.token.pass(MIN_INTERVAL);
    fixture.token.replace(TOKEN);
    fixture.sent();
    post(&client).await.unwrap();
    let tokens: Vec<_> = fixture.sent().into_iter().map(|sent| sent.token).collect();
    assert_eq!(
        tokens,
        ["Bearer xoxb-old".to_owned(), format!("Bearer {TOKEN}")]
    );
    assert_eq!(fixture.token.reads(), 2);
}

#[tokio::test]
async fn a_token_that_slack_goes_on_refusing_is_read_once_in_an_interval() {
    let fixture = Fixture::new();
    fixture.token.replace("xoxb-old");
    let client = fixture.client();
    for _ in 0..5 {
        let error = post(&client).await.unwrap_err();
        assert!(error.is_transient(), "the card is refreshed later");
    }
    assert_eq!(fixture.sent().len(), 5, "one call each");
    assert_eq!(fixture.token.reads(), 1);
    fixture.token.pass(MIN_INTERVAL);
    for _ in 0..5 {
        post(&client).await.unwrap_err();
    }
    assert_eq!(fixture.sent().len(), 5);
    assert_eq!(fixture.token.reads(), 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_named_and_slack_is_not_called() {
    let fixture = Fixture::new();
    let client = fixture.client();
    let failures = fixture.token.aws.planned_failures();
    failures.arm(0, FailurePoint::Before, Failure::Internal);
    let error = post(&client).await.unwrap_err();
    assert_eq!(error.code(), "SECRET_UNAVAILABLE");
    assert!(error.is_transient());
    assert!(fixture.sent().is_empty());
    post(&client).await.unwrap();
}

/// What Slack says of a user with these fields.
fn membership_of(fields: &Value) -> Result<Membership, SlackError> {
    let mut user = json!({ "id": ADA, "team_id": "T1", "name": "ada" });
    let object = user.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    let body = json!({ "ok": true, "user": user }).to_string();
    let info = wire::interpret_response("users.info", 200, None, body.as_bytes());
    info.and_then(|it: wire::UserInfo| it.membership("users.info"))
}

#[test]
fn a_user_is_a_full_member_only_if_slack_says_so() {
    let full = json!({ "is_restricted": false, "is_ultra_restricted": false });
    assert_eq!(membership_of(&full).unwrap(), Membership::Full);
    for (field, outsider) in [
        ("is_restricted", Outsider::Guest),
        ("is_ultra_restricted", Outsider::Guest),
        ("is_bot", Outsider::Bot),
        ("is_stranger", Outsider::External),
        ("deleted", Outsider::Deactivated),
    ] {
        let expected = Membership::Outsider(outsider);
        let mut fields = full.clone();
        fields[field] = json!(true);
        assert_eq!(membership_of(&fields).unwrap(), expected, "{field}");
        // Slack leaves out what does not apply.
        let alone = membership_of(&json!({ field: true }));
        assert_eq!(alone.unwrap(), expected, "{field}");
    }
    for incomplete in [json!({}), json!({ "is_restricted": false })] {
        let error = membership_of(&incomplete).unwrap_err();
        assert_eq!(error.code(), "SLACK_UNAVAILABLE", "{incomplete}");
    }
}

#[tokio::test]
async fn slack_is_asked_about_a_user_with_a_form() {
    let fixture = Fixture::new();
    let client = fixture.client();
    let ask = async |user: &str| client.membership(&user.parse().unwrap()).await;
    assert_eq!(ask(ADA).await.unwrap(), Membership::Full);
    let [sent] = fixture.sent().try_into().unwrap();
    assert_eq!(sent.path, "/api/users.info");
    assert_eq!(sent.body, format!("user={ADA}"));
    let external = Membership::Outsider(Outsider::External);
    assert_eq!(ask("U404").await.unwrap(), external);
    for (error, code, is_missing_scope) in [
        ("missing_scope", "SLACK_TOKEN_REFUSED", true),
        ("token_revoked", "SLACK_TOKEN_REFUSED", false),
        ("ratelimited", "SLACK_RATE_LIMITED", false),
        ("access_denied", "SLACK_REFUSED", false),
    ] {
        let fault = Fault::with_error("users.info", error);
        fixture.slack.add_fault(fault);
        let refused = ask(ADA).await.unwrap_err();
        assert_eq!(refused.code(), code, "{error}");
        assert_eq!(refused.is_missing_scope(), is_missing_scope, "{error}");
    }
    fixture
        .slack
        .add_fault(Fault::with_error("users.info", "user_not_visible"));
    assert_eq!(ask(ADA).await.unwrap(), external);
}
