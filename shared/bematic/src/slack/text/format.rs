//! Formatting of numbers and times.

use std::time::Duration;

use bematic_protocol::time::Timestamp;

/// Formats a duration: `3 s`, `2 min 5 s`, `1 h 2 min`, `3 d 4 h`.
pub(in crate::slack) fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    let pair = |big: u64, unit: &str, small: u64, rest: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {rest}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => pair(minutes, "min", secs % 60, "s"),
        (0, _, _) => pair(hours, "h", minutes % 60, "min"),
        _ => pair(days, "d", hours % 24, "h"),
    }
}

/// Formats how long before `now` a time was, to the largest unit.
pub(in crate::slack) fn ago(then: Timestamp, now: Timestamp) -> String {
    let secs = now.since(then).as_secs();
    match secs {
        0..5 => "just now".to_owned(),
        5..60 => format!("{secs} s ago"),
        60..3600 => format!("{} min ago", secs / 60),
        3600..86_400 => format!("{} h ago", secs / 3600),
        _ => format!("{} d ago", secs / 86_400),
    }
}

/// Formats a count: `1 file`, `2 files`.
pub(in crate::slack) fn count_with_noun(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// Renders a percentage as a bar of fixed width.
pub(in crate::slack) fn progress_bar(percent: f64) -> String {
    const CELLS: usize = 20;
    let percent = percent.clamp(0.0, 100.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped above; NaN becomes 0"
    )]
    let filled = (percent as usize * CELLS) / 100;
    format!(
        "`{}{}` {percent:.0} %",
        "█".repeat(filled),
        "░".repeat(CELLS.saturating_sub(filled))
    )
}
