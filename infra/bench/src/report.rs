//! What was measured, as the JSON has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::Units;
use serde::Serialize;

use crate::log::{Invocation, Kind, counts};
use crate::prices::{Cost, Prices};
use crate::stats::{millis, percentile};
use crate::target::Target;

/// All of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The cargo profile that was built with.
    pub profile: String,
    /// How often everything was done.
    pub rounds: usize,
    /// When the prices were as they are counted here.
    pub prices_of: String,
    /// A function that does nothing.
    pub floor: Floor,
    /// The functions.
    pub functions: Vec<FunctionRow>,
    /// What they were invoked with.
    pub messages: Vec<MessageRow>,
    /// The ordinary task.
    pub task: Option<TaskRow>,
    /// What is to be reached, and whether it is.
    pub targets: Vec<Target>,
}

/// A function that does nothing, on the same runtime.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Floor {
    /// Milliseconds from exec to the first poll.
    pub init_ms_p50: f64,
    /// As above.
    pub init_ms_p99: f64,
    /// KB of memory at most.
    pub max_rss_kb: u64,
    /// Bytes of what is uploaded.
    pub zip_bytes: u64,
    /// Milliseconds of a processor for an invocation.
    pub warm_ms_p50: Option<f64>,
    /// As above.
    pub warm_ms_p99: Option<f64>,
    /// Milliseconds of a processor for a bare exchange with the endpoint of AWS: what is left out
    /// of every other warm time, for each call.
    pub exchange_ms: Option<f64>,
}

/// A function.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Bytes of what is uploaded.
    pub zip_bytes: u64,
    /// Milliseconds from exec to the first poll.
    pub init_ms_p50: f64,
    /// As above.
    pub init_ms_p99: f64,
    /// KB of memory at most.
    pub max_rss_kb: u64,
}

/// What a function was invoked with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRow {
    /// Its type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// What is particular about it, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<&'static str>,
    /// The function.
    pub function: String,
    /// Invocations of a warm environment.
    pub samples: usize,
    /// Milliseconds of a processor for an invocation.
    pub warm_ms_p50: Option<f64>,
    /// As above.
    pub warm_ms_p99: Option<f64>,
    /// Milliseconds that passed, without the calls: on a busy machine mostly waits for a processor.
    pub wall_ms_p50: Option<f64>,
    /// As above.
    pub wall_ms_p99: Option<f64>,
    /// The calls of most of them, by name.
    pub aws_calls: BTreeMap<String, usize>,
    /// Read units of the median one.
    pub read_units: f64,
    /// Write units of the median one.
    pub write_units: f64,
}

/// The ordinary task.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    /// All calls, by name.
    pub aws_calls: BTreeMap<String, usize>,
    /// Invocations.
    pub lambda_invocations: usize,
    /// Invocations, by function.
    pub invocations: BTreeMap<String, usize>,
    /// Read units.
    pub read_units: f64,
    /// Write units.
    pub write_units: f64,
    /// US dollars that a thousand of them cost.
    pub usd_per_1000: f64,
    /// The same by service.
    pub usd_per_1000_by_service: Cost,
    /// What their log lines cost beside that.
    pub logs_usd_per_1000: f64,
    /// What each kind of message has in that, the dearest first.
    pub parts: Vec<TaskPart>,
}

/// All invocations of the ordinary task with one kind of message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPart {
    /// The message's type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// The function.
    pub function: String,
    /// How many.
    pub invocations: usize,
    /// Read units.
    pub read_units: f64,
    /// Write units.
    pub write_units: f64,
    /// US dollars in a thousand tasks.
    pub usd_per_1000: f64,
}

/// The rows of the messages, in the order of their types.
pub(crate) fn messages(log: &[Invocation]) -> Vec<MessageRow> {
    let kinds: BTreeSet<(&str, Kind)> = log
        .iter()
        .filter(|it| it.function != crate::common::FLOOR)
        .map(|it| (it.function.as_str(), it.kind))
        .collect();
    let row = |(function, kind): (&str, Kind)| {
        let all: Vec<_> = log
            .iter()
            .filter(|it| it.function == function && it.kind == kind)
            .collect();
        message(function, kind, &all)
    };
    kinds.into_iter().map(row).collect()
}

fn message(function: &str, kind: Kind, all: &[&Invocation]) -> MessageRow {
    let warm = warm(all.iter().copied(), |it| it.warm);
    let wall = self::warm(all.iter().copied(), |it| it.wall);
    let median = |of: fn(&Invocation) -> f64| {
        let values: Vec<_> = all.iter().map(|it| of(it)).collect();
        percentile(&values, 50).unwrap_or_default()
    };
    MessageRow {
        name: kind.name,
        case: kind.case,
        function: function.to_owned(),
        samples: warm.len(),
        warm_ms_p50: percentile(&warm, 50),
        warm_ms_p99: percentile(&warm, 99),
        wall_ms_p50: percentile(&wall, 50),
        wall_ms_p99: percentile(&wall, 99),
        aws_calls: commonest(all.iter().map(|it| it.counts())),
        read_units: median(|it| it.units().read),
        write_units: median(|it| it.units().write),
    }
}

