//! Limits how deep the containers of a Markdown text are nested.

use std::{borrow::Cow, ops::Range};

/// The number of quotes and lists that one line may open. The parser visits each open container for
/// each line, so that a line of `>` alone would make its work quadratic.
const MAX_OPENED_BY_LINE: usize = 32;

/// Returns the text without the markers of quotes and lists beyond the limit of each line.
pub(super) fn limit_nesting(markdown: &str) -> Cow<'_, str> {
    if markdown.lines().all(|line| excess_markers(line).is_none()) {
        return markdown.into();
    }
    let lines = markdown.split('\n').map(|line| {
        let excess = excess_markers(line).unwrap_or(line.len()..line.len());
        [&line[..excess.start], &line[excess.end..]].concat()
    });
    lines.collect::<Vec<_>>().join("\n").into()
}

/// Returns the range of the markers at the start of a line that are too many.
fn excess_markers(line: &str) -> Option<Range<usize>> {
    let (mut rest, mut count, mut kept) = (line, 0, line.len());
    while let Some(next) = after_marker(rest) {
        (rest, count) = (next, count + 1);
        if count == MAX_OPENED_BY_LINE {
            kept = line.len() - rest.len();
        }
    }
    (count > MAX_OPENED_BY_LINE).then_some(kept..line.len() - rest.len())
}

/// Returns what follows the marker of a quote or list at the start of `text`, if there is one.
fn after_marker(text: &str) -> Option<&str> {
    let text = text.trim_start_matches([' ', '\t']);
    if let Some(rest) = text.strip_prefix('>') {
        return Some(rest);
    }
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = if number.len() < text.len() {
        number.strip_prefix(['.', ')'])
    } else {
        text.strip_prefix(['-', '+', '*'])
    }?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r'])).then_some(rest)
}
