//! Plain text.

/// Plain text for mrkdwn, with the three characters escaped that Slack gives a meaning.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

/// How much of Slack's limits a rendered text takes. Slack speaks of characters after escaping, and
/// does not say how it counts one outside of the basic plane: the larger number is safe.
pub fn size(text: &str) -> usize {
    text.encode_utf16().count()
}

/// As [`escape`], but at most of `max` [`size`]; what is cut shows as `…` at the end.
pub fn shorten(text: &str, max: usize) -> String {
    let whole = escape(text);
    if size(&whole) <= max {
        return whole;
    }
    let mut out = String::new();
    let mut left = max.saturating_sub(1);
    for c in text.chars() {
        let mut next = String::new();
        push_escaped(&mut next, c);
        let Some(rest) = left.checked_sub(size(&next)) else {
            break;
        };
        left = rest;
        out.push_str(&next);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// As [`shorten`], as one line without what a terminal would not show.
pub fn line(text: &str, max: usize) -> String {
    let words: Vec<_> = clean(text).split_whitespace().map(str::to_owned).collect();
    shorten(&words.join(" "), max)
}

/// What a terminal would show: without ANSI sequences and control characters, and of a line that
/// was written over (`\r`), its last state.
pub fn clean(text: &str) -> String {
    // A sequence never goes over the end of a line: one that is not finished spoils that line only.
    let lines: Vec<_> = text.split('\n').map(clean_line).collect();
    lines.join("\n")
}

fn clean_line(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or_default();
    last.chars().filter(|c| is_shown(*c)).collect()
}

/// Not control characters, nor those that turn the direction of what follows around.
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
