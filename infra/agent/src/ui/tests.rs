//! What each interface shows.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use indicatif::{ProgressDrawTarget, TermLike};

use super::*;
use crate::{notice::TaskStatus, tests::submit, text::is_unprintable};

/// Text that clears a screen, sets a title, overwrites a line, adds a line, and turns around.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\rdone\n\u{2028}✔ completed\u{7f}\u{202e}txt\u{2066}";

/// What is written, by any number of writers.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

impl Written {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).unwrap();
        self.0.lock().unwrap().push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

/// A terminal, whose cursor moves are not text.
impl TermLike for Written {
    fn width(&self) -> u16 {
        1000
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.clone().write_all(text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Every kind of notice that has a text, with a hostile one.
fn hostile_notices() -> Vec<Notice> {
    let (text, run) = (|| HOSTILE.to_owned(), RunKey::of(&submit("hi")));
    let duration = Duration::from_secs(1);
    vec![
        Notice::Started {
            agent_id: text(),
            url: text(),
            command: text(),
            concurrency: 1,
        },
        Notice::Disconnected {
            reason: text(),
            retry_in: duration,
        },
        Notice::TaskAccepted {
            run,
            title: text(),
            queue_position: Some(1),
        },
        Notice::TaskRefused {
            run,
            reason: text(),
            retryable: true,
        },
        Notice::TaskStarted { run, title: text() },
        Notice::TaskProgress {
            run,
            percent: Some(50.0),
            step: Some(text()),
        },
        Notice::TaskEnded {
            run,
            title: text(),
            status: TaskStatus::Failed,
            reason: Some(text()),
            duration,
        },
        Notice::Draining {
            reason: text(),
            running: 1,
            timeout: duration,
        },
        Notice::Warning { message: text() },
        Notice::Error { message: text() },
    ]
}

/// Asserts that lines hold nothing that a terminal acts on.
fn assert_printable(text: &str) {
    for line in text.lines() {
        assert!(!line.chars().any(is_unprintable), "{line:?}");
    }
}

#[test]
fn a_hostile_text_is_one_printable_line() {
    let written = Written::default();
    let mut ui = line_ui(written.clone(), Notice::line);
    for notice in hostile_notices() {
        ui(&notice);
    }
    let text = written.text();
    assert_printable(&text);
    assert_eq!(text.lines().count(), hostile_notices().len(), "{text}");
    assert!(text.contains("\\u001b[2J") && text.contains("\\u202etxt"));
}

#[test]
fn a_hostile_text_is_printable_and_unchanged_in_json() {
    let written = Written::default();
    let mut ui = line_ui(written.clone(), json_line);
    for notice in hostile_notices() {
        ui(&notice);
    }
    let text = written.text();
    assert_printable(&text);
    for line in text.lines() {
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = fields.as_object().unwrap().values();
        assert!(fields.clone().any(|value| value == HOSTILE), "{line}");
    }
    assert_eq!(text.lines().count(), hostile_notices().len());
}

#[test]
fn a_hostile_text_does_not_act_on_the_terminal() {
    let written = Written::default();
    let target = ProgressDrawTarget::term_like(Box::new(written.clone()));
    let mut display = LiveDisplay::new(MultiProgress::with_draw_target(target));
    for notice in hostile_notices() {
        display.show(&notice);
    }
    let text = written.text();
    assert_printable(&text);
    for part in ["\\u001b[2J", "50 %", "no task", "not connected"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_line_names_its_event_and_task() {
    let run = RunKey::of(&submit("hi"));
    let line = json_line(&Notice::TaskEnded {
        run,
        title: "hi".to_owned(),
        status: TaskStatus::Completed,
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
