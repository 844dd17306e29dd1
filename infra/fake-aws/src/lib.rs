//! The AWS that tests run on: DynamoDB, SQS and API Gateway's management of WebSocket connections in
//! this process, without sockets. It knows nothing of what is built on it.
//!
//! Production code makes its clients from an [`SdkConfig`]; a test gives it the one of
//! [`FakeAws::sdk_config`], whose HTTP client is the fake. Tables and queues are those of a SAM
//! template, under their logical ids. Each service refuses what AWS refuses.
//!
//! | what | how |
//! |---|---|
//! | the event source of a queue, played by the test | [`FakeAws::queue`] |
//! | the clients of a WebSocket API, played by the test | [`FakeAws::connections`] |
//! | what the tables hold, past the functions | [`FakeAws::item`], [`FakeAws::items`], [`FakeAws::put`] |
//! | what was called, and what it costs | [`FakeAws::calls`], [`FakeAws::meter`] |
//! | a call that fails, before or after its effect | [`FakeAws::failures`] |
//! | tasks that interleave, calls that take time, or anything else around a call | [`FakeAws::hook`] |
//! | indexes that lag behind | [`FakeAws::freeze_reads`] |
//! | a server for other processes | [`FakeAws::handle`] |
//!
//! Time is the caller's: delays, visibility timeouts, de-duplication and time to live go by its clock.
//!
//! # Example
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
//!
//! use aws_sdk_dynamodb::types::AttributeValue;
//! use fake_aws::{FakeAws, Failure, Template, When};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let template = Template::parse(r#"
//! Resources:
//!   Orders:
//!     Type: AWS::DynamoDB::Table
//!     Properties:
//!       AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
//!       KeySchema: [{ AttributeName: id, KeyType: HASH }]
//!   Work:
//!     Type: AWS::SQS::Queue
//!     Properties: { VisibilityTimeout: 60 }
//! "#)?;
//! let now = Arc::new(AtomicU64::new(1_700_000_000_000));
//! let clock = now.clone();
//! let aws = FakeAws::new(&template, Arc::new(move || clock.load(Relaxed)));
//!
//! // What production does:
//! let config = aws.sdk_config();
//! let dynamo = aws_sdk_dynamodb::Client::new(&config);
//! let put = dynamo.put_item().table_name("Orders").item("id", AttributeValue::S("1".into()));
//! put.send().await?;
//! let sqs = aws_sdk_sqs::Client::new(&config);
//! let work = aws.queue("Work");
//! let message = sqs.send_message().queue_url(work.url()).message_body("1").delay_seconds(5);
//! message.clone().send().await?;
//!
//! // What the test sees:
//! assert!(aws.item("Orders", &["1"]).is_some());
//! let calls: Vec<_> = aws.calls().take().iter().map(ToString::to_string).collect();
//! assert_eq!(calls, ["PutItem Orders", "SendMessage Work"]);
//! assert!(work.receive(10).is_empty(), "the message is delayed");
//! now.fetch_add(5_000, Relaxed);
//! let received = work.receive(10);
//! assert_eq!(received[0].message.body, "1");
//! work.delete(&received[0].receipt_handle);
//!
//! // The message is sent, and its sender does not learn of it:
//! aws.failures().arm(0, When::After, Failure::Connection);
//! assert!(message.send().await.is_err());
//! assert_eq!(work.depth(), 1);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test double may panic when a test asks for what the template does not have"
)]

mod calls;
mod dynamo;
mod management;
mod sqs;
mod template;
mod units;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

pub use crate::{
    calls::{
        Action, Call, Calls, Failure, Failures, Hook, Interleaving, Latency, Proceed, Service, When,
    },
    dynamo::Lag,
    management::Line,
    sqs::{Message, ReceivedMessage},
    template::{QueueSpec, Template, TemplateError},
    units::{Touch, Units},
};
use crate::{
    dynamo::{Dynamo, Part},
    management::Connections,
    sqs::Sqs,
};

/// Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// An item, as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// Where the clients think that AWS is; nothing resolves it.
const ENDPOINT: &str = "http://aws.invalid";

