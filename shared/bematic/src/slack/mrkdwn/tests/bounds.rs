//! Rendering is bounded in time and memory, whatever a text is made of.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;

use super::*;

const KB: usize = 1024;

/// Returns `unit`, repeated to about this number of bytes.
fn fill(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len())
}

/// Returns texts of about this number of bytes, each made to be much work for its size.
fn adversarial_texts(n: usize) -> Vec<(&'static str, String)> {
    let wide = |columns, row: &str| {
        let (header, rule) = ("|a".repeat(columns), "|-".repeat(columns));
        format!("{header}\n{rule}\n{}", fill(row, n - 4 * columns))
    };
    let around = |open: &str, close: &str| format!("{}x{}", fill(open, n / 2), fill(close, n / 2));
    let backticks: String = (1..)
        .map(|run| "`".repeat(run) + "e")
        .take_while(|run| run.len() * run.len() < 2 * n)
        .collect();
    let nested: String = (0..)
        .map(|depth| "  ".repeat(depth) + "- x\n")
        .take_while(|line| line.len() * line.len() < 4 * n)
        .collect();
    vec![
        ("a wide and long table", wide(n / 8, "a\n")),
        ("a long table", wide(30, "a\n")),
        ("a table with full rows", wide(8, "|a|b|c|d|e|f|g|h|\n")),
        (
            "a wide table in a quote",
            wide(n / 16, ">a\n").replace("|a|", "> |a|"),
        ),
        (
            "a table with one long cell",
            format!(
                "|a|b|\n|-|-|\n|{}|x|\n{}",
                fill("y", n / 2),
                fill("|a|b|\n", n / 2)
            ),
        ),
        (
            "a right-aligned table with one long cell",
            format!("|a|\n|-:|\n|{}|\n{}", fill("y", n / 2), fill("a\n", n / 2)),
        ),
        ("many tables", fill("|a|b|\n|-|-|\n\n", n)),
        ("quotes and lazy lines", around("> ", "\na")),
        ("lists and blank lines", around("- ", "\n")),
        ("lists in quotes", fill("- > ", n)),
        ("numbers", fill("1. ", n)),
        ("lists by indentation", nested),
        ("nested emphasis", around("*_", "_*")),
        (
            "nested emphasis over lines",
            format!(
                "{}{}{}",
                fill("**a ", n / 3),
                fill("x\n", n / 3),
                fill(" a**", n / 3)
            ),
        ),
        ("emphasis in words", fill("a*b*", n)),
        ("many addresses", fill("http://x ", n)),
        ("many secure addresses", fill("https://x ", n)),
        ("no addresses", fill("ahttp://", n)),
        ("links that never end", fill("[a](<b", n)),
        ("images in images", around("![", "](http://x)")),
        (
            "a long address that is referred to",
            format!("[a]: http://{}\n\n{}", fill("x", n / 2), fill("[a]", n / 2)),
        ),
        ("brackets", around("[", "]")),
        ("runs of backticks", backticks),
        ("fences", fill("```\n", n)),
        (
            "a long fence",
            format!("{}\n{}", fill("`", n / 2), fill("a\n", n / 2)),
        ),
        ("tags", fill("<a b=\"", n)),
        ("entities", fill("&amp;", n)),
        ("headings", fill("a\n=\n", n)),
        ("zero-width characters", fill("\u{200b}a\u{200d}", n)),
        ("terminal sequences", fill("\x1b[31m", n)),
        ("overwritten lines", fill("a\r", n)),
        ("lines", fill("a\n", n)),
    ]
}

/// Returns the processor time of this thread that some work takes: other tests run beside this one.
fn measure(work: impl FnOnce()) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let start = now();
    work();
    now().checked_sub(start).unwrap()
}

/// Renders a text and drops the result.
fn render(markdown: &str) {
    std::hint::black_box(from_markdown(&clean_terminal_text(markdown)));
}

#[test]
fn twice_the_text_takes_at_most_three_times_as_long() {
    const MAX_ROUNDS: usize = 20;
    let texts = adversarial_texts(16 * KB).into_iter();
    for ((what, text), (_, double)) in texts.zip(adversarial_texts(32 * KB)) {
        // The shortest times count: whatever else the machine does, such as filling the processor's
        // caches, only makes them longer.
        let (mut short, mut long) = (Duration::MAX, Duration::MAX);
        let is_linear = (0..MAX_ROUNDS).any(|_| {
            short = short.min(measure(|| render(&text)));
            long = long.min(measure(|| render(&double)));
            long <= 3 * short
        });
        assert!(is_linear, "{what}: {short:?} for 16 KB, {long:?} for 32 KB");
    }
}

/// Asserts that what is rendered has a limited size: each character has at most ten, and the
/// parser's references and the cells of tables some 100 KB and 350 KB more.
fn assert_bounded(what: &str, text: &str) {
    let size = from_markdown(text).len();
    assert!(size <= 10 * text.len() + 500 * KB, "{what}: {size} bytes");
    for max in [40, 2000] {
        assert!(utf16_len(&render_head(text, max)) <= max, "{what}");
        assert!(utf16_len(&render_tail(text, true, max)) <= max, "{what}");
        assert!(utf16_len(&escape_one_line(text, max)) <= max, "{what}");
    }
}

#[test]
fn what_is_rendered_is_bounded() {
    for (what, text) in adversarial_texts(16 * KB) {
        assert_bounded(what, &text);
    }
}

#[test]
fn the_text_beyond_what_can_be_shown_is_not_read() {
    let (max, noise) = (100, fill("x\u{202e}**", 1024 * KB));
    let (head, tail) = (format!("begin\n{noise}"), format!("{noise}\nend"));
    let read_some = measure(|| {
        for _ in 0..100 {
            assert!(render_head(&head, max).starts_with("begin"));
            assert!(render_tail(&tail, false, max).ends_with("end"));
            assert!(escape_one_line(&head, max).starts_with("begin"));
        }
    });
    // A hundredth of it is some thousand times less.
    let read_all = measure(|| drop(std::hint::black_box(clean_terminal_text(&head))));
    assert!(read_some / 100 < read_all, "{read_some:?} {read_all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn repetitions_of_anything_are_bounded(
        units in proptest::collection::vec((odd_text(), 1_usize..2000), 1..4)
    ) {
        let parts = units.iter().map(|(unit, times)| unit.repeat((*times).min(4 * KB / (unit.len() + 1))));
        assert_bounded("a text of repetitions", &parts.collect::<String>());
    }
}
