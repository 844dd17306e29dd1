//! The limits of what is measured, the report's `targets`. Counts are those of the worst invocation.

use std::time::Duration;

use bematic::agent::HEARTBEAT_RECORD_INTERVAL;

use crate::agent::{IN_BAND_CASE, REFRESH_ENQUEUED_CASE};
use crate::common::{HEARTBEAT_FUNCTION, MESSAGE_FUNCTION};
use crate::invocation::{Invocation, InvocationKind, Service, SpecialCase};
use crate::report::{Limit, Report, StartFigures, TaskRow};
use crate::scenario::{
    OTHER_ENVIRONMENT_CASE, RUN_COMMAND_NAME, STORED_HEARTBEAT_CASE, UNSEEN_ATTEMPT_CASE,
    UNSTORED_HEARTBEAT_CASE,
};
use crate::testbed::VERSION_CONFLICT_CASE;

/// The limits of a report, with the log of what it reports. Those of which nothing can have been measured
/// are left out.
pub(crate) fn check(report: &Report, log: &[Invocation]) -> Vec<Limit> {
    let mut limits = start_limits(report);
    if !log.is_empty() {
        limits.extend(call_count_limits(log));
        limits.extend(warm_time_limits(report));
    }
    limits.extend(report.task.as_ref().map(cost_limit));
    limits
}

/// The limits that are no times: they hold for every profile, on every machine.
pub(crate) fn check_counts(log: &[Invocation], task: &TaskRow) -> Vec<Limit> {
    let mut limits = call_count_limits(log);
    limits.push(cost_limit(task));
    limits
}

fn cost_limit(task: &TaskRow) -> Limit {
    let figure = ("the ordinary task".to_owned(), task.usd_per_1000);
    Limit::new("USD per 1000 ordinary tasks").check(0.27, [figure])
}

fn is_websocket_function(function: &str) -> bool {
    function.starts_with("ws-")
}

fn start_limits(report: &Report) -> Vec<Limit> {
    let floor = &report.floor.starts;
    let each = |wanted: &dyn Fn(&str) -> bool, figure: &dyn Fn(&StartFigures) -> f64| {
        let functions = report.functions.iter().filter(|it| wanted(&it.name));
        let figures = functions.map(|it| (it.name.clone(), figure(&it.starts)));
        figures.collect::<Vec<_>>()
    };
    let init = |it: &StartFigures| it.init_ms_p50 / floor.init_ms_p50;
    let zip = |it: &StartFigures| it.zip_bytes as f64 / 1e6;
    let memory = |it: &StartFigures| it.max_rss_kb as f64 / 1e3;
    let most_memory = memory(floor) * 3.0 + 8.0;
    vec![
        Limit::new("init of ws-*, × floor (p50)").check(6.0, each(&is_websocket_function, &init)),
        Limit::new("init of the others, × floor (p50)")
            .check(10.0, each(&|it| !is_websocket_function(it), &init)),
        Limit::new("zip, MB").check(6.0, each(&|_| true, &zip)),
        Limit::new("resident memory, MB (3 × floor + 8)")
            .check(most_memory, each(&|_| true, &memory)),
    ]
}

