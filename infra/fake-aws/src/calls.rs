//! What is called, what is told of it, and how a call can be made to fail.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    lock::lock,
    units::{Touch, Units},
};

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// DynamoDB.
    DynamoDb,
    /// SQS.
    Sqs,
    /// API Gateway's management API of WebSocket connections.
    ApiGateway,
}

/// A right that a call needs: what IAM would be asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// Such as `GetItem`; those that a transaction is made of, not the transaction.
    pub name: String,
    /// The table, its index as `table/index`, the queue, or the connection.
    pub resource: String,
}

/// One call. What only the answer tells is empty before the effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What was called.
    pub service: Service,
    /// Which of its operations.
    pub operation: String,
    /// The distinct actions that it is made of, in order.
    pub actions: Vec<Action>,
    /// Keys, items or messages that the request names; 1 for a query.
    pub items: usize,
    /// When the request arrived, in Unix milliseconds.
    pub at: u64,
    /// Bytes of the request's body.
    pub request_bytes: usize,
    /// Bytes of the response's body.
    pub response_bytes: usize,
    /// The error's code, if the service answered with one.
    pub error: Option<String>,
    /// The failure that was injected.
    pub failure: Option<Failure>,
    /// What it costs in tables, if calls are metered.
    pub units: Units,
    /// The partitions that it read or wrote, if calls are metered.
    pub touched: Vec<Touch>,
    /// The ids of the messages that it sent.
    pub message_ids: Vec<String>,
    /// Whether it goes to a FIFO queue.
    pub fifo: bool,
    /// Whether it sends a message with a group to a standard queue, a fair one.
    pub fair: bool,
}

impl fmt::Display for Call {
    /// Such as `GetItem TasksTable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        let mut resources: Vec<_> = self.actions.iter().map(|it| &it.resource).collect();
        resources.dedup();
        resources.iter().try_for_each(|it| write!(f, " {it}"))
    }
}

/// The calls since they were taken last.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Option<Vec<Call>>>);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Takes the calls, in the order in which they were answered.
    pub fn take(&self) -> Vec<Call> {
        lock(&self.0)
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Keeps calls, or does not: a long simulation would hold them all. They are kept at first.
    pub fn keep(&self, keep: bool) {
        *lock(&self.0) = keep.then(Vec::new);
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
    /// The service throttles: DynamoDB `ThrottlingException`, SQS `RequestThrottled`, API Gateway
    /// `LimitExceededException` (429). There is no effect.
    Throttled,
    /// Another transaction holds an item: a transaction is cancelled with the reason
    /// `TransactionConflict` at this part, a single write is a `TransactionConflictException`. There is
    /// no effect. Only transactions and single writes can fail so; no other call counts for it.
    TransactionConflict(usize),
}

impl Failure {
    /// Whether a call can fail so.
    pub fn applies_to(self, call: &Call) -> bool {
        match self {
            Self::TransactionConflict(part) => match call.operation.as_str() {
                "TransactWriteItems" | "TransactGetItems" => part < call.items,
                operation => ["PutItem", "UpdateItem", "DeleteItem"].contains(&operation),
            },
            _ => true,
        }
    }
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it takes effect.
    Before,
    /// After it took effect: the answer is lost. For failures that have no effect, the same as before.
    After,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proceed {
    /// It takes effect and is answered.
    Go,
    /// It fails.
    Fail(When, Failure),
}

/// Told of every call. Both methods may wait.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Before a call takes effect.
    async fn before(&self, call: &Call) -> Proceed {
        let _ = call;
        Proceed::Go
    }

    /// After a call took effect or failed, before the caller has the answer.
    async fn after(&self, call: &Call) {
        let _ = call;
    }
}

/// A hook that lets time pass before every call takes effect. In tokio's paused time that takes none.
pub struct Latency<F>(pub F);

#[async_trait]
impl<F: Fn(&Call) -> Duration + Send + Sync> Hook for Latency<F> {
    async fn before(&self, call: &Call) -> Proceed {
        tokio::time::sleep((self.0)(call)).await;
        Proceed::Go
    }
}

/// A hook that gives way to other tasks 0 to 3 times before every call, as often as a seed says: on
/// one thread, the same seed interleaves concurrent tasks the same way.
#[derive(Debug)]
pub struct Interleaving(Mutex<u64>);

impl Interleaving {
    /// As the seed says.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number of splitmix64, of which neighbouring seeds share nothing.
    fn next(&self) -> u64 {
        let mut state = lock(&self.0);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[async_trait]
impl Hook for Interleaving {
    async fn before(&self, _: &Call) -> Proceed {
        for _ in 0..self.next() % 4 {
            tokio::task::yield_now().await;
        }
        Proceed::Go
    }
}

type Matches = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// A failure that waits for its call.
#[derive(Clone)]
struct Armed {
    /// Calls that go well before it.
    after: usize,
    when: When,
    failure: Failure,
    matches: Matches,
}

/// The failures that are armed.
#[derive(Default)]
pub struct Failures(Mutex<Vec<Armed>>);

impl Failures {
    /// Fails the `nth` call from now, counted from 0, once.
    pub fn arm(&self, nth: usize, when: When, failure: Failure) {
        self.arm_for(nth, when, failure, |_| true);
    }

    /// Fails the `nth` call from now of those that match, counted from 0, once.
    pub fn arm_for(
        &self,
        nth: usize,
        when: When,
        failure: Failure,
        matches: impl Fn(&Call) -> bool + Send + Sync + 'static,
    ) {
        lock(&self.0).push(Armed {
            after: nth,
            when,
            failure,
            matches: Arc::new(matches),
        });
    }

    /// The failures that no call has used, disarmed.
    pub fn unused(&self) -> Vec<Failure> {
        let armed = std::mem::take(&mut *lock(&self.0));
        armed.into_iter().map(|armed| armed.failure).collect()
    }

    pub(crate) fn next(&self, call: &Call) -> Proceed {
        let mut armed = lock(&self.0);
        let mut due = None;
        for (place, one) in armed.iter_mut().enumerate() {
            if one.failure.applies_to(call) && (one.matches)(call) {
                match one.after.checked_sub(1) {
                    Some(after) => one.after = after,
                    None => due = due.or(Some(place)),
                }
            }
        }
        due.map_or(Proceed::Go, |place| {
            let Armed { when, failure, .. } = armed.remove(place);
            Proceed::Fail(when, failure)
        })
    }
}
