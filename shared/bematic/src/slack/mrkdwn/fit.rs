//! Cutting Markdown between its lines before it is converted: no link or fence is cut in two.

use super::{
    convert::from_markdown,
    fence::{self, Fence},
    plain::{clean, escape, escape_and_truncate, size},
};

/// The mark before a tail and after a head.
const CUT: &str = "…";
/// The number of bytes of Markdown that are converted for each unit of room.
const LOOK_AT: usize = 8;

/// Renders the end of an agent's output, which may itself be the end of a longer one (`cut`): whole
/// lines, of at most `max` [`size`], with `…` before them if anything is left out.
pub(crate) fn tail(output: &str, cut: bool, max: usize) -> String {
    let near = output.len().saturating_sub(max.saturating_mul(LOOK_AT));
    let text = clean(&output[output.ceil_char_boundary(near)..]);
    let cut = cut || near > 0;
    let text = if cut { from_line_start(&text) } else { &text }.trim_end();
    let whole = if cut {
        String::new()
    } else {
        from_markdown(text)
    };
    if !cut && size(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(size(CUT) + 1);
    let starts = line_starts(text, cut);
    let at = starts.partition_point(|start| size(&render_from(text, start)) > room);
    let lines = starts.get(at).map(|start| render_from(text, start));
    let rendered = lines
        .filter(|lines| !lines.is_empty() && size(lines) <= room)
        .unwrap_or_else(|| end_of(text.rsplit('\n').next().unwrap_or_default(), room));
    match &*rendered {
        "" => rendered,
        text => format!("{CUT}\n{text}"),
    }
}

/// Renders the beginning of a Markdown text: whole lines, of at most `max` [`size`], with `…` after
/// them if anything is left out.
pub(crate) fn head(markdown: &str, max: usize) -> String {
    let near = max.saturating_mul(LOOK_AT);
    let text = clean(&markdown[..markdown.floor_char_boundary(near)]);
    let text = text.trim_end();
    let whole = from_markdown(text);
    if near >= markdown.len() && size(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(size(CUT) + 1);
    // The lengths are tried from the longest to the shortest.
    let ends: Vec<_> = text.rmatch_indices('\n').map(|(at, _)| at).collect();
    let at = ends.partition_point(|end| size(&from_markdown(&text[..*end])) > room);
    let lines = ends.get(at).map(|end| from_markdown(&text[..*end]));
    match lines.filter(|lines| !lines.is_empty() && size(lines) <= room) {
        Some(lines) => format!("{lines}\n{CUT}"),
        None => escape_and_truncate(text.lines().next().unwrap_or_default(), max),
    }
}

/// The start of a line, and the code block that is open before it.
type Start = (usize, Option<Fence>);

fn line_starts(text: &str, cut: bool) -> Vec<Start> {
    let lines: Vec<_> = text.split('\n').collect();
    let mut open = if cut { fence::before(&lines) } else { None };
    let mut at = 0;
    lines
        .iter()
        .map(|line| {
            let start = (at, open);
            at += line.len() + 1;
            open = fence::after(open, line);
            start
        })
        .collect()
}

/// Renders the text from a line on.
fn render_from(text: &str, (at, open): &Start) -> String {
    let fence = open.map(Fence::opening).unwrap_or_default();
    from_markdown(&(fence + &text[*at..]))
}

/// Removes the line that the cut went through, unless it is the only one.
fn from_line_start(text: &str) -> &str {
    match text.split_once('\n') {
        Some((_, rest)) if !rest.trim().is_empty() => rest,
        _ => text,
    }
}

/// Renders the end of a single line that is too long, as plain text.
fn end_of(line: &str, room: usize) -> String {
    let mut left = room;
    let mut start = line.len();
    for (at, c) in line.char_indices().rev() {
        let Some(rest) = left.checked_sub(size(&escape(c.encode_utf8(&mut [0; 4])))) else {
            break;
        };
        (left, start) = (rest, at);
    }
    escape(&line[start..])
}
