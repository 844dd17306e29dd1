//! One plain line a notice, for logs.

use std::io::Write;

use super::{
    notice::{Notice, Ui},
    words,
};

/// Writes notices as lines.
pub(super) struct Plain<W> {
    out: W,
}

impl<W: Write> Plain<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Ui for Plain<W> {
    fn tell(&mut self, notice: &Notice) {
        // A log is for what changes: steps would bury it.
        if matches!(notice, Notice::TaskProgress { .. }) {
            return;
        }
        if let Some(line) = words::line(notice) {
            // That nobody reads is no reason to stop working.
            let _unread = writeln!(self.out, "{line}");
        }
    }
}
