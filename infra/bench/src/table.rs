//! The report of the bench, as a person reads it.

use std::collections::BTreeMap;

use crate::report::{FloorRow, Limit, MessageRow, Report, StartFigures, TaskRow, WarmTimes};

pub(crate) fn render_report(report: &Report) -> String {
    let mut lines = start_lines(report);
    if !report.messages.is_empty() {
        lines.extend(message_lines(&report.floor, &report.messages));
        let chain = report.longest_chain;
        lines.push(format!(
            "at most {chain} invocations led to each other by messages"
        ));
    }
    if let Some(task) = &report.task {
        lines.extend(ordinary_task_lines(task, &report.prices_of));
    }
    lines.extend(limit_lines(&report.limits));
    lines.join("\n")
}

fn start_lines(report: &Report) -> Vec<String> {
    let head = "function          init ms p50    p99  × floor   zip MB   memory MB";
    let row = |name: &str, it: &StartFigures| {
        let (p50, p99) = (it.init_ms_p50, it.init_ms_p99);
        let times = p50 / report.floor.starts.init_ms_p50;
        let (zip, memory) = (it.zip_bytes as f64 / 1e6, it.max_rss_kb as f64 / 1e3);
        format!("{name:16} {p50:12.2} {p99:6.2} {times:8.1} {zip:8.2} {memory:11.1}")
    };
    let mut lines = vec![head.to_owned(), row("(floor)", &report.floor.starts)];
    lines.extend(report.functions.iter().map(|it| row(&it.name, &it.starts)));
    lines
}

fn message_lines(floor: &FloorRow, rows: &[MessageRow]) -> Vec<String> {
    let or_dash = |value: Option<f64>, digits| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let ms = |value| or_dash(value, 3);
    let warm = |name: &str, warm: WarmTimes| {
        let (p50, p99) = (ms(warm.warm_ms_p50), ms(warm.warm_ms_p99));
        let times = warm.warm_ms_p50.zip(floor.warm.warm_ms_p50);
        let times = or_dash(times.map(|(ms, floor)| ms / floor), 1);
        format!("{name:40} {p50:>10} {p99:>6} {times:>8}")
    };
    let head = "message                                  warm ms p50    p99  × floor (wall p50    p99)  read  write  calls";
    let mut lines = vec![format!("\n{head}"), warm("(floor)", floor.warm)];
    let mut function = "";
    for row in rows {
        if row.function != function {
            function = &row.function;
            lines.push(function.to_owned());
        }
        let case = row.kind.case.map(|case| format!(", {case}"));
        let name = format!("  {}{}", row.kind.name, case.unwrap_or_default());
        let (warm, p50, p99) = (
            warm(&name, row.warm),
            ms(row.wall_ms_p50),
            ms(row.wall_ms_p99),
        );
        let (read, write, calls) = (
            row.read_units,
            row.write_units,
            format_counts(&row.aws_calls),
        );
        lines.push(format!(
            "{warm} ({p50:>8} {p99:>6}) {read:5.1} {write:6.1}  {calls}"
        ));
    }
    lines.extend(floor.exchange_ms.map(|ms| {
        let what = "a bare exchange with the endpoint, left out of the warm times for each call";
        format!("{what}: {ms:.3} ms")
    }));
    lines
}

fn format_counts(counts: &BTreeMap<String, usize>) -> String {
    let times = |(name, count): (&String, &usize)| match count {
        1 => name.clone(),
        count => format!("{count} {name}"),
    };
    counts.iter().map(times).collect::<Vec<_>>().join(", ")
}

fn ordinary_task_lines(task: &TaskRow, prices_of: &str) -> Vec<String> {
    let (all, by_function) = (task.lambda_invocations, format_counts(&task.invocations));
    let (read, write, calls) = (
        task.read_units,
        task.write_units,
        format_counts(&task.aws_calls),
    );
    let (usd, cost, logs) = (
        task.usd_per_1000,
        task.usd_per_1000_by_service,
        task.logs_usd_per_1000,
    );
    let units = format!("{read:.1} read and {write:.1} write units");
    let mut lines = vec![
        format!("\nthe ordinary task: {all} invocations ({by_function}), {units}"),
        format!("  {calls}"),
        format!("  USD per 1000 ({prices_of}): {usd:.4} = {cost}; log lines {logs:.4} beside that"),
    ];
    lines.extend(task.parts.iter().map(|part| {
        let (count, name, function) = (part.invocations, &part.name, &part.function);
        let (read, write, usd) = (part.read_units, part.write_units, part.usd_per_1000);
        format!(
            "  {count:>4} × {name:16} {function:14} {read:5.1} read {write:6.1} write  {usd:.4}"
        )
    }));
    lines
}

fn limit_lines(limits: &[Limit]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for it in limits {
        let mark = if it.met { "✓" } else { "✗" };
        let worst = match (it.worst, &it.of) {
            (Some(worst), Some(of)) => format!("{worst:.2} ({of})"),
            _ => "not measured".to_owned(),
        };
        lines.push(format!(
            "{mark} {}: {worst}, at most {:.2}",
            it.name, it.at_most
        ));
        if it.failing.len() > 1 {
            lines.push(format!("    {}", it.failing.join(", ")));
        }
    }
    let met = limits.iter().filter(|it| it.met).count();
    lines.push(format!("{met} of {} targets are met", limits.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_person_sees_every_part() {
        let mut report = sample();
        report.limits = vec![Limit {
            name: "zip, MB".into(),
            at_most: 6.0,
            worst: Some(7.5),
            of: Some("notifier".into()),
            met: false,
            failing: vec!["notifier 7.50".into()],
        }];
        let text = render_report(&report);
        for part in [
            "(floor)",
            "ws-message",
            "HEARTBEAT_PING, within a minute",
            "SQS.SendMessage",
            "USD per 1000",
            "✗ zip, MB: 7.50 (notifier), at most 6.00",
            "0 of 1 targets are met",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }
}