/// Milliseconds of those that count.
pub(crate) fn warm<'a>(
    all: impl Iterator<Item = &'a Invocation>,
    of: fn(&Invocation) -> Duration,
) -> Vec<f64> {
    let warm = all.filter(|it| it.is_warm());
    warm.map(|it| millis(of(it))).collect()
}

fn commonest(all: impl Iterator<Item = BTreeMap<String, usize>>) -> BTreeMap<String, usize> {
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for counts in all {
        *times.entry(counts).or_default() += 1;
    }
    let most = times.into_iter().max_by_key(|(_, times)| *times);
    most.map(|(counts, _)| counts).unwrap_or_default()
}

/// The row of the ordinary task, of its invocations and the bytes of its log lines.
pub(crate) fn task(invocations: &[Invocation], logged: u64, prices: &Prices) -> TaskRow {
    let units = invocations.iter().map(Invocation::units);
    let units: Units = units.sum();
    let cost = prices.cost(invocations).times(1000.0);
    let mut by_function = BTreeMap::new();
    for invocation in invocations {
        *by_function.entry(invocation.function.clone()).or_default() += 1;
    }
    TaskRow {
        aws_calls: counts(invocations.iter().flat_map(|it| &it.calls)),
        lambda_invocations: invocations.len(),
        invocations: by_function,
        read_units: units.read,
        write_units: units.write,
        usd_per_1000: cost.total(),
        usd_per_1000_by_service: cost,
        logs_usd_per_1000: prices.logs(logged) * 1000.0,
        parts: parts(invocations, prices),
    }
}

fn parts(invocations: &[Invocation], prices: &Prices) -> Vec<TaskPart> {
    let mut by_kind: BTreeMap<_, Vec<&Invocation>> = BTreeMap::new();
    for invocation in invocations {
        let kind = (invocation.function.as_str(), invocation.kind.name);
        by_kind.entry(kind).or_default().push(invocation);
    }
    let part = |((function, name), all): ((&str, &'static str), Vec<&Invocation>)| {
        let units: Units = all.iter().map(|it| it.units()).sum();
        TaskPart {
            name,
            function: function.to_owned(),
            invocations: all.len(),
            read_units: units.read,
            write_units: units.write,
            usd_per_1000: prices.cost(all).times(1000.0).total(),
        }
    };
    let mut parts: Vec<_> = by_kind.into_iter().map(part).collect();
    parts.sort_by(|a, b| b.usd_per_1000.total_cmp(&a.usd_per_1000));
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::log::Service;
    use crate::log::tests::{call, invocation};

    pub(crate) fn sample() -> Report {
        let log = [
            invocation(
                "ws-message",
                Kind::of("TASK_ACK"),
                vec![call(Service::Sqs, "SendMessage")],
            ),
            invocation(
                "ws-message",
                Kind::when("HEARTBEAT_PING", "within a minute"),
                Vec::new(),
            ),
        ];
        let prices = Prices::read().unwrap();
        Report {
            profile: "release".into(),
            rounds: 1,
            prices_of: prices.date.clone(),
            floor: Floor {
                init_ms_p50: 2.0,
                init_ms_p99: 3.0,
                max_rss_kb: 4000,
                zip_bytes: 800_000,
                warm_ms_p50: Some(0.2),
                warm_ms_p99: Some(0.4),
                exchange_ms: Some(0.05),
            },
            functions: vec![FunctionRow {
                name: "ws-message".into(),
                zip_bytes: 3_000_000,
                init_ms_p50: 10.0,
                init_ms_p99: 12.0,
                max_rss_kb: 15_000,
            }],
            messages: messages(&log),
            task: Some(task(&log, 2000, &prices)),
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_json_has_every_field() {
        let json = serde_json::to_value(sample()).unwrap();
        let has = |at: &str, fields: &[&str]| {
            let object = json.pointer(at).and_then(|it| it.as_object()).unwrap();
            for field in fields {
                assert!(
                    object.contains_key(*field),
                    "{at} has no {field}: {object:?}"
                );
            }
        };
        let start = ["zipBytes", "initMsP50", "initMsP99", "maxRssKb"];
        has("", &["floor", "functions", "messages", "task", "targets"]);
        has("/floor", &start);
        has("/functions/0", &start);
        has("/functions/0", &["name"]);
        let message = [
            "type",
            "function",
            "warmMsP50",
            "warmMsP99",
            "awsCalls",
            "readUnits",
            "writeUnits",
        ];
        has("/messages/0", &message);
        has("/task", &["awsCalls", "lambdaInvocations", "usdPer1000"]);
        assert_eq!(json["messages"][1]["awsCalls"]["SQS.SendMessage"], 1);
        assert_eq!(json["messages"][0]["case"], "within a minute");
    }

    #[test]
    fn a_row_has_the_calls_of_most() {
        let kind = Kind::of("TASK_STREAM");
        let one = || vec![call(Service::DynamoDb, "PutItem")];
        let mut trim = one();
        trim.push(call(Service::DynamoDb, "BatchWriteItem"));
        let log = [one(), trim, one()].map(|calls| invocation("ws-message", kind, calls));
        let rows = messages(&log);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            rows[0].aws_calls,
            [("DynamoDB.PutItem".to_owned(), 1)].into()
        );
        assert_eq!(rows[0].samples, 3);
    }
}
