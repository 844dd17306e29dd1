//! The report of the simulation, as a person reads it.

use super::meter::WorkCause;
use super::report::{COST_TOLERANCE_PERCENT, LadderRung, RunFigures};
use crate::prices::Prices;

pub(super) fn render_report(run: &RunFigures, ladder: &[LadderRung], prices: &Prices) -> String {
    let mut lines = load_and_latency_lines(run, prices);
    lines.extend(call_lines(run));
    let head = "function       invocations  at a time: mean   most   environments   started";
    lines.push(format!("\n{head}"));
    lines.extend(run.functions.iter().map(|(name, it)| {
        let (count, mean, most) = (it.invocations, it.busy_seconds / run.seconds, it.most);
        let (environments, starts) = (it.environments, it.starts);
        format!("{name:14} {count:>11} {mean:>16.2} {most:>6} {environments:>14} {starts:>9}")
    }));
    let head = "keys                              partitions   the busiest second of one: write units   read units";
    lines.push(format!("\n{head}"));
    lines.extend(run.hottest.iter().map(|(kind, it)| {
        let (partitions, write, read) = (it.partitions, it.write_units, it.read_units);
        format!("{kind:33} {partitions:>10} {write:>39.1} {read:>12.1}")
    }));
    lines.extend(cost_lines(run, prices));
    lines.extend(ladder_lines(ladder));
    lines.join("\n")
}

fn load_and_latency_lines(run: &RunFigures, prices: &Prices) -> Vec<String> {
    let (load, to) = (run.load, run.dispatched);
    let (agents, rate, asked, seed) = (load.agents, load.tasks_per_second, load.seconds, load.seed);
    let (tasks, seconds, date, region) = (run.tasks, run.seconds, &prices.date, &prices.region);
    let load = format!("{agents} agents, {rate} tasks a second for {asked} s (seed {seed})");
    let times = format!(
        "p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms, at most {:.0} ms",
        to.ms_p50, to.ms_p95, to.ms_p99, to.ms_max
    );
    let chain = run.longest_chain;
    let (waited, repeated) = (to.waiting, to.repeated);
    let waited = format!("at most {waited} tasks waited; {repeated} were sent again");
    vec![
        format!(
            "\n{load}: {tasks} tasks, all done after {seconds:.0} s; prices of {date}, {region}"
        ),
        format!("from the command to the agent: {times}; {waited}"),
        format!("at most {chain} invocations led to each other by messages"),
    ]
}

fn call_lines(run: &RunFigures) -> Vec<String> {
    let mut lines = vec!["\nfor what       calls         count   of that a second".to_owned()];
    for (cause, account) in &run.accounts {
        let mut name = cause.to_string();
        for (call, count) in &account.calls {
            let rate = match cause {
                WorkCause::Presence | WorkCause::Sweep => {
                    format!("{:.1}", *count as f64 / run.seconds)
                }
                // Not all of it was in these seconds.
                WorkCause::Task | WorkCause::Connect => String::new(),
            };
            lines.push(format!("{name:12} {call:32} {count:>10} {rate:>12}"));
            name.clear();
        }
        let (read, write) = (account.units.read, account.units.write);
        lines.push(format!(
            "{:12} {read:.0} read units, {write:.0} write units",
            ""
        ));
        if account.refused > 0 {
            let (calls, wasted) = (account.refused, account.refused_units.write);
            lines.push(format!(
                "{:12} of these {calls} refused writes, {wasted:.0} units",
                ""
            ));
        }
    }
    lines
}

fn cost_lines(run: &RunFigures, prices: &Prices) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(usd) = run.usd_per_1000_tasks() {
        let cost = run
            .accounts
            .get(&WorkCause::Task)
            .map(|account| account.cost);
        let cost = cost.unwrap_or_default().times(1000.0 / run.tasks as f64);
        lines.push(format!("\n{usd:.4} USD per 1000 tasks: {cost}"));
    }
    let hour = run.agent_hour_cost(prices);
    lines.push(format!(
        "{:.4} USD per 1000 agent-hours: heartbeats {:.4}, sweeper {:.4}, connections {:.4}, \
         connecting anew {:.4}",
        hour.total() * 1000.0,
        hour.heartbeats * 1000.0,
        hour.sweeper * 1000.0,
        hour.connection * 1000.0,
        hour.reconnecting * 1000.0,
    ));
    lines
}

fn ladder_lines(ladder: &[LadderRung]) -> Vec<String> {
    let Some(LadderRung { tasks, load, .. }) = ladder.first() else {
        return Vec::new();
    };
    let head = "  agents   USD per 1000 tasks             USD per 1000 agent-hours   p50 ms   p99 ms   environments of ws-message";
    let rate = load.tasks_per_second;
    let mut lines = vec![format!(
        "\n{tasks} tasks, {rate:.2} a second, among\n{head}"
    )];
    lines.extend(ladder.iter().map(|rung| {
        let (agents, usd, deviation) = (
            rung.load.agents,
            rung.usd_per_1000_tasks,
            rung.deviation_percent,
        );
        let (hours, environments) = (rung.agent_hour.total() * 1000.0, rung.environments);
        let (p50, p99) = (rung.dispatched.ms_p50, rung.dispatched.ms_p99);
        let costs = format!("{agents:>8} {usd:>20.4} {deviation:>+8.1} % {hours:>26.4}");
        let verdict = if rung.is_cost_flat() { "" } else { "  TOO FAR" };
        format!("{costs} {p50:>8.0} {p99:>8.0} {environments:>28}{verdict}")
    }));
    let flat = ladder.iter().all(LadderRung::is_cost_flat);
    let verdict = if flat { "flat" } else { "NOT flat" };
    lines.push(format!(
        "cost per task: {verdict} (within {COST_TOLERANCE_PERCENT} % of the first)"
    ));
    lines
}
