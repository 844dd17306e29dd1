//! What is to be reached. Each target is a limit and the worst that was measured; counts are those
//! of the worst invocation, not of most.

use std::time::Duration;

use bematic::agent::SEEN_EVERY;

use crate::agent::{IN_BAND, UNDER_WAY, UNSEEN};
use crate::driver::{HEARTBEATS, MESSAGES};
use crate::log::{Invocation, Service};
use crate::report::{Floor, FunctionRow, MessageRow, TaskRow};
use crate::scenario::{AGAIN, DUE, ELSEWHERE, RUN};
use crate::stage::CONFLICT;
use crate::target::Target;

/// What the targets are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'a> {
    pub(crate) floor: &'a Floor,
    pub(crate) functions: &'a [FunctionRow],
    pub(crate) messages: &'a [MessageRow],
    pub(crate) task: Option<&'a TaskRow>,
    pub(crate) log: &'a [Invocation],
}

/// All targets. Those of which nothing can have been measured are left out.
pub(crate) fn targets(measured: Measured<'_>) -> Vec<Target> {
    let mut targets = starts(measured);
    if !measured.log.is_empty() {
        targets.extend(heartbeats(measured.log));
        targets.extend(round_trips(measured.log));
        targets.extend(times(measured));
    }
    targets.extend(measured.task.map(cost));
    targets
}

/// The targets that are no times: they hold for every profile, on every machine.
pub(crate) fn counted(log: &[Invocation], task: &TaskRow) -> Vec<Target> {
    let mut targets = heartbeats(log);
    targets.extend(round_trips(log));
    targets.push(cost(task));
    targets
}

fn cost(task: &TaskRow) -> Target {
    let figure = ("the ordinary task".to_owned(), task.usd_per_1000);
    Target::of("USD per 1000 ordinary tasks", 0.27, [figure])
}

fn is_socket(function: &str) -> bool {
    function.starts_with("ws-")
}

/// Starting, size and memory.
#[expect(clippy::cast_precision_loss, reason = "sizes of a few MB")]
fn starts(measured: Measured<'_>) -> Vec<Target> {
    let Measured {
        floor, functions, ..
    } = measured;
    let init = |sockets: bool| {
        let of = functions
            .iter()
            .filter(move |it| is_socket(&it.name) == sockets);
        of.map(|it| (it.name.clone(), it.init_ms_p50 / floor.init_ms_p50))
    };
    let size = |of: fn(&FunctionRow) -> u64| {
        let figure = move |it: &FunctionRow| (it.name.clone(), of(it) as f64 / 1000.0);
        functions.iter().map(figure)
    };
    let resident = floor.max_rss_kb as f64 / 1000.0 * 3.0 + 8.0;
    vec![
        Target::of("init of ws-*, × floor (p50)", 6.0, init(true)),
        Target::of("init of the others, × floor (p50)", 10.0, init(false)),
        Target::of("zip, MB", 6.0, size(|it| it.zip_bytes / 1000)),
        Target::of(
            "resident memory, MB (3 × floor + 8)",
            resident,
            size(|it| it.max_rss_kb),
        ),
    ]
}

/// The figure of every invocation that `wanted` picks.
#[expect(clippy::cast_precision_loss, reason = "a few calls")]
fn each<'a>(
    log: &'a [Invocation],
    wanted: impl Fn(&Invocation) -> bool + 'a,
    figure: impl Fn(&Invocation) -> usize + 'a,
) -> impl Iterator<Item = (String, f64)> + 'a {
    let of = log.iter().filter(move |it| wanted(it));
    of.map(move |it| (describe(it), figure(it) as f64))
}

fn describe(invocation: &Invocation) -> String {
    match invocation.kind.case {
        None => invocation.kind.name.to_owned(),
        Some(case) => format!("{} ({case})", invocation.kind.name),
    }
}

/// What agents send of a running task.
const REPORTS: [&str; 2] = ["TASK_PROGRESS", "TASK_STREAM"];
/// The ends of attempts.
const TERMINAL: [&str; 3] = ["TASK_COMPLETE", "TASK_ERROR", "TASK_CANCELLED"];

/// Invocations of a kind in a case.
fn case(name: &'static str, case: &'static str) -> impl Fn(&Invocation) -> bool {
    move |it| it.kind.name == name && it.kind.case == Some(case)
}

fn heartbeats(log: &[Invocation]) -> Vec<Target> {
    let dynamo = |it: &Invocation| it.to(Service::DynamoDb);
    vec![
        Target::of(
            "HEARTBEAT_PING, the first in a while: writes",
            1.0,
            each(log, case("HEARTBEAT_PING", DUE), Invocation::writes),
        ),
        Target::of(
            "HEARTBEAT_PING, within a minute: calls to DynamoDB",
            0.0,
            each(log, case("HEARTBEAT_PING", AGAIN), dynamo),
        ),
        Target::of(
            "HEARTBEAT_PING: writes a minute, as often as SEEN_EVERY lets them be",
            1.0,
            [("HEARTBEAT_PING".to_owned(), a_minute(SEEN_EVERY))],
        ),
    ]
}

