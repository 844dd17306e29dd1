//! The report as a person reads it.

use std::fmt::Write as _;

use super::flat::{Rung, TOLERANCE};
use super::meter::Cause;
use super::report::Outcome;
use crate::prices::Prices;

/// All of it.
pub(super) fn table(run: &Outcome, ladder: &[Rung], prices: &Prices) -> String {
    let mut text = String::new();
    head(&mut text, run, prices);
    calls(&mut text, run);
    functions(&mut text, run);
    hottest(&mut text, run);
    dollars(&mut text, run, prices);
    rungs(&mut text, ladder);
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a text does not fail.
    writeln!(text, "{line}").ok();
}

fn head(text: &mut String, run: &Outcome, prices: &Prices) {
    let (load, to) = (run.load, run.dispatched);
    line(
        text,
        &format!(
            "\n{} agents, {} tasks a second for {} s (seed {}): {} tasks, all done after {:.0} s; \
             prices of {}, {}",
            load.agents,
            load.tasks_per_second,
            load.seconds,
            load.seed,
            run.tasks,
            run.seconds,
            prices.date,
            prices.region,
        ),
    );
    line(
        text,
        &format!(
            "from the command to the agent: p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms, at most \
             {:.0} ms; at most {} tasks waited; {} were sent again",
            to.ms_p50, to.ms_p95, to.ms_p99, to.ms_max, to.waiting, to.repeated,
        ),
    );
}

fn calls(text: &mut String, run: &Outcome) {
    line(
        text,
        "\nfor what       calls         count   of that a second",
    );
    for (cause, account) in &run.accounts {
        let mut name = cause.name();
        for (call, count) in &account.calls {
            let rate = match cause {
                Cause::Presence | Cause::Sweep => per_second(*count, run.seconds),
                // Not all of it was in these seconds.
                Cause::Task | Cause::Connect => String::new(),
            };
            line(text, &format!("{name:12} {call:32} {count:>10} {rate:>12}"));
            name = "";
        }
        let units = account.units;
        line(
            text,
            &format!(
                "{:12} {:.0} read units, {:.0} write units",
                "", units.read, units.write
            ),
        );
        if account.refused > 0 {
            let (calls, wasted) = (account.refused, account.refused_units.write);
            let row = format!(
                "{:12} of these {calls} refused writes, {wasted:.0} units",
                ""
            );
            line(text, &row);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(count: u64, seconds: f64) -> String {
    format!("{:.1}", count as f64 / seconds)
}

fn functions(text: &mut String, run: &Outcome) {
    line(
        text,
        "\nfunction       invocations  at a time: mean   most   environments   started",
    );
    for (name, usage) in &run.functions {
        let row = format!(
            "{name:14} {:>11} {:>16.2} {:>6} {:>14} {:>9}",
            usage.invocations,
            usage.busy_seconds / run.seconds,
            usage.most,
            usage.environments,
            usage.starts,
        );
        line(text, &row);
    }
}

fn hottest(text: &mut String, run: &Outcome) {
    line(
        text,
        "\nkeys                              partitions   the busiest second of one: write units   read units",
    );
    for (kind, hottest) in &run.hottest {
        let row = format!(
            "{kind:33} {:>10} {:>39.1} {:>12.1}",
            hottest.partitions, hottest.write_units, hottest.read_units
        );
        line(text, &row);
    }
}

fn dollars(text: &mut String, run: &Outcome, prices: &Prices) {
    let hour = run.agent_hour(prices);
    if let Some(task) = run.task() {
        let cost = run.accounts.get(&Cause::Task).map(|account| account.cost);
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let of = cost.unwrap_or_default().times(1000.0 / run.tasks as f64);
        line(
            text,
            &format!(
                "\n{:.4} USD per 1000 tasks: Lambda {:.4}, DynamoDB {:.4}, SQS {:.4}, API Gateway {:.4}",
                task * 1000.0,
                of.lambda,
                of.dynamo_db,
                of.sqs,
                of.api_gateway,
            ),
        );
    }
    line(
        text,
        &format!(
            "{:.4} USD per 1000 agent-hours: heartbeats {:.4}, sweeper {:.4}, connections {:.4}, \
             connecting anew {:.4}",
            hour.total() * 1000.0,
            hour.heartbeats * 1000.0,
            hour.sweeper * 1000.0,
            hour.connection * 1000.0,
            hour.reconnecting * 1000.0,
        ),
    );
}

fn rungs(text: &mut String, ladder: &[Rung]) {
    let Some(first) = ladder.first() else { return };
    line(
        text,
        &format!(
            "\n{} tasks, {:.2} a second, among\n  agents   USD per 1000 tasks             \
             USD per 1000 agent-hours   p50 ms   p99 ms   environments of ws-message",
            first.tasks, first.load.tasks_per_second,
        ),
    );
    for rung in ladder {
        let verdict = if rung.is_flat() { "" } else { "  TOO FAR" };
        let row = format!(
            "{:>8} {:>20.4} {:>+8.1} % {:>26.4} {:>8.0} {:>8.0} {:>28}{verdict}",
            rung.load.agents,
            rung.usd_per_1000_tasks,
            rung.deviation_percent,
            rung.agent_hour.total() * 1000.0,
            rung.dispatched.ms_p50,
            rung.dispatched.ms_p99,
            rung.environments,
        );
        line(text, &row);
    }
    let flat = ladder.iter().all(Rung::is_flat);
    let verdict = if flat { "flat" } else { "NOT flat" };
    line(
        text,
        &format!("cost per task: {verdict} (within {TOLERANCE} % of the first)"),
    );
}
