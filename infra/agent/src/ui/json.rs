//! One JSON object a line, for machines.

use std::io::Write;

use bematic_protocol::time::{Clock, SystemClock, Timestamp};
use serde::Serialize;

use super::notice::{Notice, Ui};

/// Writes notices as JSON lines.
pub(super) struct Json<W> {
    out: W,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Timestamp,
    #[serde(flatten)]
    notice: &'a Notice,
}

impl<W: Write> Json<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Ui for Json<W> {
    fn tell(&mut self, notice: &Notice) {
        let timestamp = SystemClock.now();
        if let Ok(line) = serde_json::to_string(&Line { timestamp, notice }) {
            // That nobody reads is no reason to stop working.
            let _unread = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run_key::RunKey, testing::submit, ui::Status};

    #[test]
    fn a_line_names_its_event_and_task() {
        let mut out = Vec::new();
        let run = RunKey::of(&submit("hi"));
        Json::new(&mut out).tell(&Notice::TaskEnded {
            run,
            title: "hi".to_owned(),
            status: Status::Completed,
            reason: None,
            duration: std::time::Duration::from_millis(1500),
        });
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["event"], "task_ended");
        assert_eq!(line["taskId"], run.task.to_string());
        assert_eq!(line["status"], "completed");
        assert_eq!(line["durationMs"], 1500);
        assert!(line["timestamp"].is_u64());
    }
}
