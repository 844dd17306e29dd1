//! What was invoked, what it called, and how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_aws::{PartitionAccess, Units};
use tokio::time::Instant;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The tables.
    DynamoDb,
    /// The queues.
    Sqs,
    /// What is posted to connections.
    ApiGateway,
    /// Slack, which is no service of AWS, but is called all the same.
    Slack,
}

impl Service {
    /// As it is written in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB",
            Self::Sqs => "SQS",
            Self::ApiGateway => "ApiGateway",
            Self::Slack => "Slack",
        }
    }
}

impl From<fake_aws::Service> for Service {
    fn from(service: fake_aws::Service) -> Self {
        match service {
            fake_aws::Service::DynamoDb => Self::DynamoDb,
            fake_aws::Service::Sqs => Self::Sqs,
            fake_aws::Service::ApiGateway => Self::ApiGateway,
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was called.
    pub service: Service,
    /// Which of its operations.
    pub operation: String,
    /// When the request was here.
    pub began: Instant,
    /// When the answer was ready.
    pub ended: Instant,
    /// What it costs in a table.
    pub units: Units,
    /// The partitions of tables that it read or wrote.
    pub touched: Vec<PartitionAccess>,
    /// Whether it is a call to a queue that is first in first out.
    pub fifo: bool,
    /// Whether it is a message with a group for a queue that is not: those cost more.
    pub fair: bool,
    /// Bytes of the request.
    pub bytes: usize,
    /// The error's code, if it was refused.
    pub error: Option<String>,
}

impl Call {
    /// One that has just been answered.
    pub(crate) fn new(service: Service, operation: &str, began: Instant) -> Self {
        Self {
            service,
            operation: operation.to_owned(),
            began,
            ended: Instant::now(),
            units: Units::default(),
            touched: Vec::new(),
            fifo: false,
            fair: false,
            bytes: 0,
            error: None,
        }
    }

    /// One that AWS has just answered.
    pub(crate) fn to_aws(call: &fake_aws::Call, began: Instant) -> Self {
        Self {
            units: call.units(),
            touched: call.partition_accesses.clone(),
            fifo: call.fifo,
            fair: call.fair,
            bytes: call.request_bytes,
            error: call.error.clone(),
            ..Self::new(call.service.into(), &call.operation, began)
        }
    }

    /// Such as `DynamoDB.GetItem`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.service.name(), self.operation)
    }

    /// Whether it writes to a table.
    pub fn writes(&self) -> bool {
        self.service == Service::DynamoDb && self.units.write > 0.0
    }

    /// Whether a condition of it did not hold.
    pub fn is_refused(&self) -> bool {
        let refusals = [
            "ConditionalCheckFailedException",
            "TransactionCanceledException",
        ];
        self.error
            .as_deref()
            .is_some_and(|it| refusals.contains(&it))
    }

    /// What is wrong with it, if it is none that a function should make.
    pub(crate) fn fault(&self) -> Option<String> {
        let error = self.error.as_deref()?;
        let expected = self.is_refused() || error == "GoneException";
        (!expected).then(|| format!("{} was answered with {error}", self.name()))
    }
}

/// Invocations of an environment that are not yet taken for warm: they fill caches.
const COLD: usize = 3;

/// What a function was invoked with, as the report names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The message's type.
    pub name: &'static str,
    /// What is particular about it, if anything is.
    pub case: Option<&'static str>,
}

impl Kind {
    /// Nothing particular.
    pub const fn of(name: &'static str) -> Self {
        Self { name, case: None }
    }

    /// In a case.
    pub const fn when(name: &'static str, case: &'static str) -> Self {
        Self {
            name,
            case: Some(case),
        }
    }
}

