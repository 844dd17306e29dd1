//! The agent's output for its user, or for a program. Whatever a text holds that came from a
//! command, the cloud or the owner's own options, only printable characters leave this module.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use bematic_protocol::time::{Clock, SystemClock, Timestamp};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    notice::{Notice, progress_text},
    run::RunKey,
    text::{escape_unprintable, shorten},
};

/// Time between two frames of a spinner.
const SPINNER_FRAME_INTERVAL: Duration = Duration::from_millis(120);
/// Characters of a prompt in a task's line.
const TITLE_CHARS: usize = 24;

/// Shows notices.
pub type NoticeSink = Box<dyn FnMut(&Notice) + Send>;

/// Returns the interface: with `json`, JSON lines on standard output; else, on standard error, a
/// live line for each task on a terminal, and plain lines elsewhere.
pub fn choose(json: bool) -> NoticeSink {
    if json {
        line_ui(io::stdout(), json_line)
    } else if io::stderr().is_terminal() {
        let mut display = LiveDisplay::new(MultiProgress::new());
        Box::new(move |notice| display.show(notice))
    } else {
        line_ui(io::stderr(), |notice| match notice {
            // A log is for changes: steps would be too many.
            Notice::TaskProgress { .. } => None,
            _ => notice.line(),
        })
    }
}

/// Prints an error of several lines, after which the agent exits.
pub fn print_error(text: &str) {
    for line in text.lines() {
        eprintln!("{}", escape_unprintable(line));
    }
}

/// Writes each notice as a line, if it has one.
fn line_ui(
    mut out: impl Write + Send + 'static,
    line: fn(&Notice) -> Option<String>,
) -> NoticeSink {
    Box::new(move |notice| {
        if let Some(line) = line(notice) {
            // An output that nobody reads is no reason to stop working.
            let line = escape_unprintable(&line);
            let _unread = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    })
}

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

/// A terminal with a line for the connection, a live line for each running task, and a permanent
/// line for each finished one.
struct LiveDisplay {
    screen: MultiProgress,
    header: ProgressBar,
    agent_id: String,
    connection: &'static str,
    tasks: HashMap<RunKey, TaskLine>,
}

struct TaskLine {
    bar: ProgressBar,
    percent: Option<f64>,
    step: Option<String>,
}

impl LiveDisplay {
    fn new(screen: MultiProgress) -> Self {
        Self {
            header: add_spinner(&screen, "{spinner} {msg}"),
            screen,
            agent_id: String::new(),
            connection: "connecting",
            tasks: HashMap::new(),
        }
    }

    fn show(&mut self, notice: &Notice) {
        match notice {
            Notice::Started { agent_id, .. } => {
                self.agent_id.clone_from(agent_id);
                self.header.enable_steady_tick(SPINNER_FRAME_INTERVAL);
            }
            Notice::Connecting => self.connection = "connecting",
            Notice::Connected => self.connection = "connected",
            Notice::Disconnected { .. } => self.connection = "not connected",
            Notice::TaskStarted { run, title } => {
                let template = "{spinner} {prefix} {elapsed:>4} {wide_msg}";
                let bar = add_spinner(&self.screen, template);
                let title = escape_unprintable(&shorten(title, TITLE_CHARS));
                bar.set_prefix(format!("{run} {title}"));
                bar.enable_steady_tick(SPINNER_FRAME_INTERVAL);
                let (percent, step) = (None, None);
                self.tasks.insert(*run, TaskLine { bar, percent, step });
            }
            Notice::TaskProgress { run, percent, step } => {
                if let Some(task) = self.tasks.get_mut(run) {
                    task.percent = percent.or(task.percent);
                    task.step = step.clone().or(task.step.take());
                    let text = progress_text(task.percent, task.step.as_deref());
                    task.bar.set_message(escape_unprintable(&text));
                }
            }
            Notice::TaskEnded { run, .. } => {
                if let Some(TaskLine { bar, .. }) = self.tasks.remove(run) {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
            }
            Notice::Stopped => self.header.finish_and_clear(),
            _ => {}
        }
        let has_live_line = matches!(
            notice,
            Notice::Connected | Notice::TaskStarted { .. } | Notice::TaskProgress { .. }
        );
        if let Some(line) = notice.line().filter(|_| !has_live_line) {
            // An output that nobody reads is no reason to stop working.
            let _unread = self.screen.println(escape_unprintable(&line));
        }
        let tasks = match self.tasks.len() {
            0 => "no task".to_owned(),
            1 => "1 task runs".to_owned(),
            tasks => format!("{tasks} tasks run"),
        };
        let (agent, connection) = (&self.agent_id, self.connection);
        let header = format!("{agent} — {connection}, {tasks}");
        self.header.set_message(escape_unprintable(&header));
    }
}

/// Adds a spinner, in indicatif's own style if the template is invalid.
fn add_spinner(screen: &MultiProgress, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let spinner = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    screen.add(spinner)
}
