//! Cutting Markdown between its lines before it is converted: no link or fence is cut in two.

use super::{
    convert::from_markdown,
    fence::{self, Fence},
    plain::{clean_terminal_text, escape, escape_and_truncate, utf16_len},
};

/// The mark before a tail and after a head.
const CUT_MARK: &str = "…";
/// The number of bytes of Markdown that are converted for each unit of room.
const MARKDOWN_BYTES_PER_CHAR: usize = 8;

/// Renders the end of an agent's output, which may itself be the end of a longer one (`cut`): whole
/// lines, of at most `max` UTF-16 units ([`utf16_len`]), with `…` before them if anything is left out.
pub(crate) fn render_tail(output: &str, cut: bool, max: usize) -> String {
    let near = output
        .len()
        .saturating_sub(max.saturating_mul(MARKDOWN_BYTES_PER_CHAR));
    let text = clean_terminal_text(&output[output.ceil_char_boundary(near)..]);
    let cut = cut || near > 0;
    let text = if cut {
        drop_partial_first_line(&text)
    } else {
        &text
    }
    .trim_end();
    let whole = if cut {
        String::new()
    } else {
        from_markdown(text)
    };
    if !cut && utf16_len(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(utf16_len(CUT_MARK) + 1);
    let starts = line_starts(text, cut);
    let at = starts.partition_point(|start| utf16_len(&render_from(text, start)) > room);
    let lines = starts.get(at).map(|start| render_from(text, start));
    let rendered = lines
        .filter(|lines| !lines.is_empty() && utf16_len(lines) <= room)
        .unwrap_or_else(|| render_line_tail(text.rsplit('\n').next().unwrap_or_default(), room));
    match &*rendered {
        "" => rendered,
        text => format!("{CUT_MARK}\n{text}"),
    }
}

/// Renders the beginning of a Markdown text: whole lines, of at most `max` UTF-16 units ([`utf16_len`]), with `…`
/// after them if anything is left out.
pub(crate) fn render_head(markdown: &str, max: usize) -> String {
    let near = max.saturating_mul(MARKDOWN_BYTES_PER_CHAR);
    let text = clean_terminal_text(&markdown[..markdown.floor_char_boundary(near)]);
    let text = text.trim_end();
    let whole = from_markdown(text);
    if near >= markdown.len() && utf16_len(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(utf16_len(CUT_MARK) + 1);
    // The lengths are tried from the longest to the shortest.
    let ends: Vec<_> = text.rmatch_indices('\n').map(|(at, _)| at).collect();
    let at = ends.partition_point(|end| utf16_len(&from_markdown(&text[..*end])) > room);
    let lines = ends.get(at).map(|end| from_markdown(&text[..*end]));
    match lines.filter(|lines| !lines.is_empty() && utf16_len(lines) <= room) {
        Some(lines) => format!("{lines}\n{CUT_MARK}"),
        None => escape_and_truncate(text.lines().next().unwrap_or_default(), max),
    }
}

/// The start of a line, and the code block that is open before it.
type LineStart = (usize, Option<Fence>);

fn line_starts(text: &str, cut: bool) -> Vec<LineStart> {
    let lines: Vec<_> = text.split('\n').collect();
    let mut open = if cut {
        fence::infer_fence_before(&lines)
    } else {
        None
    };
    let mut at = 0;
    lines
        .iter()
        .map(|line| {
            let start = (at, open);
            at += line.len() + 1;
            open = fence::fence_open_after(open, line);
            start
        })
        .collect()
}

/// Renders the text from a line on.
fn render_from(text: &str, (at, open): &LineStart) -> String {
    let fence = open.map(Fence::opening_line).unwrap_or_default();
    from_markdown(&(fence + &text[*at..]))
}

/// Removes the line that the cut went through, unless it is the only one.
fn drop_partial_first_line(text: &str) -> &str {
    match text.split_once('\n') {
        Some((_, rest)) if !rest.trim().is_empty() => rest,
        _ => text,
    }
}

/// Renders the end of a single line that is too long, as plain text.
fn render_line_tail(line: &str, room: usize) -> String {
    let mut left = room;
    let mut start = line.len();
    for (at, c) in line.char_indices().rev() {
        let Some(rest) = left.checked_sub(utf16_len(&escape(c.encode_utf8(&mut [0; 4])))) else {
            break;
        };
        (left, start) = (rest, at);
    }
    escape(&line[start..])
}
