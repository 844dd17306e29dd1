//! The report of the bench, as `--json` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::Units;
use serde::Serialize;

use crate::common::{millis, percentile};
use crate::invocation::{Invocation, InvocationKind, count_calls_by_name};
use crate::prices::{Cost, Prices};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) profile: String,
    pub(crate) rounds: u16,
    pub(crate) prices_of: String,
    pub(crate) floor: FloorRow,
    pub(crate) functions: Vec<FunctionRow>,
    pub(crate) messages: Vec<MessageRow>,
    /// The most invocations that led to each other by messages.
    pub(crate) longest_chain: u32,
    pub(crate) task: Option<TaskRow>,
    #[serde(rename = "targets")]
    pub(crate) limits: Vec<Limit>,
}

/// The size of a function, and its starts.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartFigures {
    /// Milliseconds from exec to the first poll.
    pub(crate) init_ms_p50: f64,
    pub(crate) init_ms_p99: f64,
    pub(crate) max_rss_kb: u64,
    pub(crate) zip_bytes: u64,
}

/// Milliseconds that a processor works at an invocation.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WarmTimes {
    pub(crate) warm_ms_p50: Option<f64>,
    pub(crate) warm_ms_p99: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FloorRow {
    #[serde(flatten)]
    pub(crate) starts: StartFigures,
    #[serde(flatten)]
    pub(crate) warm: WarmTimes,
    /// Milliseconds that a processor works at a bare exchange with the endpoint of AWS, which are left out of
    /// every other warm time for each call.
    pub(crate) exchange_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FunctionRow {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) starts: StartFigures,
}

/// All invocations of a function with messages of a kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageRow {
    #[serde(flatten)]
    pub(crate) kind: InvocationKind,
    pub(crate) function: String,
    pub(crate) samples: usize,
    #[serde(flatten)]
    pub(crate) warm: WarmTimes,
    /// Milliseconds that passed, without the calls: on a busy machine mostly waits for a processor.
    pub(crate) wall_ms_p50: Option<f64>,
    pub(crate) wall_ms_p99: Option<f64>,
    pub(crate) aws_calls: BTreeMap<String, usize>,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskRow {
    pub(crate) aws_calls: BTreeMap<String, usize>,
    pub(crate) lambda_invocations: usize,
    pub(crate) invocations: BTreeMap<String, usize>,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
    pub(crate) usd_per_1000: f64,
    pub(crate) usd_per_1000_by_service: Cost,
    /// The cost of log lines, which is not in the sum.
    pub(crate) logs_usd_per_1000: f64,
    pub(crate) parts: Vec<TaskPartRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskPartRow {
    #[serde(rename = "type")]
    pub(crate) name: String,
    pub(crate) function: String,
    pub(crate) invocations: usize,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
    pub(crate) usd_per_1000: f64,
}

/// A limit, and the figures that were measured against it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    #[serde(rename = "limit")]
    pub(crate) at_most: f64,
    /// The worst figure; none if nothing was measured.
    pub(crate) worst: Option<f64>,
    pub(crate) of: Option<String>,
    pub(crate) met: bool,
    /// All that exceed the limit, with their figures.
    pub(crate) failing: Vec<String>,
}

impl Limit {
    pub(crate) fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            name,
            ..Self::default()
        }
    }

    /// Compares the limit with all figures, each with what it is of.
    pub(crate) fn check(
        self,
        at_most: f64,
        figures: impl IntoIterator<Item = (String, f64)>,
    ) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
        let mut known = BTreeSet::new();
        figures.retain(|(of, _)| known.insert(of.clone()));
        let failing = figures.iter().filter(|(_, figure)| *figure > at_most);
        let failing = failing.map(|(of, figure)| format!("{of} {figure:.2}"));
        let failing = failing.collect::<Vec<_>>();
        let (of, worst) = figures.into_iter().next().unzip();
        Self {
            at_most,
            met: worst.is_some() && failing.is_empty(),
            worst,
            of,
            failing,
            ..self
        }
    }
}

pub(crate) fn message_rows(log: &[Invocation]) -> Vec<MessageRow> {
    let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for it in log {
        rows.entry((&it.function, &it.kind)).or_default().push(it);
    }
    let row = |((function, kind), all): ((&String, &InvocationKind), Vec<&Invocation>)| {
        let wall = warm_invocation_millis(&all, |it| it.wall);
        let median = |units: fn(Units) -> f64| {
            let values: Vec<_> = all.iter().map(|it| units(it.units())).collect();
            percentile(&values, 50).unwrap_or_default()
        };
        MessageRow {
            kind: kind.clone(),
            function: function.clone(),
            samples: wall.len(),
            warm: warm_times(&all),
            wall_ms_p50: percentile(&wall, 50),
            wall_ms_p99: percentile(&wall, 99),
            aws_calls: commonest(all.iter().map(|it| count_calls_by_name(&it.calls))),
            read_units: median(|it| it.read),
            write_units: median(|it| it.write),
        }
    };
    rows.into_iter().map(row).collect()
}

