//! Cutting Markdown that is too long between its lines, before it is converted: so no link, fence
//! or entity is ever cut in two.

use super::{
    convert::from_markdown,
    fence::{self, Fence},
    plain::{clean, escape, shorten, size},
};

/// The mark before a tail and after a head.
const CUT: &str = "…";
/// The number of bytes of Markdown that are converted for each unit of room: conversion seldom
/// shrinks a text further.
const LOOK_AT: usize = 8;

/// Renders the end of an agent's output, which may itself be the end of a longer one (`cut`): whole
/// lines, of at most `max` [`size`], with `…` before them if anything is left out.
pub(crate) fn tail(output: &str, cut: bool, max: usize) -> String {
    let near = output.len().saturating_sub(max.saturating_mul(LOOK_AT));
    let output = &output[output.ceil_char_boundary(near)..];
    let cut = cut || near > 0;
    let text = clean(output);
    let text = if cut { from_line_start(&text) } else { &text };
    let lines = Lines::new(text.trim_end(), cut);
    let whole = lines.from(0);
    if !cut && size(&whole) <= max {
        return whole;
    }
    let room = max.saturating_sub(size(CUT) + 1);
    let start = first_that(lines.len(), |start| size(&lines.from(start)) <= room);
    let rendered = lines.from(start);
    let rendered = if rendered.is_empty() || size(&rendered) > room {
        end_of(lines.last(), room)
    } else {
        rendered
    };
    match rendered.as_str() {
        "" => String::new(),
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
    let ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
    // The lengths are tried from the longest to the shortest.
    let to = |dropped: usize| &text[..ends[ends.len() - 1 - dropped]];
    let dropped = first_that(ends.len(), |n| size(&from_markdown(to(n))) <= room);
    let rendered = if dropped < ends.len() {
        from_markdown(to(dropped))
    } else {
        String::new()
    };
    if rendered.is_empty() || size(&rendered) > room {
        return shorten(text.lines().next().unwrap_or_default(), max);
    }
    format!("{rendered}\n{CUT}")
}

/// The lines of a text, with the code block that is open before each.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<(usize, Option<Fence>)>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, cut: bool) -> Self {
        let lines: Vec<_> = text.split('\n').collect();
        let mut open = if cut { fence::before(&lines) } else { None };
        let mut at = 0;
        let starts = lines
            .iter()
            .map(|line| {
                let start = (at, open);
                at += line.len() + 1;
                open = fence::after(open, line);
                start
            })
            .collect();
        Self { text, starts }
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    /// Renders the text from a line on.
    fn from(&self, line: usize) -> String {
        match self.starts.get(line) {
            None => String::new(),
            Some((at, None)) => from_markdown(&self.text[*at..]),
            Some((at, Some(fence))) => from_markdown(&(fence.opening() + &self.text[*at..])),
        }
    }

    fn last(&self) -> &'a str {
        self.text.rsplit('\n').next().unwrap_or_default()
    }
}

/// Returns the least `n < len` that fits, or `len`. If `n` fits, all larger ones fit too.
fn first_that(len: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if fits(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
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