fn round_trips(log: &[Invocation]) -> Vec<Target> {
    let mut targets = of_tasks(log);
    targets.extend(of_connections(log));
    let is_run = |it: &Invocation| it.kind.name == RUN;
    let calls = each(log, is_run, |it| it.calls.len());
    targets.push(Target::of("/bm run: calls", 3.0, calls));
    targets
}

fn of_tasks(log: &[Invocation]) -> Vec<Target> {
    let is = |name: &'static str| move |it: &Invocation| it.kind.name == name;
    let in_case = |case: &'static str| move |it: &Invocation| it.kind.case == Some(case);
    let (unseen, under_way) = (in_case(UNSEEN), in_case(UNDER_WAY));
    let report = |it: &Invocation| REPORTS.contains(&it.kind.name);
    let hot = move |it: &Invocation| report(it) || it.kind.name == "TASK_ACK";
    let terminal = |it: &Invocation| TERMINAL.contains(&it.kind.name);
    let usual = move |it: &Invocation| !unseen(it) && !in_case(CONFLICT)(it);
    let dynamo = |it: &Invocation| it.to(Service::DynamoDb);
    let sqs = |it: &Invocation| it.to(Service::Sqs);
    let posts = |it: &Invocation| it.to(Service::ApiGateway);
    let conflict = move |it: &Invocation| (hot(it) || terminal(it)) && in_case(CONFLICT)(it);
    vec![
        Target::of(
            "TASK_ACK: reads",
            1.0,
            each(log, is("TASK_ACK"), move |it| dynamo(it) - it.writes()),
        ),
        Target::of(
            "TASK_ACK: writes",
            1.0,
            each(log, is("TASK_ACK"), Invocation::writes),
        ),
        Target::of(
            "TASK_PROGRESS, _STREAM: calls to DynamoDB",
            1.0,
            each(log, move |it| report(it) && usual(it), dynamo),
        ),
        Target::of(
            "the same, the first of an attempt in an environment",
            2.0,
            each(log, move |it| report(it) && unseen(it), dynamo),
        ),
        Target::of(
            "TASK_ACK, _PROGRESS, _STREAM: calls to SQS",
            1.0,
            each(log, hot, sqs),
        ),
        Target::of(
            "the same while a refresh is under way: calls to SQS",
            0.0,
            each(log, move |it| hot(it) && under_way(it), sqs),
        ),
        Target::of(
            "TASK_COMPLETE, _ERROR, _CANCELLED: calls to DynamoDB",
            1.0,
            each(log, move |it| terminal(it) && usual(it), dynamo),
        ),
        Target::of(
            "the same in an environment that has not seen the attempt",
            2.0,
            each(log, move |it| terminal(it) && unseen(it), dynamo),
        ),
        Target::of(
            "messages about tasks after a version conflict: calls to DynamoDB",
            3.0,
            each(log, conflict, dynamo),
        ),
        Target::of(
            "TASK_COMPLETE: calls to SQS",
            1.0,
            each(log, is("TASK_COMPLETE"), sqs),
        ),
        Target::of(
            "TASK_COMPLETE: posts",
            1.0,
            each(log, is("TASK_COMPLETE"), posts),
        ),
    ]
}

fn of_connections(log: &[Invocation]) -> Vec<Target> {
    let plain = |function: &'static str, name: &'static str| {
        move |it: &Invocation| {
            it.function == function && it.kind.name == name && it.kind.case.is_none()
        }
    };
    let all = |it: &Invocation| it.calls.len();
    let socket = |it: &Invocation| [MESSAGES, HEARTBEATS].contains(&&*it.function);
    let by_header = move |it: &Invocation| socket(it) && it.by_header;
    let known = move |it: &Invocation| {
        let new = it.kind.name == "AUTH_REQUEST" || it.kind.case == Some(ELSEWHERE);
        socket(it) && !it.by_header && !new
    };
    let new = move |it: &Invocation| socket(it) && it.kind.case == Some(ELSEWHERE);
    vec![
        Target::of(
            "identity look-ups, authenticated by header",
            0.0,
            each(log, by_header, Invocation::lookups),
        ),
        Target::of(
            "identity look-ups in band, new to the environment",
            1.0,
            each(log, new, Invocation::lookups),
        ),
        Target::of(
            "identity look-ups in band, known to the environment",
            0.0,
            each(log, known, Invocation::lookups),
        ),
        Target::of(
            "$connect: calls of ws-connect",
            2.0,
            each(log, plain("ws-connect", "$connect"), all),
        ),
        Target::of(
            "$disconnect: calls",
            1.0,
            each(log, plain("ws-disconnect", "$disconnect"), all),
        ),
        Target::of(
            "$disconnect of a connection that authenticated in band: calls",
            2.0,
            each(log, case("$disconnect", IN_BAND), all),
        ),
    ]
}