fn call_count_limits(log: &[Invocation]) -> Vec<Limit> {
    let each = |wanted: &dyn Fn(&Invocation) -> bool, figure: &dyn Fn(&Invocation) -> usize| {
        let wanted = log.iter().filter(|it| wanted(it));
        let figures = wanted.map(|it| (it.kind.to_string(), figure(it) as f64));
        figures.collect::<Vec<_>>()
    };

    let secrets = |it: &Invocation| it.calls_to(Service::SecretsManager);
    // An environment reads its secret at its first request, and every few minutes.
    let all = |it: &Invocation| it.calls.len() - secrets(it);
    let dynamo = |it: &Invocation| it.calls_to(Service::DynamoDb);
    let sqs = |it: &Invocation| it.calls_to(Service::Sqs);
    let posts = |it: &Invocation| it.calls_to(Service::ApiGateway);
    let reads = |it: &Invocation| dynamo(it) - it.writes();
    let (writes, lookups) = (Invocation::writes, Invocation::connection_record_calls);

    let kind = |name, case| {
        let kind = InvocationKind::new(name, case);
        move |it: &Invocation| it.kind == kind
    };
    let ping = |case| kind("HEARTBEAT_PING", case);
    let named =
        |names: &'static [&str]| move |it: &Invocation| names.contains(&it.kind.name.as_str());
    let in_case = |case: SpecialCase| move |it: &Invocation| it.kind.case == case;
    let (ack, complete) = (named(&["TASK_ACK"]), named(&["TASK_COMPLETE"]));
    let status = named(&["AGENT_STATUS"]);
    let report = named(&["TASK_PROGRESS", "TASK_STREAM"]);
    let ack_or_report = named(&["TASK_ACK", "TASK_PROGRESS", "TASK_STREAM"]);
    let terminal = named(&["TASK_COMPLETE", "TASK_ERROR", "TASK_CANCELLED"]);
    let of_task = |it: &Invocation| ack_or_report(it) || terminal(it);
    let (unseen, conflict) = (in_case(UNSEEN_ATTEMPT_CASE), in_case(VERSION_CONFLICT_CASE));
    let usual = |it: &Invocation| !unseen(it) && !conflict(it);
    let enqueued = in_case(REFRESH_ENQUEUED_CASE);
    let message =
        |it: &Invocation| [MESSAGE_FUNCTION, HEARTBEAT_FUNCTION].contains(&it.function.as_str());
    let by_header = |it: &Invocation| message(it) && it.by_header;
    let new = in_case(OTHER_ENVIRONMENT_CASE);
    let auth = named(&["AUTH_REQUEST"]);
    let known = |it: &Invocation| message(it) && !it.by_header && !new(it) && !auth(it);

    let stored_pings = (
        "HEARTBEAT_PING".to_owned(),
        max_per_minute(HEARTBEAT_RECORD_INTERVAL),
    );
    vec![
        Limit::new("HEARTBEAT_PING, the first in a while: writes")
            .check(1.0, each(&ping(STORED_HEARTBEAT_CASE), &writes)),
        Limit::new("HEARTBEAT_PING, within a minute: calls to DynamoDB")
            .check(0.0, each(&ping(UNSTORED_HEARTBEAT_CASE), &dynamo)),
        Limit::new("HEARTBEAT_PING: writes a minute, at most").check(1.0, [stored_pings]),
        Limit::new("TASK_ACK: reads").check(1.0, each(&ack, &reads)),
        Limit::new("TASK_ACK: writes").check(1.0, each(&ack, &writes)),
        Limit::new("TASK_PROGRESS, _STREAM: calls to DynamoDB")
            .check(1.0, each(&|it| report(it) && usual(it), &dynamo)),
        Limit::new("the same, the first of an attempt in an environment")
            .check(2.0, each(&|it| report(it) && unseen(it), &dynamo)),
        Limit::new("TASK_ACK, _PROGRESS, _STREAM: calls to SQS")
            .check(1.0, each(&ack_or_report, &sqs)),
        Limit::new("the same while a refresh is under way: calls to SQS")
            .check(0.0, each(&|it| ack_or_report(it) && enqueued(it), &sqs)),
        Limit::new("TASK_COMPLETE, _ERROR, _CANCELLED: calls to DynamoDB")
            .check(1.0, each(&|it| terminal(it) && usual(it), &dynamo)),
        Limit::new("the same in an environment that has not seen the attempt")
            .check(2.0, each(&|it| terminal(it) && unseen(it), &dynamo)),
        Limit::new("messages about tasks after a version conflict: calls to DynamoDB")
            .check(3.0, each(&|it| of_task(it) && conflict(it), &dynamo)),
        Limit::new("TASK_COMPLETE: calls to SQS").check(1.0, each(&complete, &sqs)),
        Limit::new("TASK_COMPLETE: posts").check(1.0, each(&complete, &posts)),
        Limit::new("AGENT_STATUS: calls to SQS").check(1.0, each(&status, &sqs)),
        Limit::new("identity look-ups, authenticated by header")
            .check(0.0, each(&by_header, &lookups)),
        Limit::new("identity look-ups in band, new to the environment")
            .check(1.0, each(&|it| message(it) && new(it), &lookups)),
        Limit::new("identity look-ups in band, known to the environment")
            .check(0.0, each(&known, &lookups)),
        Limit::new("$connect: calls of ws-connect").check(2.0, each(&kind("$connect", None), &all)),
        Limit::new("$disconnect: calls").check(1.0, each(&kind("$disconnect", None), &all)),
        Limit::new("$disconnect of a connection that authenticated in band: calls")
            .check(2.0, each(&kind("$disconnect", IN_BAND_CASE), &all)),
        Limit::new("/bm run: calls").check(5.0, each(&named(&[RUN_COMMAND_NAME]), &all)),
    ]
}

/// How often something can happen in a minute that may happen once in every interval.
fn max_per_minute(every: Duration) -> f64 {
    (60.0 / every.as_secs_f64()).ceil()
}

