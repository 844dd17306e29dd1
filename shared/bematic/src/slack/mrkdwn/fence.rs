//! The fences of code blocks, for cutting Markdown between its lines.

/// The fence of an open code block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    sign: char,
    len: usize,
}

impl Fence {
    /// The usual fence.
    const THREE_BACKTICKS: Self = Self { sign: '`', len: 3 };

    /// Returns the line that opens the block.
    pub(super) fn opening_line(self) -> String {
        self.sign.to_string().repeat(self.len) + "\n"
    }
}

/// Returns the fence that is open after `line` if `open` is open before it.
fn fence_open_after(open: Option<Fence>, line: &str) -> Option<Fence> {
    match (open, parse(line)) {
        (None, Some((fence, _))) => Some(fence),
        (Some(open), Some((fence, info))) if closes(open, fence, info) => None,
        (open, _) => open,
    }
}

/// Returns the fence that was open before a text whose beginning was lost, if only that explains
/// the fences in it.
pub(super) fn infer_fence_before(lines: &[&str]) -> Option<Fence> {
    (!are_fences_plausible(None, lines)
        && are_fences_plausible(Some(Fence::THREE_BACKTICKS), lines))
    .then_some(Fence::THREE_BACKTICKS)
}

/// Whether the fences are plausible if `open` is open before the lines: one with a language opens.
fn are_fences_plausible(mut open: Option<Fence>, lines: &[&str]) -> bool {
    for line in lines {
        if let (Some(open), Some((fence, info))) = (open, parse(line))
            && fence.sign == open.sign
            && !info.is_empty()
        {
            return false;
        }
        open = fence_open_after(open, line);
    }
    true
}

/// Whether a line opens or closes a code block.
pub(super) fn is_fence(line: &str) -> bool {
    parse(line).is_some()
}

fn closes(open: Fence, fence: Fence, info: &str) -> bool {
    fence.sign == open.sign && fence.len >= open.len && info.is_empty()
}

/// Returns the fence of a line that opens or closes a block, and the text after the fence.
fn parse(line: &str) -> Option<(Fence, &str)> {
    let line = line.trim();
    let sign = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = line.trim_start_matches(sign);
    let len = line.len() - info.len();
    let info = info.trim();
    (len >= 3 && !(sign == '`' && info.contains('`'))).then_some((Fence { sign, len }, info))
}
