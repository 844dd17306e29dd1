//! Plain text in mrkdwn.

/// Escapes plain text for mrkdwn: the three characters that have a meaning in Slack.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

/// Returns the size of a rendered text in terms of Slack's limits: the larger number is safe, since
/// Slack does not document how it counts a character outside of the basic plane.
pub(crate) fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Escapes a text like [`escape`], cut to at most `max` [`utf16_len`]; a cut shows as `…` at the
/// end.
pub(crate) fn escape_and_truncate(text: &str, max: usize) -> String {
    let whole = escape(text);
    if utf16_len(&whole) <= max {
        return whole;
    }
    let mut out = String::new();
    let mut left = max.saturating_sub(1);
    for c in text.chars() {
        let mut next = String::new();
        push_escaped(&mut next, c);
        let Some(rest) = left.checked_sub(utf16_len(&next)) else {
            break;
        };
        left = rest;
        out.push_str(&next);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Escapes and cuts a text like [`escape_and_truncate`], as one line of what a terminal would show.
pub(crate) fn escape_one_line(text: &str, max: usize) -> String {
    let words: Vec<_> = clean_terminal_text(text)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    escape_and_truncate(&words.join(" "), max)
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
    last.chars().filter(|c| is_shown(*c)).collect()
}

/// Whether a character is shown: neither a control character nor one that changes the direction.
fn is_shown(c: char) -> bool {
    match c {
        '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => false,
        c => !c.is_control(),
    }
}

pub(super) fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}