/// The connection broke before there was a response.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection was made to break")]
pub struct ConnectionBroken;

/// DynamoDB, SQS and API Gateway's management API. Clones are the same one.
#[derive(Clone)]
pub struct FakeAws {
    shared: Arc<Shared>,
    /// Whether calls are kept, can fail and are told to hooks.
    observed: bool,
}

struct Shared {
    clock: Clock,
    dynamo: Mutex<Dynamo>,
    sqs: Mutex<Sqs>,
    connections: Mutex<Connections>,
    calls: Calls,
    failures: Failures,
    hooks: Mutex<Vec<Arc<dyn Hook>>>,
    metered: AtomicBool,
}

/// What a request goes to.
enum Target {
    DynamoDb(String),
    Sqs(String),
    Connection(&'static str, String),
    Unknown,
}

/// A service's answer, and what is to be told of it.
pub(crate) struct Reply {
    status: u16,
    error: Option<String>,
    body: String,
    header: Option<(&'static str, String)>,
    units: Units,
    touched: Vec<Touch>,
    message_ids: Vec<String>,
}

impl Reply {
    fn new(status: u16, error: Option<&str>, body: String) -> Self {
        Self {
            status,
            error: error.map(ToOwned::to_owned),
            body,
            header: None,
            units: Units::default(),
            touched: Vec::new(),
            message_ids: Vec::new(),
        }
    }

    fn header(self, name: &'static str, value: String) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAws")
            .field("observed", &self.observed)
            .finish_non_exhaustive()
    }
}

impl FakeAws {
    /// The template's tables and queues, empty, and no connections.
    ///
    /// # Panics
    /// If DynamoDB would not create one of the tables.
    pub fn new(template: &Template, clock: Clock) -> Self {
        let shared = Shared {
            dynamo: Mutex::new(Dynamo::new(&template.tables, clock.clone())),
            sqs: Mutex::new(Sqs::new(&template.queues)),
            connections: Mutex::default(),
            calls: Calls::new(),
            failures: Failures::default(),
            hooks: Mutex::default(),
            metered: AtomicBool::new(false),
            clock,
        };
        Self {
            shared: Arc::new(shared),
            observed: true,
        }
    }

    /// The same one, unobserved: calls to it are not kept, do not fail and are told to no hook. For what
    /// a test sets up through production code.
    #[must_use]
    pub fn unobserved(&self) -> Self {
        Self {
            observed: false,
            ..self.clone()
        }
    }

    /// What production makes its clients from. Retries and timeouts are off.
    pub fn sdk_config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        let credentials = Credentials::from_keys("fake", "fake", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(ENDPOINT)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// The name that a table of the template has.
    ///
    /// # Panics
    /// If the template has no such table.
    pub fn table(&self, id: &str) -> String {
        assert!(self.dynamo().has(id), "the template has no table {id}");
        id.to_owned()
    }

    /// A queue of the template, to play its event source.
    ///
    /// # Panics
    /// If the template has no such queue.
    pub fn queue(&self, id: &str) -> Queue<'_> {
        let exists = self.sqs().ids().any(|it| it == id);
        assert!(exists, "the template has no queue {id}");
        Queue {
            aws: self,
            id: id.to_owned(),
        }
    }

    /// When the next message of any queue can be received, in Unix milliseconds: in the past, if one
    /// waits.
    pub fn next_due(&self) -> Option<u64> {
        let sqs = self.sqs();
        sqs.ids().filter_map(|id| sqs.next_due(id)).min()
    }

    /// The connections of the WebSocket API, to play its clients.
    pub fn connections(&self) -> ConnectionsOf<'_> {
        ConnectionsOf(self)
    }

    /// The calls that were made.
    pub fn calls(&self) -> &Calls {
        &self.shared.calls
    }

    /// The failures that are to come.
    pub fn failures(&self) -> &Failures {
        &self.shared.failures
    }

    /// Has a hook told of every call, after those that were added before. The first that fails a call
    /// decides how.
    pub fn hook(&self, hook: impl Hook + 'static) {
        lock(&self.shared.hooks).push(Arc::new(hook));
    }