/// The milliseconds of `time` of each warm invocation.
fn warm_invocation_millis(all: &[&Invocation], time: fn(&Invocation) -> Duration) -> Vec<f64> {
    let warm = all.iter().filter(|it| it.is_warm);
    warm.map(|it| millis(time(it))).collect()
}

pub(crate) fn warm_times(all: &[&Invocation]) -> WarmTimes {
    let warm = warm_invocation_millis(all, |it| it.warm);
    WarmTimes {
        warm_ms_p50: percentile(&warm, 50),
        warm_ms_p99: percentile(&warm, 99),
    }
}

fn commonest<T: Ord + Default>(all: impl Iterator<Item = T>) -> T {
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for one in all {
        *times.entry(one).or_default() += 1;
    }
    let most = times.into_iter().max_by_key(|(_, times)| *times);
    most.map(|(one, _)| one).unwrap_or_default()
}

/// The row of the ordinary task, of its invocations and the bytes of its log lines.
pub(crate) fn task_row(log: &[Invocation], logged: u64, prices: &Prices) -> TaskRow {
    let units: Units = log.iter().map(Invocation::units).sum();
    let cost = prices.invocations_cost(log).times(1000.0);
    let mut invocations = BTreeMap::new();
    let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for it in log {
        *invocations.entry(it.function.clone()).or_default() += 1;
        let part = parts.entry((&it.function, &it.kind.name));
        part.or_default().push(it);
    }
    let parts = parts.into_iter().map(|((function, name), all)| {
        let units: Units = all.iter().map(|it| it.units()).sum();
        TaskPartRow {
            name: name.clone(),
            function: function.clone(),
            invocations: all.len(),
            read_units: units.read,
            write_units: units.write,
            usd_per_1000: prices.invocations_cost(all).times(1000.0).total(),
        }
    });
    let mut parts: Vec<_> = parts.collect();
    parts.sort_by(|a, b| b.usd_per_1000.total_cmp(&a.usd_per_1000));
    TaskRow {
        aws_calls: count_calls_by_name(log.iter().flat_map(|it| &it.calls)),
        lambda_invocations: log.len(),
        invocations,
        read_units: units.read,
        write_units: units.write,
        usd_per_1000: cost.total(),
        usd_per_1000_by_service: cost,
        logs_usd_per_1000: prices.logs_cost(logged) * 1000.0,
        parts,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::invocation::Service;
    use crate::invocation::tests::{call, invocation};

    pub(crate) fn sample() -> Report {
        let log = [
            invocation(
                "ws-message",
                InvocationKind::new("TASK_ACK", None),
                vec![call(Service::Sqs, "SendMessage")],
            ),
            invocation(
                "ws-message",
                InvocationKind::new("HEARTBEAT_PING", Some("within a minute")),
                Vec::new(),
            ),
        ];
        let prices = Prices::load().unwrap();
        Report {
            profile: "release".into(),
            rounds: 1,
            prices_of: prices.date.clone(),
            floor: FloorRow {
                starts: StartFigures {
                    init_ms_p50: 2.0,
                    init_ms_p99: 3.0,
                    max_rss_kb: 4000,
                    zip_bytes: 800_000,
                },
                warm: WarmTimes {
                    warm_ms_p50: Some(0.2),
                    warm_ms_p99: Some(0.4),
                },
                exchange_ms: Some(0.05),
            },
            functions: vec![FunctionRow {
                name: "ws-message".into(),
                starts: StartFigures {
                    zip_bytes: 3_000_000,
                    init_ms_p50: 10.0,
                    init_ms_p99: 12.0,
                    max_rss_kb: 15_000,
                },
            }],
            messages: message_rows(&log),
            longest_chain: 2,
            task: Some(task_row(&log, 2000, &prices)),
            limits: Vec::new(),
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
        has(
            "",
            &[
                "floor",
                "functions",
                "messages",
                "task",
                "targets",
                "longestChain",
            ],
        );
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
        let kind = InvocationKind::new("TASK_STREAM", None);
        let one = || vec![call(Service::DynamoDb, "PutItem")];
        let mut trim = one();
        trim.push(call(Service::DynamoDb, "BatchWriteItem"));
        let log = [one(), trim, one()].map(|calls| invocation("ws-message", kind.clone(), calls));
        let rows = message_rows(&log);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            rows[0].aws_calls,
            [("DynamoDB.PutItem".to_owned(), 1)].into()
        );
        assert_eq!(rows[0].samples, 3);
    }
}