/// How often something can be in a minute that may be every so often.
fn a_minute(every: Duration) -> f64 {
    (60.0 / every.as_secs_f64()).ceil()
}

/// Returns ratios to the floor: an absolute time does not hold from one machine to the next. A
/// version conflict has none: it is two messages' work, and its calls have a limit of their own.
fn times(measured: Measured<'_>) -> Option<Target> {
    let floor = measured.floor.warm_ms_p50?;
    let sockets = measured.messages.iter();
    let sockets = sockets.filter(|it| is_socket(&it.function) && it.case != Some(CONFLICT));
    let figures = sockets.filter_map(|it| {
        let case = it.case.map(|case| format!(" ({case})")).unwrap_or_default();
        Some((format!("{}{case}", it.name), it.warm_ms_p50? / floor))
    });
    Some(Target::of(
        "warm time of WebSocket messages, × floor (p50)",
        9.0,
        figures,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Kind;
    use crate::log::tests::{call, invocation, touch};
    use crate::report::tests::sample;

    fn find<'a>(targets: &'a [Target], name: &str) -> &'a Target {
        let found = targets.iter().find(|target| target.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no target {name}"))
    }

    fn of(log: &[Invocation]) -> Vec<Target> {
        let report = sample();
        targets(Measured {
            floor: &report.floor,
            functions: &report.functions,
            messages: &report.messages,
            task: report.task.as_ref(),
            log,
        })
    }

    #[test]
    fn starts_are_compared_with_the_floor() {
        let targets = of(&[]);
        let init = find(&targets, "init of ws-*");
        assert_eq!((init.worst, init.met), (Some(5.0), true));
        let others = find(&targets, "init of the others");
        assert!(
            !others.met && others.worst.is_none(),
            "what was not measured is not met"
        );
        let memory = find(&targets, "resident memory");
        assert!(
            memory.met && memory.limit > 19.9 && memory.limit < 20.1,
            "{memory:?}"
        );
        let zip = find(&targets, "zip");
        assert_eq!(zip.worst, Some(3000.0 / 1000.0));
    }

    #[test]
    fn the_worst_invocation_counts() {
        let kind = Kind::of("TASK_ACK");
        let get = || call(Service::DynamoDb, "GetItem");
        let log = [
            invocation("ws-message", kind, vec![get()]),
            invocation("ws-message", kind, vec![get(), get()]),
        ];
        let targets = of(&log);
        let reads = find(&targets, "TASK_ACK: reads");
        assert_eq!((reads.worst, reads.met), (Some(2.0), false));
        assert_eq!(reads.failing, ["TASK_ACK 2.00"]);
        assert!(find(&targets, "TASK_ACK, _PROGRESS, _STREAM: calls to SQS").met);
    }

    #[test]
    fn a_version_conflict_is_told_apart() {
        let write = || call(Service::DynamoDb, "TransactWriteItems");
        let read = call(Service::DynamoDb, "BatchGetItem");
        let conflict = Kind::when("TASK_CANCELLED", CONFLICT);
        let log = [
            invocation("ws-message", conflict, vec![write(), read, write()]),
            invocation("ws-message", Kind::of("TASK_COMPLETE"), vec![write()]),
        ];
        let targets = of(&log);
        let usual = find(&targets, "TASK_COMPLETE, _ERROR, _CANCELLED");
        assert_eq!((usual.worst, usual.met), (Some(1.0), true));
        let conflicts = find(&targets, "messages about tasks after a version conflict");
        assert_eq!((conflicts.worst, conflicts.met), (Some(3.0), true));
    }

    #[test]
    fn times_are_compared_with_the_floor() {
        let log = [invocation("ws-message", Kind::of("TASK_ACK"), Vec::new())];
        let targets = of(&log);
        let warm = find(&targets, "warm time of WebSocket messages");
        // 0.5 ms, of a floor of 0.2.
        assert_eq!((warm.worst, warm.limit, warm.met), (Some(2.5), 9.0, true));
    }

    #[test]
    fn a_connection_that_is_known_by_its_handshake_is_never_looked_up() {
        let mut greeting = call(Service::DynamoDb, "UpdateItem");
        greeting.touched = vec![touch("CONN#c")];
        let first = Kind::when("AGENT_STATUS", crate::scenario::FIRST);
        let mut log = [invocation("ws-message", first, vec![greeting])];
        let name = "identity look-ups, authenticated by header";
        assert!(!find(&of(&log), name).met);
        log[0].calls.clear();
        assert!(find(&of(&log), name).met);
    }

    #[test]
    fn a_write_every_45_seconds_may_be_two_in_a_minute() {
        assert_eq!(a_minute(Duration::from_secs(45)).to_bits(), 2f64.to_bits());
        assert_eq!(a_minute(Duration::from_mins(1)).to_bits(), 1f64.to_bits());
    }
}