/// Compares warm times with the floor: an absolute time does not hold from one machine to the next.
/// A version conflict is two messages' work: only its calls have a limit.
fn warm_time_limits(report: &Report) -> Vec<Limit> {
    let Some(floor) = report.floor.warm.warm_ms_p50 else {
        return Vec::new();
    };
    let messages = report
        .messages
        .iter()
        .filter(|it| is_websocket_function(&it.function) && it.kind.case != VERSION_CONFLICT_CASE);
    let times = messages.filter_map(|it| Some((it.kind.to_string(), it.warm.warm_ms_p50? / floor)));
    vec![Limit::new("warm time of WebSocket messages, × floor (p50)").check(9.0, times)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::tests::{call, invocation, touch};
    use crate::report::tests::sample;

    fn find<'a>(limits: &'a [Limit], name: &str) -> &'a Limit {
        let found = limits.iter().find(|limit| limit.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no limit {name}"))
    }

    fn of(log: &[Invocation]) -> Vec<Limit> {
        check(&sample(), log)
    }

    #[test]
    fn starts_are_compared_with_the_floor() {
        let limits = of(&[]);
        let init = find(&limits, "init of ws-*");
        assert_eq!((init.worst, init.met), (Some(5.0), true));
        let others = find(&limits, "init of the others");
        assert!(
            !others.met && others.worst.is_none(),
            "what was not measured is not met"
        );
        let memory = find(&limits, "resident memory");
        assert!(
            memory.met && memory.at_most > 19.9 && memory.at_most < 20.1,
            "{memory:?}"
        );
        let zip = find(&limits, "zip");
        assert_eq!(zip.worst, Some(3000.0 / 1000.0));
    }

    #[test]
    fn the_worst_invocation_counts() {
        let kind = InvocationKind::new("TASK_ACK", None);
        let get = || call(Service::DynamoDb, "GetItem");
        let log = [
            invocation("ws-message", kind.clone(), vec![get()]),
            invocation("ws-message", kind.clone(), vec![get(), get()]),
        ];
        let limits = of(&log);
        let reads = find(&limits, "TASK_ACK: reads");
        assert_eq!((reads.worst, reads.met), (Some(2.0), false));
        assert_eq!(reads.failing, ["TASK_ACK 2.00"]);
        assert!(find(&limits, "TASK_ACK, _PROGRESS, _STREAM: calls to SQS").met);
    }

    #[test]
    fn a_version_conflict_is_told_apart() {
        let write = || call(Service::DynamoDb, "TransactWriteItems");
        let read = call(Service::DynamoDb, "BatchGetItem");
        let conflict = InvocationKind::new("TASK_CANCELLED", VERSION_CONFLICT_CASE);
        let log = [
            invocation("ws-message", conflict, vec![write(), read, write()]),
            invocation(
                "ws-message",
                InvocationKind::new("TASK_COMPLETE", None),
                vec![write()],
            ),
        ];
        let limits = of(&log);
        let usual = find(&limits, "TASK_COMPLETE, _ERROR, _CANCELLED");
        assert_eq!((usual.worst, usual.met), (Some(1.0), true));
        let conflicts = find(&limits, "messages about tasks after a version conflict");
        assert_eq!((conflicts.worst, conflicts.met), (Some(3.0), true));
    }

    #[test]
    fn times_are_compared_with_the_floor() {
        let log = [invocation(
            "ws-message",
            InvocationKind::new("TASK_ACK", None),
            Vec::new(),
        )];
        let limits = of(&log);
        let warm = find(&limits, "warm time of WebSocket messages");
        // 0.5 ms, of a floor of 0.2.
        assert_eq!((warm.worst, warm.at_most, warm.met), (Some(2.5), 9.0, true));
    }

    #[test]
    fn a_connection_that_is_known_by_its_handshake_is_never_looked_up() {
        let mut greeting = call(Service::DynamoDb, "UpdateItem");
        greeting.partition_accesses = vec![touch("CONN#c")];
        let first = InvocationKind::new("AGENT_STATUS", crate::scenario::FIRST_MESSAGE_CASE);
        let mut log = [invocation("ws-message", first, vec![greeting])];
        let name = "identity look-ups, authenticated by header";
        assert!(!find(&of(&log), name).met);
        log[0].calls.clear();
        assert!(find(&of(&log), name).met);
    }

    #[test]
    fn a_write_every_45_seconds_may_be_two_in_a_minute() {
        assert_eq!(
            max_per_minute(Duration::from_secs(45)).to_bits(),
            2f64.to_bits()
        );
        assert_eq!(
            max_per_minute(Duration::from_mins(1)).to_bits(),
            1f64.to_bits()
        );
    }
}
