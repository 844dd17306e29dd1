//! Calls: what is recorded of them, the hooks around them, and how they are made to fail.

use std::{fmt, mem, sync::Mutex};

use async_trait::async_trait;

use crate::{
    common::lock,
    metering::{PartitionAccess, Units},
    permission::Permission,
};

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// DynamoDB.
    DynamoDb,
    /// SQS.
    Sqs,
    /// API Gateway's management API of WebSocket connections.
    ApiGateway,
    /// Secrets Manager.
    SecretsManager,
    /// STS.
    Sts,
}

/// A call to a service. What only the answer has is empty before the effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The service.
    pub service: Service,
    /// The service's operation.
    pub operation: String,
    /// Bytes of the request's body.
    pub request_bytes: usize,
    /// The error's code, if the service answered with one.
    pub error: Option<String>,
    /// The partitions that the call read or wrote, if calls are metered.
    pub partition_accesses: Vec<PartitionAccess>,
    /// The ids of the messages that the call sent.
    pub message_ids: Vec<String>,
    /// Whether the call is to a FIFO queue.
    pub fifo: bool,
    /// Whether the call sends a message with a group to a standard queue, which makes it a fair
    /// queue.
    pub fair: bool,
    /// The label of the handle that made the call.
    pub caller: Option<&'static str>,
    /// The permissions that the call needs, if its caller is labelled.
    pub permissions: Vec<Permission>,
    /// The tables, indexes as `table/index`, queue, connection or secret.
    pub(crate) resources: Vec<String>,
    /// The number of items of tables that the request names.
    pub(crate) items: usize,
}

impl Call {
    /// Returns what the call costs in tables, if calls are metered.
    pub fn units(&self) -> Units {
        self.partition_accesses.iter().map(|it| it.units).sum()
    }
}

impl fmt::Display for Call {
    /// Such as `GetItem TasksTable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        self.resources.iter().try_for_each(|it| write!(f, " {it}"))
    }
}

/// The calls since they were taken last.
#[derive(Debug)]
pub struct Calls(Mutex<Option<Vec<Call>>>);

impl Default for Calls {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Calls {
    /// Takes the calls, in the order in which they were answered.
    pub fn take(&self) -> Vec<Call> {
        lock(&self.0).as_mut().map(mem::take).unwrap_or_default()
    }

    /// Sets whether calls are recorded, as they are at first: a long simulation would hold them
    /// all.
    pub fn set_recording(&self, on: bool) {
        *lock(&self.0) = on.then(Vec::new);
    }

    pub(crate) fn push(&self, call: &Call) {
        if let Some(calls) = lock(&self.0).as_mut() {
            calls.push(call.clone());
        }
    }
}

/// How a call fails on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection breaks: the SDK sees no response.
    Connection,
    /// The service answers 500.
    Internal,
    /// Another transaction holds an item: a transaction is cancelled with the reason
    /// `TransactionConflict` at this part, a single write is a `TransactionConflictException`.
    /// There is no effect. Only transactions and single writes can fail so; no other call counts
    /// for it.
    TransactionConflict(usize),
}

impl Failure {
    fn applies_to(self, call: &Call) -> bool {
        match (self, call.operation.as_str()) {
            (Self::TransactionConflict(part), "TransactWriteItems") => part < call.items,
            (Self::TransactionConflict(_), operation) => {
                ["PutItem", "UpdateItem", "DeleteItem"].contains(&operation)
            }
            _ => true,
        }
    }
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePoint {
    /// Before it takes effect.
    Before,
    /// After it took effect: the answer is lost. For failures that have no effect, the same as
    /// before.
    After,
}

/// A hook, called before and after every call. Both methods may wait.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Called before a call takes effect. Returns the failure of the call, if it is to fail.
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        let _ = call;
        None
    }

    /// Called after a call took effect or failed, before the caller has the answer.
    async fn after_call(&self, call: &Call) {
        let _ = call;
    }
}

/// A hook that yields to other tasks 0 to 3 times before every call, as often as a seed says: on
/// one thread, the same seed interleaves concurrent tasks the same way.
#[derive(Debug)]
pub struct RandomYields(Mutex<u64>);

impl RandomYields {
    /// Creates the hook from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number of splitmix64, of which neighbouring seeds share nothing.
    fn next_random(&self) -> u64 {
        let mut state = lock(&self.0);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[async_trait]
impl Hook for RandomYields {
    async fn before_call(&self, _: &Call) -> Option<(FailurePoint, Failure)> {
        for _ in 0..self.next_random() % 4 {
            tokio::task::yield_now().await;
        }
        None
    }
}

/// A failure that waits for its call.
struct Armed {
    /// The number of matching calls that succeed first.
    skip: usize,
    when: FailurePoint,
    failure: Failure,
    matches: Box<dyn Fn(&Call) -> bool + Send + Sync>,
}

/// The failures that are armed.
#[derive(Default)]
pub struct Failures(Mutex<Vec<Armed>>);

impl Failures {
    /// Fails the `nth` call from now, counted from 0, once.
    pub fn arm(&self, nth: usize, when: FailurePoint, failure: Failure) {
        self.arm_matching(nth, when, failure, |_| true);
    }

    /// Fails the `nth` call from now of those that match, counted from 0, once.
    pub fn arm_matching(
        &self,
        nth: usize,
        when: FailurePoint,
        failure: Failure,
        matches: impl Fn(&Call) -> bool + Send + Sync + 'static,
    ) {
        lock(&self.0).push(Armed {
            skip: nth,
            when,
            failure,
            matches: Box::new(matches),
        });
    }

    /// Disarms the failures that no call has used, and returns them.
    pub fn take_unused(&self) -> Vec<Failure> {
        lock(&self.0).drain(..).map(|armed| armed.failure).collect()
    }

    /// Takes the failure of this call, if one is due, and counts the call for the others that
    /// match.
    pub(crate) fn count_and_take(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        let mut armed = lock(&self.0);
        let mut due = None;
        for (place, one) in armed.iter_mut().enumerate() {
            if one.failure.applies_to(call) && (one.matches)(call) {
                match one.skip.checked_sub(1) {
                    Some(skip) => one.skip = skip,
                    None => due = due.or(Some(place)),
                }
            }
        }
        let Armed { when, failure, .. } = armed.remove(due?);
        Some((when, failure))
    }
}
