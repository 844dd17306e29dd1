//! A writer of mrkdwn: blocks, prefixed by the lists and quotes that they are in.

use super::plain::push_escaped;

/// The number of nested containers that are rendered; deeper ones are written at the last level. It
/// bounds the work, since each level is prefixed when it ends.
const MAX_DEPTH: usize = 6;
/// A character that shows as nothing, and lets a marker be adjacent to a letter.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// A container, which prefixes the lines of its content.
#[derive(Debug)]
pub(super) enum Container {
    Quote,
    Item { bullet: String },
}

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The text of each open container, and of the document.
    buffers: Vec<String>,
    /// The open containers; `None` beyond [`MAX_DEPTH`].
    containers: Vec<Option<Container>>,
    /// The markers of the open emphases; `None` for one that changes nothing.
    markers: Vec<Option<char>>,
    /// The markers that are open, each once: of emphases in emphases, thousands may change nothing.
    open_markers: Vec<char>,
    /// Whether a marker was just closed.
    closed: bool,
    /// The length of the text when a marker was opened.
    opened: usize,
    current: String,
}

impl Writer {
    pub(super) fn finish(mut self) -> String {
        while !self.containers.is_empty() {
            self.leave_container();
        }
        let start = self.current.len() - self.current.trim_start_matches('\n').len();
        self.current[start..].trim_end().to_owned()
    }

    /// Starts a block: with a blank line, unless it begins its container.
    pub(super) fn start_block(&mut self) {
        self.set_gap("\n\n");
    }

    /// Starts a line, unless it begins its container.
    pub(super) fn start_line(&mut self) {
        self.set_gap("\n");
    }

    /// Replaces the white space at the end of the text by `gap`, unless the container is empty.
    fn set_gap(&mut self, gap: &str) {
        self.closed = false;
        let length = self.current.trim_end_matches([' ', '\n']).len();
        self.current.truncate(length);
        if !self.current.is_empty() {
            self.current.push_str(gap);
        }
    }

    pub(super) fn enter_container(&mut self, container: Container) {
        if self.buffers.len() >= MAX_DEPTH {
            self.start_line();
            self.containers.push(None);
            return;
        }
        self.containers.push(Some(container));
        self.buffers.push(std::mem::take(&mut self.current));
    }

    pub(super) fn leave_container(&mut self) {
        let Some(container) = self.containers.pop().flatten() else {
            return;
        };
        let inner = std::mem::take(&mut self.current);
        self.current = self.buffers.pop().unwrap_or_default();
        self.closed = false;
        if !self.current.is_empty() && !self.current.ends_with('\n') {
            self.current.push('\n');
        }
        let inner = inner.trim_matches('\n').trim_end();
        let (first, rest) = match &container {
            Container::Quote => ("> ", "> "),
            Container::Item { bullet } => (bullet.as_str(), "    "),
        };
        self.current.push_str(first);
        let mut lines = inner.split('\n');
        self.current.push_str(lines.next().unwrap_or_default());
        for line in lines {
            self.current.push('\n');
            if !line.is_empty() || matches!(container, Container::Quote) {
                self.current.push_str(rest);
            }
            self.current.push_str(line);
        }
    }

    /// Makes the open item one of a task list.
    pub(super) fn set_checkbox(&mut self, done: bool) {
        if let Some(Some(Container::Item { bullet })) = self.containers.last_mut() {
            if done { "☑ " } else { "☐ " }.clone_into(bullet);
        }
    }

    pub(super) fn write_text(&mut self, text: &str) {
        if std::mem::take(&mut self.closed) && text.starts_with(char::is_alphanumeric) {
            self.current.push(ZERO_WIDTH_SPACE);
        }
        text.chars()
            .for_each(|c| push_escaped(&mut self.current, c));
    }

    /// Writes text that is mrkdwn already.
    pub(super) fn write_raw(&mut self, text: &str) {
        self.closed = false;
        self.current.push_str(text);
    }

    pub(super) fn open_emphasis(&mut self, marker: char) {
        let new = !self.open_markers.contains(&marker);
        self.markers.push(new.then_some(marker));
        if new {
            self.open_markers.push(marker);
            self.separate_from_word();
            self.current.push(marker);
            self.opened = self.current.len();
        }
    }

    pub(super) fn close_emphasis(&mut self) {
        if let Some(marker) = self.markers.pop().flatten() {
            self.open_markers.pop();
            self.close_marker(marker);
        }
    }

    /// Writes a line break. Emphasis does not go over one in Slack: it ends, and begins again.
    pub(super) fn write_line_break(&mut self) {
        let markers = self.open_markers.clone();
        for marker in markers.iter().rev() {
            self.close_marker(*marker);
        }
        self.closed = false;
        self.current.push('\n');
        self.current.extend(markers);
        self.opened = self.current.len();
    }

    pub(super) fn write_inline_code(&mut self, code: &str) {
        self.separate_from_word();
        self.current.push('`');
        // Slack has no way to write a backtick within code.
        code.replace('`', "ˋ")
            .chars()
            .for_each(|c| push_escaped(&mut self.current, c));
        self.current.push('`');
        self.closed = true;
    }

    pub(super) fn write_code_block(&mut self, code: &str) {
        self.start_block();
        self.current.push_str("```\n");
        code.trim_end_matches('\n')
            .replace("```", "``\u{200b}`")
            .chars()
            .for_each(|c| push_escaped(&mut self.current, c));
        self.current.push_str("\n```");
        self.closed = false;
    }

    /// Separates a marker from a letter or digit before it, beside which Slack would not see it.
    fn separate_from_word(&mut self) {
        if self.current.ends_with(char::is_alphanumeric) {
            self.current.push(ZERO_WIDTH_SPACE);
        }
    }

    /// Closes a marker. Slack would show markers around nothing: they are removed.
    fn close_marker(&mut self, marker: char) {
        if self.current.len() == self.opened && self.current.ends_with(marker) {
            self.current.pop();
            self.opened = self.current.len();
            return;
        }
        self.current.push(marker);
        self.closed = true;
    }
}
