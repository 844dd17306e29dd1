//! Plain text in mrkdwn.

/// Escapes plain text for mrkdwn: the three characters that have a meaning in Slack.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Returns the size of a rendered text in terms of Slack's limits. Slack counts characters after
/// escaping, and does not document how it counts a character outside of the basic plane: the larger
/// number is safe.
pub fn size(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Escapes a text like [`escape`], cut to at most `max` [`size`]; a cut shows as `…` at the end.
pub fn shorten(text: &str, max: usize) -> String {
    let whole = escape(text);
    if size(&whole) <= max {
        return whole;
    }
    let end = fitting(text.chars(), max.saturating_sub(1));
    escape(text[..end].trim_end()) + "…"
}

/// Returns the number of bytes of those first characters whose escaped form has at most the [`size`]
/// `room`.
pub(super) fn fitting(chars: impl Iterator<Item = char>, mut room: usize) -> usize {
    chars
        .map_while(|c| {
            room = room.checked_sub(size(&escape(c.encode_utf8(&mut [0; 4]))))?;
            Some(c.len_utf8())
        })
        .sum()
}

/// Escapes and cuts a text like [`shorten`], as one line without characters that a terminal would
/// not show.
pub fn line(text: &str, max: usize) -> String {
    let words: Vec<_> = clean(text).split_whitespace().map(str::to_owned).collect();
    shorten(&words.join(" "), max)
}

/// Returns the text as a terminal would show it: without ANSI sequences and control characters, and
/// with the last state of a line that was overwritten (`\r`).
pub fn clean(text: &str) -> String {
    // A sequence never goes over the end of a line: an unfinished one affects that line only.
    let lines: Vec<_> = text.split('\n').map(clean_line).collect();
    lines.join("\n")
}

fn clean_line(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or_default();
    last.chars().filter(|c| is_shown(*c)).collect()
}

/// Whether a character is shown: no control characters, and none that change the direction of the
/// text after them.
fn is_shown(c: char) -> bool {
    match c {
        '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => false,
        c => !c.is_control(),
    }
}
