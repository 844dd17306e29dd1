//! Notices on a terminal: a line for the connection, a live line for each running task, a permanent
//! line for each finished one.

use std::{collections::HashMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::notice::{Notice, activity};
use crate::{run_key::RunKey, text::shorten};

/// Time between two frames of a spinner.
const FRAME: Duration = Duration::from_millis(120);
/// Characters of a prompt in a task's line.
const TITLE_CHARS: usize = 24;

/// Draws notices on a terminal.
pub(super) struct Live {
    screen: MultiProgress,
    header: ProgressBar,
    name: String,
    link: &'static str,
    tasks: HashMap<RunKey, Task>,
}

struct Task {
    line: ProgressBar,
    percent: Option<f64>,
    step: Option<String>,
}

impl Live {
    pub(super) fn new() -> Self {
        let screen = MultiProgress::new();
        let header = screen.add(ProgressBar::new_spinner());
        header.set_style(style("{spinner} {msg}"));
        Self {
            screen,
            header,
            name: String::new(),
            link: "connecting",
            tasks: HashMap::new(),
        }
    }

    /// Shows a notice.
    pub(super) fn show(&mut self, notice: &Notice) {
        match notice {
            Notice::Started { agent_id, .. } => {
                self.print(notice);
                self.name.clone_from(agent_id);
                self.header.enable_steady_tick(FRAME);
            }
            Notice::Connecting => self.link("connecting"),
            Notice::Connected => self.link("connected"),
            Notice::Disconnected { .. } => {
                self.print(notice);
                self.link("not connected");
            }
            Notice::TaskStarted { run, title } => {
                self.begin(*run, title);
                self.header();
            }
            Notice::TaskProgress { run, percent, step } => {
                self.progress(*run, *percent, step.as_ref());
            }
            Notice::TaskEnded { run, .. } => {
                self.end(*run);
                self.header();
                self.print(notice);
            }
            Notice::Stopped => {
                self.header.finish_and_clear();
                self.print(notice);
            }
            _ => self.print(notice),
        }
    }

    fn link(&mut self, state: &'static str) {
        self.link = state;
        self.header();
    }

    fn header(&self) {
        let tasks = match self.tasks.len() {
            0 => "no task".to_owned(),
            1 => "1 task runs".to_owned(),
            tasks => format!("{tasks} tasks run"),
        };
        let Self { name, link, .. } = self;
        self.header.set_message(format!("{name} — {link}, {tasks}"));
    }

    fn begin(&mut self, run: RunKey, title: &str) {
        let line = self.screen.add(ProgressBar::new_spinner());
        line.set_style(style("{spinner} {prefix} {elapsed:>4} {wide_msg}"));
        line.set_prefix(format!("{run} {}", shorten(title, TITLE_CHARS)));
        line.enable_steady_tick(FRAME);
        let task = Task {
            line,
            percent: None,
            step: None,
        };
        self.tasks.insert(run, task);
    }

    fn progress(&mut self, run: RunKey, percent: Option<f64>, step: Option<&String>) {
        if let Some(task) = self.tasks.get_mut(&run) {
            task.percent = percent.or(task.percent);
            task.step = step.cloned().or(task.step.take());
            let activity = activity(task.percent, task.step.as_deref());
            task.line.set_message(activity);
        }
    }

    fn end(&mut self, run: RunKey) {
        if let Some(task) = self.tasks.remove(&run) {
            task.line.finish_and_clear();
            self.screen.remove(&task.line);
        }
    }

    fn print(&self, notice: &Notice) {
        if let Some(line) = notice.line() {
            // An output that nobody reads is no reason to stop working.
            let _unread = self.screen.println(line);
        }
    }
}

/// Returns a style, or indicatif's own if the template is invalid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
