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

mod access;
mod calls;
mod driver;
mod dynamo;
mod items;
mod management;
mod meter;
mod queue;
mod sqs;
mod template;
mod units;
mod wire;

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
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};

pub use crate::{
    calls::{
        Action, Call, Calls, Failure, Failures, Hook, Interleaving, Latency, Proceed, Service, When,
    },
    driver::{Clients, Queue},
    dynamo::Lag,
    management::Line,
    queue::Message,
    sqs::ReceivedMessage,
    template::{QueueSpec, Template, TemplateError},
    units::{Touch, Units},
};
use crate::{
    dynamo::Dynamo,
    management::Connections,
    sqs::Sqs,
    wire::{Connector, Reply},
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
        self.dynamo().table(id).id.clone()
    }

    /// A queue of the template, to play its event source.
    ///
    /// # Panics
    /// If the template has no such queue.
    pub fn queue(&self, id: &str) -> Queue<'_> {
        let spec = self.sqs().spec_of(id).cloned();
        Queue::new(
            self,
            spec.unwrap_or_else(|| panic!("the template has no queue {id}")),
        )
    }

    /// When the next message of any queue can be received, in Unix milliseconds: in the past, if one
    /// waits.
    pub fn next_due(&self) -> Option<u64> {
        self.sqs().due().map(|(_, due)| due).min()
    }

    /// The connections of the WebSocket API, to play its clients.
    pub fn connections(&self) -> Clients<'_> {
        Clients(self)
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
        self.dynamo().item(table, key).map(items::to_sdk)
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> Vec<Item> {
        let items = self.dynamo().items(table).into_iter();
        items.map(items::to_sdk).collect()
    }

    /// Puts an item.
    pub fn put(&self, table: &str, item: &Item) {
        self.dynamo().put(table, &items::from_sdk(item));
    }

    /// Deletes an item.
    pub fn delete(&self, table: &str, key: &[&str]) {
        self.dynamo().delete(table, key);
    }

    fn is_metered(&self) -> bool {
        self.observed && self.shared.metered.load(Ordering::Relaxed)
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

/// What is locked is whole between calls, whatever became of one.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
