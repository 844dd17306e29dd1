//! Cutting text so that it fits: Markdown is converted once, and what is too long is cut between
//! its lines. A link or an emphasis never goes over the end of a line, and a code block is
//! repaired.

use std::ops::Range;

use super::{
    convert::from_markdown,
    fence,
    plain::{
        BYTES_PER_CHAR, clean_terminal_text, escape, escape_and_truncate, escaped_len, utf16_len,
    },
};

/// The mark before a tail and after a head.
const CUT_MARK: &str = "…";
/// The fence of a code block in mrkdwn.
const CODE_FENCE: &str = "```";

/// Renders the end of an agent's output, which may itself be the end of a longer one (`cut`): whole
/// lines, of at most `max` UTF-16 units ([`utf16_len`]), with `…` before them if anything is left
/// out. No more than the end of a long output is read.
pub(crate) fn render_tail(output: &str, cut: bool, max: usize) -> String {
    let near = output
        .len()
        .saturating_sub(max.saturating_mul(BYTES_PER_CHAR));
    let text = clean_terminal_text(&output[output.ceil_char_boundary(near)..]);
    let cut = cut || near > 0;
    let text = if cut {
        drop_partial_first_line(&text)
    } else {
        &text
    }
    .trim_end();
    let fence = if cut {
        fence::infer_fence_before(&text.split('\n').collect::<Vec<_>>())
    } else {
        None
    };
    let opening = fence.map(fence::Fence::opening_line).unwrap_or_default();
    let whole = from_markdown(&(opening + text));
    if !cut && utf16_len(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(utf16_len(CUT_MARK) + 1);
    let lines = Lines::new(&whole).tail(room);
    let rendered = lines.unwrap_or_else(|| render_line_tail(last_line(text), room));
    match &*rendered {
        "" => rendered,
        text => format!("{CUT_MARK}\n{text}"),
    }
}

/// Renders the beginning of a Markdown text: whole lines, of at most `max` UTF-16 units
/// ([`utf16_len`]), with `…` after them if anything is left out. No more than the beginning of a
/// long text is read.
pub(crate) fn render_head(markdown: &str, max: usize) -> String {
    let near = markdown.floor_char_boundary(max.saturating_mul(BYTES_PER_CHAR));
    let cut = near < markdown.len();
    let text = clean_terminal_text(&markdown[..near]);
    let text = if cut {
        drop_partial_last_line(&text)
    } else {
        &text
    }
    .trim_end();
    let whole = from_markdown(text);
    if !cut && utf16_len(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(utf16_len(CUT_MARK) + 1);
    match Lines::new(&whole).head(room) {
        Some(lines) => format!("{lines}\n{CUT_MARK}"),
        None => escape_and_truncate(text.lines().next().unwrap_or_default(), max),
    }
}

/// Lines of mrkdwn, with what is known of the code blocks that they are in.
struct Lines<'a>(Vec<Line<'a>>);

struct Line<'a> {
    text: &'a str,
    /// What is before the fence of the code block that is open before the line, if one is.
    open_before: Option<String>,
    open_after: Option<String>,
}

impl<'a> Lines<'a> {
    fn new(mrkdwn: &'a str) -> Self {
        let mut open = None;
        let lines = mrkdwn.split('\n').map(|text| {
            let open_before = open.clone();
            // Every fence toggles, whatever it was meant as: so does Slack read it.
            if text.matches(CODE_FENCE).count() % 2 == 1 {
                open = match open {
                    Some(_) => None,
                    None => Some(container_prefix(text)),
                };
            }
            let open_after = open.clone();
            Line {
                text,
                open_before,
                open_after,
            }
        });
        Self(lines.collect())
    }

    /// Returns the most lines from the end that fit; `None` if not even one does.
    fn tail(&self, room: usize) -> Option<String> {
        let (mut size, mut found) = (0, None);
        for (at, line) in self.0.iter().enumerate().rev() {
            size += utf16_len(line.text) + 1;
            if size > room + 1 {
                break;
            }
            // A block that would be empty is not begun.
            let begins = !line.text.is_empty() && line.open_before.is_none()
                || line.open_before.is_some() && line.open_after.is_some();
            if begins && size - 1 + fence_size(line.open_before.as_deref()) <= room {
                found = Some(at);
            }
        }
        found.map(|at| self.render(at..self.0.len()))
    }

    /// Returns the most lines from the beginning that fit; `None` if not even one does.
    fn head(&self, room: usize) -> Option<String> {
        let (mut size, mut found) = (0, None);
        for (at, line) in self.0.iter().enumerate() {
            size += utf16_len(line.text) + 1;
            if size > room + 1 {
                break;
            }
            let ends = !line.text.is_empty() && line.open_after.is_none()
                || line.open_before.is_some() && line.open_after.is_some();
            if ends && size - 1 + fence_size(line.open_after.as_deref()) <= room {
                found = Some(at);
            }
        }
        found.map(|at| self.render(0..at + 1))
    }

    /// Renders some of the lines, with the fences of the blocks that they are cut out of.
    fn render(&self, lines: Range<usize>) -> String {
        let (rest, lines) = (&self.0[lines.end..], &self.0[lines]);
        let fence = |prefix: &Option<String>| Some(format!("{}{CODE_FENCE}", prefix.as_ref()?));
        let opening = lines.first().and_then(|line| fence(&line.open_before));
        let closing = rest.first().and_then(|line| fence(&line.open_before));
        let texts = lines.iter().map(|line| line.text.to_owned());
        let all: Vec<_> = opening.into_iter().chain(texts).chain(closing).collect();
        all.join("\n")
    }
}

/// Returns the size of the line of a fence that is added, with its line break.
fn fence_size(prefix: Option<&str>) -> usize {
    prefix.map_or(0, |prefix| utf16_len(prefix) + CODE_FENCE.len() + 1)
}

/// Returns what is before the fence of a line that opens a code block, for a further line of the
/// same containers: it repeats the marks of quotes, and no bullets.
fn container_prefix(line: &str) -> String {
    let before = line.rsplit_once(CODE_FENCE).map_or("", |(it, _)| it);
    let mut prefix = String::new();
    let mut rest = before;
    while let Some((mark, next)) = ["> ", "    "]
        .iter()
        .find_map(|mark| rest.strip_prefix(mark).map(|next| (mark, next)))
    {
        prefix.push_str(mark);
        rest = next;
    }
    prefix
}

/// Removes the line that the cut went through, unless it is the only one.
fn drop_partial_first_line(text: &str) -> &str {
    match text.split_once('\n') {
        Some((_, rest)) if !rest.trim().is_empty() => rest,
        _ => text,
    }
}

/// Removes the last line that the cut went through, unless it is the only one.
fn drop_partial_last_line(text: &str) -> &str {
    match text.rsplit_once('\n') {
        Some((rest, _)) if !rest.trim().is_empty() => rest,
        _ => text,
    }
}

/// Returns the last line that is not a fence.
fn last_line(text: &str) -> &str {
    let mut lines = text.rsplit('\n');
    let is_text = |line: &&str| !line.trim().is_empty() && !fence::is_fence(line);
    lines.find(is_text).unwrap_or_default()
}

/// Renders the end of a single line that is too long, as plain text.
fn render_line_tail(line: &str, room: usize) -> String {
    let mut left = room;
    let mut start = line.len();
    for (at, c) in line.char_indices().rev() {
        let Some(rest) = left.checked_sub(escaped_len(c)) else {
            break;
        };
        (left, start) = (rest, at);
    }
    escape(&line[start..])
}
