//! The agent's output for its user, or for a program.

mod live;
mod notice;

use std::io::{self, IsTerminal, Write};

use bematic_protocol::time::{Clock, SystemClock, Timestamp};
use serde::Serialize;

use self::live::Live;
pub use self::notice::{Notice, Status};

/// Shows notices.
pub type Ui = Box<dyn FnMut(&Notice) + Send>;

/// Returns the interface: with `json`, JSON lines on standard output; else, on standard error, a live
/// line for each task on a terminal, and plain lines elsewhere.
pub fn choose(json: bool) -> Ui {
    if json {
        lines(io::stdout(), json_line)
    } else if io::stderr().is_terminal() {
        let mut live = Live::new();
        Box::new(move |notice| live.show(notice))
    } else {
        lines(io::stderr(), plain_line)
    }
}

/// Writes each notice as a line, if it has one.
fn lines(mut out: impl Write + Send + 'static, line: fn(&Notice) -> Option<String>) -> Ui {
    Box::new(move |notice| {
        if let Some(line) = line(notice) {
            // An output that nobody reads is no reason to stop working.
            let _unread = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    })
}

/// A notice in a log, which is for changes: steps would be too many.
fn plain_line(notice: &Notice) -> Option<String> {
    let is_step = matches!(notice, Notice::TaskProgress { .. });
    notice.line().filter(|_| !is_step)
}

/// A notice as a JSON object.
fn json_line(notice: &Notice) -> Option<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        timestamp: Timestamp,
        #[serde(flatten)]
        notice: &'a Notice,
    }
    let timestamp = SystemClock.now();
    serde_json::to_string(&Line { timestamp, notice }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run_key::RunKey, tests::submit};

    #[test]
    fn a_line_names_its_event_and_task() {
        let run = RunKey::of(&submit("hi"));
        let line = json_line(&Notice::TaskEnded {
            run,
            title: "hi".to_owned(),
            status: Status::Completed,
            reason: None,
            duration: std::time::Duration::from_millis(1500),
        });
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(line["event"], "task_ended");
        assert_eq!(line["taskId"], run.task.to_string());
        assert_eq!(line["status"], "completed");
        assert_eq!(line["durationMs"], 1500);
        assert!(line["timestamp"].is_u64());
    }
}