    /// Meters calls, or does not: whether [`Call::units`] and [`Call::touched`] are told, which takes
    /// two more reads for each item that is written. It is off at first.
    pub fn meter(&self, on: bool) {
        self.shared.metered.store(on, Ordering::Relaxed);
    }

    /// Reads that lag show from now on what there is now, until [`FakeAws::thaw_reads`].
    pub fn freeze_reads(&self, lag: Lag) {
        self.dynamo().freeze(lag);
    }

    /// Reads lag no longer.
    pub fn thaw_reads(&self) {
        self.dynamo().thaw();
    }

    /// Deletes the items whose time to live has passed, as DynamoDB does some time after; tells how many
    /// those were.
    pub fn sweep_time_to_live(&self) -> usize {
        self.dynamo().sweep_time_to_live()
    }

    /// An item, by the text values of its key: partition, and sort if the table has one.
    ///
    /// # Panics
    /// If the template has no such table, or the table another key. So do the following.
    pub fn item(&self, table: &str, key: &[&str]) -> Option<Item> {
        self.dynamo().item(table, key).map(dynamo::to_sdk)
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> Vec<Item> {
        let items = self.dynamo().items(table).into_iter();
        items.map(dynamo::to_sdk).collect()
    }

    /// Puts an item.
    pub fn put(&self, table: &str, item: &Item) {
        self.dynamo().put(table, &dynamo::from_sdk(item));
    }

    /// Deletes an item.
    pub fn delete(&self, table: &str, key: &[&str]) {
        self.dynamo().delete(table, key);
    }

    /// Answers a request, however it came here: from an SDK within this process, or from another
    /// process over HTTP.
    pub async fn handle(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, ConnectionBroken> {
        let target = target(&request);
        let body = request.body();
        let json: Value = match target {
            Target::DynamoDb(_) | Target::Sqs(_) => {
                serde_json::from_slice(body).unwrap_or_default()
            }
            _ => Value::Null,
        };
        let parts = match &target {
            Target::DynamoDb(operation) => dynamo::parts(operation, &json),
            _ => Vec::new(),
        };
        let mut call = self.describe(&target, &json, &parts, body.len());
        let proceed = if self.observed {
            self.before(&call).await
        } else {
            Proceed::Go
        };
        let failure = match proceed {
            Proceed::Fail(_, failure) => Some(failure),
            Proceed::Go => None,
        };
        let effective = match proceed {
            Proceed::Go => true,
            Proceed::Fail(when, failure) => {
                when == When::After && matches!(failure, Failure::Connection | Failure::Internal)
            }
        };
        let mut reply = Reply::new(0, None, String::new());
        if effective {
            reply = self.effect(&target, &json, body, &parts);
            call.units = reply.units;
            call.touched = std::mem::take(&mut reply.touched);
            call.message_ids = std::mem::take(&mut reply.message_ids);
        }
        if let Some(failure) = failure {
            reply = match &target {
                Target::Sqs(_) => sqs::failed(failure),
                Target::Connection(..) => management::failed(failure),
                Target::DynamoDb(_) | Target::Unknown => {
                    dynamo::failed(failure, &call.operation, call.items)
                }
            };
        }
        call.failure = failure;
        call.error = reply.error.take();
        call.response_bytes = reply.body.len();
        if self.observed {
            self.shared.calls.push(&call);
            for hook in self.hooks() {
                hook.after(&call).await;
            }
        }
        if failure == Some(Failure::Connection) {
            return Err(ConnectionBroken);
        }
        let content_type = match target {
            Target::Connection(..) => "application/json",
            _ => "application/x-amz-json-1.0",
        };
        let mut response = http::Response::builder()
            .status(reply.status)
            .header("content-type", content_type);
        if let Some((name, value)) = reply.header {
            response = response.header(name, value);
        }
        let response = response.body(reply.body.into_bytes());
        Ok(response.expect("status and headers are the fake's own"))
    }

    fn describe(&self, target: &Target, json: &Value, parts: &[Part<'_>], bytes: usize) -> Call {
        let (service, operation) = match target {
            Target::DynamoDb(operation) => (Service::DynamoDb, operation.as_str()),
            Target::Sqs(operation) => (Service::Sqs, operation.as_str()),
            Target::Connection(operation, _) => (Service::ApiGateway, *operation),
            Target::Unknown => (Service::DynamoDb, "?"),
        };
        let entries = || json["Entries"].as_array().into_iter().flatten();
        let mut actions: Vec<Action> = Vec::new();
        let mut add = |action: Action| {
            if !actions.contains(&action) {
                actions.push(action);
            }
        };
        parts.iter().for_each(|part| add(part.action()));
        let (mut items, mut fifo) = (parts.len(), false);
        let own = |resource: &str| {
            // A batch needs the right to its single operation.
            let name = operation.trim_end_matches("Batch").to_owned();
            Action {
                name,
                resource: resource.to_owned(),
            }
        };
        match target {
            Target::Sqs(_) => {
                items = entries().count().max(1);
                if let Some(spec) = self.sqs().spec(json) {
                    fifo = spec.fifo;
                    add(own(&spec.id));
                }
            }
            Target::Connection(_, id) => {
                items = 1;
                add(own(id));
            }
            Target::DynamoDb(_) | Target::Unknown => {}
        }
        let mut messages = entries().chain([json]);
        Call {
            service,
            operation: operation.to_owned(),
            actions,
            items,
            at: self.now(),
            request_bytes: bytes,
            response_bytes: 0,
            error: None,
            failure: None,
            units: Units::default(),
            touched: Vec::new(),
            message_ids: Vec::new(),
            fair: !fifo && messages.any(|it| it["MessageGroupId"].is_string()),
            fifo,
        }
    }

    async fn before(&self, call: &Call) -> Proceed {
        for hook in self.hooks() {
            let proceed = hook.before(call).await;
            if proceed != Proceed::Go {
                return proceed;
            }
        }
        self.shared.failures.next(call)
    }

    fn effect(&self, target: &Target, json: &Value, body: &[u8], parts: &[Part<'_>]) -> Reply {
        let now = self.now();
        match target {
            Target::DynamoDb(operation) => {
                let metered = self.observed && self.shared.metered.load(Ordering::Relaxed);
                self.dynamo()
                    .call(operation, json, body, parts, (now, metered))
            }
            Target::Sqs(operation) => self.sqs().call(operation, json, now),
            Target::Connection(operation, id) => self.gateway().call(operation, id, body),
            Target::Unknown => {
                let body = r#"{"__type":"UnknownOperationException"}"#.to_owned();
                Reply::new(400, Some("UnknownOperationException"), body)
            }
        }
    }

    fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        lock(&self.shared.hooks).clone()
    }

    fn now(&self) -> u64 {
        (self.shared.clock)()
    }

    fn dynamo(&self) -> MutexGuard<'_, Dynamo> {
        lock(&self.shared.dynamo)
    }

    fn sqs(&self) -> MutexGuard<'_, Sqs> {
        lock(&self.shared.sqs)
    }

    fn gateway(&self) -> MutexGuard<'_, Connections> {
        lock(&self.shared.connections)
    }
}

/// A queue, as its event source sees it. Nothing of this counts as a call.
#[derive(Debug)]
pub struct Queue<'a> {
    aws: &'a FakeAws,
    id: String,
}

