//! Plain text in mrkdwn.

use super::invisible::remove_invisible;

/// The number of bytes of a text that are read for each unit of room.
pub(super) const BYTES_PER_CHAR: usize = 8;

/// Escapes plain text for mrkdwn: the three characters that have a meaning in Slack. What is not
/// seen is removed.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let text = remove_invisible(text);
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

/// Returns the size of a rendered text in terms of Slack's limits: the larger number is safe, since
/// Slack does not document how it counts a character outside of the basic plane.
pub(crate) fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Returns the number of [`utf16_len`] of an escaped character.
pub(super) fn escaped_len(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        c => c.len_utf16(),
    }
}

/// Escapes a text like [`escape`], cut to at most `max` [`utf16_len`]; a cut shows as `…` at the
/// end. No more than the beginning of a long text is read.
pub(crate) fn escape_and_truncate(text: &str, max: usize) -> String {
    let (text, cut) = beginning(text, max);
    truncate(text, cut, max)
}

/// Escapes and cuts a text like [`escape_and_truncate`], as one line of what a terminal would show.
pub(crate) fn escape_one_line(text: &str, max: usize) -> String {
    let (text, cut) = beginning(text.trim_start(), max);
    let text = clean_terminal_text(text);
    let words: Vec<_> = text.split_whitespace().collect();
    truncate(&words.join(" "), cut, max)
}

/// Returns the beginning of a text that is to fit into `max`, and whether anything is left out.
fn beginning(text: &str, max: usize) -> (&str, bool) {
    let end = text.floor_char_boundary(max.saturating_mul(BYTES_PER_CHAR));
    (&text[..end], end < text.len())
}

fn truncate(text: &str, cut: bool, max: usize) -> String {
    let text = remove_invisible(text);
    let mut end = 0;
    let (mut left, mut whole) = (max, !cut);
    let mut cut_at = 0;
    for c in text.chars() {
        let Some(rest) = left.checked_sub(escaped_len(c)) else {
            whole = false;
            break;
        };
        left = rest;
        end += c.len_utf8();
        if left > 0 {
            cut_at = end;
        }
    }
    if whole {
        return escape(&text);
    }
    let start = escape(&text[..cut_at]);
    format!("{}…", start.trim_end())
}

/// Returns the text as a terminal would show it: without ANSI sequences and control characters, and
/// with the last state of a line that was overwritten (`\r`).
pub(crate) fn clean_terminal_text(text: &str) -> String {
    // A sequence never goes over the end of a line: an unfinished one affects that line only.
    let lines: Vec<_> = text.split('\n').map(clean_terminal_line).collect();
    lines.join("\n")
}

fn clean_terminal_line(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or_default();
    remove_invisible(last).into_owned()
}

pub(super) fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}
