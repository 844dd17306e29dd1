//! The fake itself: the services' state, and what a test asks of it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    calls::{Calls, Failures, Hook},
    clock::Clock,
    dynamo::{Dynamo, Lag},
    items,
    lock::lock,
    management::Connections,
    sqs::Sqs,
    template::Template,
};

/// An item, as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// DynamoDB, SQS and API Gateway's management API. Clones are the same one.
#[derive(Clone)]
pub struct FakeAws {
    shared: Arc<Shared>,
    /// Whether calls are kept, can fail and are told to hooks.
    pub(crate) observed: bool,
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

    /// The name that a table of the template has.
    ///
    /// # Panics
    /// If the template has no such table.
    pub fn table(&self, id: &str) -> String {
        self.dynamo().table(id).id.clone()
    }

    /// When the next message of any queue can be received, in Unix milliseconds: in the past, if one
    /// waits.
    pub fn next_due(&self) -> Option<u64> {
        self.sqs().due().map(|(_, due)| due).min()
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

    /// Meters calls, or does not: whether [`Call`](crate::Call)s are told their units and partitions, which
    /// takes two more reads for each item that is written. It is off at first.
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

    pub(crate) fn is_metered(&self) -> bool {
        self.observed && self.shared.metered.load(Ordering::Relaxed)
    }

    pub(crate) fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        lock(&self.shared.hooks).clone()
    }

    pub(crate) fn now(&self) -> u64 {
        (self.shared.clock)()
    }

    pub(crate) fn dynamo(&self) -> MutexGuard<'_, Dynamo> {
        lock(&self.shared.dynamo)
    }

    pub(crate) fn sqs(&self) -> MutexGuard<'_, Sqs> {
        lock(&self.shared.sqs)
    }

    pub(crate) fn gateway(&self) -> MutexGuard<'_, Connections> {
        lock(&self.shared.connections)
    }
}