/// One invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The function.
    pub function: String,
    /// What it was invoked with.
    pub kind: Kind,
    /// How many its environment had before it.
    pub earlier: usize,
    /// Whether it called a service that its environment had not called before: that opens a
    /// connection, and reads what the SDK knows of the service.
    pub is_first_call: bool,
    /// How long a processor worked at it.
    pub warm: Duration,
    /// From the event's being handed out to the answer, without the time in which calls were being
    /// answered.
    pub wall: Duration,
    /// What it called.
    pub calls: Vec<Call>,
    /// MB of memory that the function has.
    pub memory: u64,
    /// Bytes of the message that invoked it.
    pub bytes: usize,
    /// Whether it was invoked by a queue, and whether that is first in first out.
    pub source: Option<bool>,
    /// Whether it came over a connection that was authenticated in its handshake.
    pub by_header: bool,
}

impl Invocation {
    /// Whether its time counts.
    pub const fn is_warm(&self) -> bool {
        self.earlier >= COLD && !self.is_first_call
    }

    /// Its calls by name.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        counts(&self.calls)
    }

    /// Its calls to a service.
    pub fn to(&self, service: Service) -> usize {
        self.calls.iter().filter(|it| it.service == service).count()
    }

    /// Its calls that wrote to a table.
    pub fn writes(&self) -> usize {
        self.calls.iter().filter(|call| call.writes()).count()
    }

    /// Its calls that asked whose connection it is.
    pub fn lookups(&self) -> usize {
        let connection = |touch: &PartitionAccess| touch.partition.starts_with("CONN#");
        let asks = |call: &&Call| call.touched.iter().any(connection);
        self.calls.iter().filter(asks).count()
    }

    /// What its calls cost in the tables.
    pub fn units(&self) -> Units {
        self.calls.iter().map(|call| call.units).sum()
    }
}

/// Calls by name.
pub fn counts<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name()).or_default() += 1;
    }
    counts
}

/// How much of the time from `handed` to `answered` was spent outside of the calls, which may have
/// been under way side by side.
pub fn outside(handed: Instant, answered: Instant, calls: &[Call]) -> Duration {
    let mut spans: Vec<_> = calls.iter().map(|call| (call.began, call.ended)).collect();
    spans.sort();
    let (mut inside, mut until) = (Duration::ZERO, handed);
    for (began, ended) in spans {
        let (from, to) = (began.max(until), ended.min(answered));
        inside += to.saturating_duration_since(from);
        until = until.max(to);
    }
    answered
        .saturating_duration_since(handed)
        .saturating_sub(inside)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn call(service: Service, operation: &str) -> Call {
        Call {
            bytes: 100,
            ..Call::new(service, operation, Instant::now())
        }
    }

    pub(crate) fn touch(partition: &str) -> PartitionAccess {
        PartitionAccess {
            resource: "agents".into(),
            partition: partition.into(),
            units: Units::default(),
        }
    }

    pub(crate) fn invocation(function: &str, kind: Kind, calls: Vec<Call>) -> Invocation {
        Invocation {
            function: function.into(),
            kind,
            earlier: COLD,
            is_first_call: false,
            warm: Duration::from_micros(500),
            wall: Duration::from_micros(900),
            calls,
            memory: 256,
            bytes: 300,
            source: None,
            by_header: true,
        }
    }

    #[test]
    fn calls_side_by_side_are_taken_away_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let span = |began, ended| Call {
            began: at(began),
            ended: at(ended),
            ..call(Service::Sqs, "SendMessage")
        };
        assert_eq!(outside(start, at(10), &[]), Duration::from_millis(10));
        let calls = [span(4, 7), span(2, 5), span(8, 9)];
        assert_eq!(outside(start, at(10), &calls), Duration::from_millis(4));
        let within = [span(2, 8), span(3, 4)];
        assert_eq!(outside(start, at(10), &within), Duration::from_millis(4));
    }

    #[test]
    fn an_identity_is_looked_up_where_a_connection_is_touched() {
        let mut greeting = call(Service::DynamoDb, "UpdateItem");
        greeting.touched = vec![touch("CONN#c")];
        let mut other = call(Service::DynamoDb, "UpdateItem");
        other.touched = vec![touch("AGENT#a")];
        let invocation = invocation("ws-message", Kind::of("TASK_ACK"), vec![greeting, other]);
        assert_eq!(invocation.lookups(), 1);
        assert_eq!(invocation.counts()["DynamoDB.UpdateItem"], 2);
    }
}
