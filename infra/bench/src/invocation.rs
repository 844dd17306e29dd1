//! What was invoked, what it called, and how long it took.

use std::{collections::BTreeMap, fmt, time::Duration};

use fake_aws::{PartitionAccess, Units};
use serde::{Deserialize, Serialize};
use strum::Display;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Display, Deserialize)]
pub(crate) enum Service {
    #[strum(to_string = "DynamoDB")]
    #[serde(rename = "DynamoDB")]
    DynamoDb,
    #[strum(to_string = "SQS")]
    #[serde(rename = "SQS")]
    Sqs,
    ApiGateway,
    SecretsManager,
    #[strum(to_string = "STS")]
    #[serde(rename = "STS")]
    Sts,
    Slack,
}

impl From<fake_aws::Service> for Service {
    fn from(service: fake_aws::Service) -> Self {
        match service {
            fake_aws::Service::DynamoDb => Self::DynamoDb,
            fake_aws::Service::Sqs => Self::Sqs,
            fake_aws::Service::ApiGateway => Self::ApiGateway,
            fake_aws::Service::SecretsManager => Self::SecretsManager,
            fake_aws::Service::Sts => Self::Sts,
        }
    }
}

/// One call of a function, which has been answered.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) operation: String,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) units: Units,
    pub(crate) partition_accesses: Vec<PartitionAccess>,
    pub(crate) message_ids: Vec<String>,
    pub(crate) fifo: bool,
    /// Whether the call sends a message with a group to a standard queue, which costs more.
    pub(crate) fair: bool,
    pub(crate) bytes: usize,
    pub(crate) error: Option<String>,
}

impl Call {
    pub(crate) fn new(service: Service, operation: &str, began: Instant) -> Self {
        Self {
            service,
            operation: operation.to_owned(),
            began,
            ended: Instant::now(),
            units: Units::default(),
            partition_accesses: Vec::new(),
            message_ids: Vec::new(),
            fifo: false,
            fair: false,
            bytes: 0,
            error: None,
        }
    }

    pub(crate) fn from_fake_aws(call: &fake_aws::Call, began: Instant) -> Self {
        Self {
            units: call.units(),
            partition_accesses: call.partition_accesses.clone(),
            message_ids: call.message_ids.clone(),
            fifo: call.fifo,
            fair: call.fair,
            bytes: call.request_bytes,
            error: call.error.clone(),
            ..Self::new(call.service.into(), &call.operation, began)
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.service, self.operation)
    }

    pub(crate) fn is_refused_write(&self) -> bool {
        matches!(
            self.error.as_deref(),
            Some("ConditionalCheckFailedException" | "TransactionCanceledException")
        )
    }

    /// What is wrong with the call, if no function should make it.
    pub(crate) fn unexpected_error(&self) -> Option<String> {
        let error = self.error.as_deref()?;
        let expected = self.is_refused_write() || error == "GoneException";
        (!expected).then(|| format!("{} was answered with {error}", self.name()))
    }
}

/// What is particular about a message or an invocation, as it is reported.
pub(crate) type SpecialCase = Option<&'static str>;

/// What an invocation handles: a message by its type (`TASK_ACK`), anything else by a name
/// (`refresh`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct InvocationKind {
    #[serde(rename = "type")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) case: SpecialCase,
}

impl InvocationKind {
    pub(crate) fn new(name: &str, case: SpecialCase) -> Self {
        let name = name.to_owned();
        Self { name, case }
    }
}

impl fmt::Display for InvocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.case.map_or(Ok(()), |case| write!(f, " ({case})"))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) function: String,
    pub(crate) kind: InvocationKind,
    /// Whether the time counts: the environment is past its first invocations, which fill caches,
    /// and has called all these services before. A first call opens a connection, and reads what
    /// the SDK knows of the service.
    pub(crate) is_warm: bool,
    pub(crate) warm: Duration,
    /// The time from handing the event out to the answer, without that in which calls were
    /// answered.
    pub(crate) wall: Duration,
    pub(crate) calls: Vec<Call>,
    pub(crate) memory: u64,
    pub(crate) bytes: usize,
    /// Whether the queue that invoked the function is a FIFO queue; none if no queue did.
    pub(crate) fifo_source: Option<bool>,
    /// Whether the message came over a connection that was authenticated in its handshake.
    pub(crate) by_header: bool,
}

impl Invocation {
    pub(crate) fn calls_to(&self, service: Service) -> usize {
        self.calls.iter().filter(|it| it.service == service).count()
    }

    pub(crate) fn writes(&self) -> usize {
        self.calls.iter().filter(|it| it.units.write > 0.0).count()
    }

    /// The number of calls that read or wrote the record of a connection.
    pub(crate) fn connection_record_calls(&self) -> usize {
        let connection = |touch: &PartitionAccess| touch.partition.starts_with("CONN#");
        let calls = self.calls.iter();
        calls
            .filter(|it| it.partition_accesses.iter().any(connection))
            .count()
    }

    pub(crate) fn units(&self) -> Units {
        self.calls.iter().map(|call| call.units).sum()
    }
}

pub(crate) fn count_calls_by_name<'a>(
    calls: impl IntoIterator<Item = &'a Call>,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name()).or_default() += 1;
    }
    counts
}

/// How much of the time from `handed_out` to `answered` was outside of the calls, which may have
/// been side by side.
pub(crate) fn time_outside_calls(
    handed_out: Instant,
    answered: Instant,
    calls: &[Call],
) -> Duration {
    let mut spans: Vec<_> = calls.iter().map(|call| (call.began, call.ended)).collect();
    spans.sort();
    let (mut inside, mut until) = (Duration::ZERO, handed_out);
    for (began, ended) in spans {
        let (from, to) = (began.max(until), ended.min(answered));
        inside += to.duration_since(from);
        until = until.max(to);
    }
    answered.duration_since(handed_out).saturating_sub(inside)
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

    pub(crate) fn invocation(function: &str, kind: InvocationKind, calls: Vec<Call>) -> Invocation {
        Invocation {
            function: function.into(),
            kind,
            is_warm: true,
            warm: Duration::from_micros(500),
            wall: Duration::from_micros(900),
            calls,
            memory: 256,
            bytes: 300,
            fifo_source: None,
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
        assert_eq!(
            time_outside_calls(start, at(10), &[]),
            Duration::from_millis(10)
        );
        let calls = [span(4, 7), span(2, 5), span(8, 9)];
        assert_eq!(
            time_outside_calls(start, at(10), &calls),
            Duration::from_millis(4)
        );
        let within = [span(2, 8), span(3, 4)];
        assert_eq!(
            time_outside_calls(start, at(10), &within),
            Duration::from_millis(4)
        );
    }

    #[test]
    fn an_identity_is_looked_up_where_a_connection_is_touched() {
        let mut greeting = call(Service::DynamoDb, "UpdateItem");
        greeting.partition_accesses = vec![touch("CONN#c")];
        let mut other = call(Service::DynamoDb, "UpdateItem");
        other.partition_accesses = vec![touch("AGENT#a")];
        let invocation = invocation(
            "ws-message",
            InvocationKind::new("TASK_ACK", None),
            vec![greeting, other],
        );
        assert_eq!(invocation.connection_record_calls(), 1);
        assert_eq!(
            count_calls_by_name(&invocation.calls)["DynamoDB.UpdateItem"],
            2
        );
    }
}
