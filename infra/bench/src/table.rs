//! The report as a person reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::{Floor, MessageRow, Report, TaskRow};
use crate::target::Target;

/// All of it.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    starts(&mut text, report);
    messages(&mut text, &report.floor, &report.messages);
    if let Some(task) = &report.task {
        of_task(&mut text, task, &report.prices_of);
    }
    targets(&mut text, &report.targets);
    text
}

#[expect(clippy::cast_precision_loss, reason = "sizes of a few MB")]
fn starts(text: &mut String, report: &Report) {
    let floor = &report.floor;
    line(
        text,
        "function          init ms p50    p99  × floor   zip MB   memory MB",
    );
    let mut row = |name: &str, p50: f64, p99: f64, zip: u64, memory: u64| {
        let times = p50 / floor.init_ms_p50;
        let (zip, memory) = (zip as f64 / 1e6, memory as f64 / 1e3);
        let row = format!("{name:16} {p50:12.2} {p99:6.2} {times:8.1} {zip:8.2} {memory:11.1}");
        line(text, &row);
    };
    let (zip, memory) = (floor.zip_bytes, floor.max_rss_kb);
    row("(floor)", floor.init_ms_p50, floor.init_ms_p99, zip, memory);
    for it in &report.functions {
        row(
            &it.name,
            it.init_ms_p50,
            it.init_ms_p99,
            it.zip_bytes,
            it.max_rss_kb,
        );
    }
}

fn messages(text: &mut String, floor: &Floor, rows: &[MessageRow]) {
    if rows.is_empty() {
        return;
    }
    line(
        text,
        "\nmessage                                  warm ms p50    p99  × floor (wall p50    p99)  read  write  calls",
    );
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.3}"));
    let times = |value: Option<f64>| {
        let times = value.zip(floor.warm_ms_p50).map(|(ms, floor)| ms / floor);
        times.map_or("–".to_owned(), |times| format!("{times:.1}"))
    };
    let warm = |name: &str, p50: Option<f64>, p99: Option<f64>| {
        let (times, p50, p99) = (times(p50), ms(p50), ms(p99));
        format!("{name:40} {p50:>10} {p99:>6} {times:>8}")
    };
    line(text, &warm("(floor)", floor.warm_ms_p50, floor.warm_ms_p99));
    let mut function = "";
    for row in rows {
        if row.function != function {
            function = &row.function;
            line(text, function);
        }
        let name = match row.case {
            None => format!("  {}", row.name),
            Some(case) => format!("  {}, {case}", row.name),
        };
        let warm = warm(&name, row.warm_ms_p50, row.warm_ms_p99);
        let (wall_p50, wall_p99) = (ms(row.wall_ms_p50), ms(row.wall_ms_p99));
        let row = format!(
            "{warm} ({wall_p50:>8} {wall_p99:>6}) {:5.1} {:6.1}  {}",
            row.read_units,
            row.write_units,
            calls(&row.aws_calls)
        );
        line(text, &row);
    }
    if let Some(exchange) = floor.exchange_ms {
        line(
            text,
            &format!(
                "a bare exchange with the endpoint, left out of the warm times for each call: \
                 {exchange:.3} ms"
            ),
        );
    }
}

fn calls(calls: &BTreeMap<String, usize>) -> String {
    let times = |(name, count): (&String, &usize)| match count {
        1 => name.clone(),
        count => format!("{count} {name}"),
    };
    calls.iter().map(times).collect::<Vec<_>>().join(", ")
}

fn of_task(text: &mut String, task: &TaskRow, prices_of: &str) {
    let cost = &task.usd_per_1000_by_service;
    let rows = [
        format!(
            "\nthe ordinary task: {} invocations ({}), {:.1} read and {:.1} write units",
            task.lambda_invocations,
            calls(&task.invocations),
            task.read_units,
            task.write_units
        ),
        format!("  {}", calls(&task.aws_calls)),
        format!(
            "  USD per 1000 ({prices_of}): {:.4} = Lambda {:.4} + DynamoDB {:.4} + SQS {:.4} + \
             API Gateway {:.4}; log lines {:.4} beside that",
            task.usd_per_1000,
            cost.lambda,
            cost.dynamo_db,
            cost.sqs,
            cost.api_gateway,
            task.logs_usd_per_1000
        ),
    ];
    for row in rows {
        line(text, &row);
    }
    for part in &task.parts {
        let row = format!(
            "  {:>4} × {:16} {:14} {:5.1} read {:6.1} write  {:.4}",
            part.invocations,
            part.name,
            part.function,
            part.read_units,
            part.write_units,
            part.usd_per_1000
        );
        line(text, &row);
    }
}

fn targets(text: &mut String, targets: &[Target]) {
    line(text, "");
    for target in targets {
        let mark = if target.met { "✓" } else { "✗" };
        let worst = match (target.worst, &target.of) {
            (Some(worst), Some(of)) => format!("{worst:.2} ({of})"),
            _ => "not measured".to_owned(),
        };
        let row = format!(
            "{mark} {}: {worst}, at most {:.2}",
            target.name, target.limit
        );
        line(text, &row);
        if target.failing.len() > 1 {
            line(text, &format!("    {}", target.failing.join(", ")));
        }
    }
    let met = targets.iter().filter(|target| target.met).count();
    line(text, &format!("{met} of {} targets are met", targets.len()));
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_person_sees_every_part() {
        let mut report = sample();
        report.targets = vec![Target {
            name: "zip, MB".into(),
            limit: 6.0,
            worst: Some(7.5),
            of: Some("notifier".into()),
            met: false,
            failing: vec!["notifier 7.50".into()],
        }];
        let text = table(&report);
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