impl Queue<'_> {
    /// Its address.
    pub fn url(&self) -> String {
        sqs::queue_url(&self.spec())
    }

    /// Its configuration.
    pub fn spec(&self) -> QueueSpec {
        let sqs = self.aws.sqs();
        let request = serde_json::json!({ "QueueUrl": self.id });
        sqs.spec(&request)
            .cloned()
            .expect("the queue was looked up")
    }

    /// Receives what is visible, `max` messages at most: of a FIFO queue nothing of a group of which a
    /// message is in flight. What was received `maxReceiveCount` times goes to the dead-letter queue.
    pub fn receive(&self, max: usize) -> Vec<ReceivedMessage> {
        self.aws.sqs().receive(&self.id, max, None, self.aws.now())
    }

    /// Deletes a message that was received.
    ///
    /// # Panics
    /// If the handle is not of this queue, or has expired on a FIFO queue.
    pub fn delete(&self, receipt_handle: &str) {
        self.aws
            .sqs()
            .delete(&self.id, receipt_handle, self.aws.now());
    }

    /// Makes a message that was received visible after so many seconds; at once, if 0.
    ///
    /// # Panics
    /// If the message is not in flight.
    pub fn set_visibility(&self, receipt_handle: &str, seconds: u64) {
        self.aws
            .sqs()
            .set_visibility(&self.id, receipt_handle, seconds, self.aws.now());
    }

    /// How many messages there are: visible, delayed and in flight.
    pub fn depth(&self) -> usize {
        self.aws.sqs().depth(&self.id, self.aws.now())
    }

    /// All messages by when they can be received, without receiving them.
    pub fn peek(&self) -> Vec<Message> {
        self.aws.sqs().peek(&self.id, self.aws.now())
    }

    /// Takes the messages that are wanted out of the queue, whenever they are due: as if each had been
    /// received and deleted.
    pub fn take(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        self.aws.sqs().take(&self.id, wanted, self.aws.now())
    }

    /// When the next message can be received, in Unix milliseconds: in the past, if one waits.
    pub fn next_due(&self) -> Option<u64> {
        self.aws.sqs().next_due(&self.id)
    }

    /// Loses all messages.
    pub fn purge(&self) {
        self.aws.sqs().purge(&self.id, self.aws.now());
    }
}

/// The connections, as their clients see them. Nothing of this counts as a call.
#[derive(Debug)]
pub struct ConnectionsOf<'a>(&'a FakeAws);

impl ConnectionsOf<'_> {
    /// A client connects.
    pub fn open(&self, id: &str) {
        self.set(id, Line::Open);
    }

    /// A client disconnects.
    pub fn close(&self, id: &str) {
        self.set(id, Line::Gone);
    }

    /// What a connection is like from now on.
    pub fn set(&self, id: &str, line: Line) {
        self.0.gateway().set(id, line, self.0.now());
    }

    /// What a connection is like; [`Line::Gone`], if there is none.
    pub fn line(&self, id: &str) -> Line {
        self.0.gateway().line(id)
    }

    /// What arrived at clients since this was asked for last, each with its connection.
    pub fn take_posts(&self) -> Vec<(String, Vec<u8>)> {
        self.0.gateway().take_posts()
    }

    /// The connections that were closed by a call since this was asked for last.
    pub fn take_deleted(&self) -> Vec<String> {
        self.0.gateway().take_deleted()
    }
}

/// The SDK's way to it.
#[derive(Debug)]
struct Connector(FakeAws);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let aws = self.0.clone();
        HttpConnectorFuture::new(async move {
            let user =
                |error: aws_smithy_runtime_api::http::HttpError| ConnectorError::user(error.into());
            let request = request.try_into_http1x().map_err(user)?;
            let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
            let response = aws.handle(request).await;
            let response = response.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from)).map_err(user)
        })
    }
}

/// What a request goes to: the JSON services say so in a header, the management API is known by its path.
fn target(request: &http::Request<Vec<u8>>) -> Target {
    let header = request
        .headers()
        .get("x-amz-target")
        .and_then(|it| it.to_str().ok());
    match header.and_then(|it| it.split_once('.')) {
        Some(("DynamoDB_20120810", operation)) => return Target::DynamoDb(operation.to_owned()),
        Some(("AmazonSQS", operation)) => return Target::Sqs(operation.to_owned()),
        _ => {}
    }
    let path = request.uri().path().replace("%40", "@");
    let Some((_, id)) = path.split_once("/@connections/") else {
        return Target::Unknown;
    };
    let operation = match request.method().as_str() {
        "POST" => "PostToConnection",
        "DELETE" => "DeleteConnection",
        "GET" => "GetConnection",
        _ => return Target::Unknown,
    };
    // An id ends in `=`, which is escaped in a path.
    let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
    Target::Connection(operation, id.into_owned())
}

/// What is locked is whole between calls, whatever became of one.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
