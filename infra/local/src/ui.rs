//! The output of a long task for a person: one line a step, live in a terminal and plain elsewhere.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The interval at which a live line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Columns that a step's note may take before it is cut.
const MAX_NOTE_COLUMNS: usize = 60;

/// The output of one command of `cargo xtask`; live if it goes to a terminal.
#[derive(Debug, Clone, Default)]
pub struct Ui(MultiProgress);

impl Ui {
    /// Returns the output of this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a step, which ends with [`Step::succeed`] or, dropped, as failed.
    pub fn begin_step(&self, title: &str) -> Step {
        let bar = self.0.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(REDRAW_INTERVAL);
        if self.0.is_hidden() {
            println!("… {title}");
        }
        Step {
            ui: self.clone(),
            bar,
        }
    }

    /// Prints a line that stays.
    pub fn print_line(&self, text: &str) {
        self.0.suspend(|| println!("{text}"));
    }
}

/// A step that is under way.
#[derive(Debug)]
pub struct Step {
    ui: Ui,
    /// The live line, whose prefix is the step's title.
    bar: ProgressBar,
}

impl Step {
    /// Shows the progress of the step; only seen live.
    pub fn show_note(&self, text: &str) {
        let note: String = text.trim().chars().take(MAX_NOTE_COLUMNS).collect();
        self.bar.set_message(note);
    }

    /// Ends the step as done, with its result.
    pub fn succeed(self, detail: &str) {
        let separator = if detail.is_empty() { "" } else { " · " };
        self.finish('✓', &format!("{separator}{detail}"));
    }

    fn finish(&self, mark: char, detail: &str) {
        let took = format_duration(self.bar.elapsed());
        self.bar.finish_and_clear();
        let title = self.bar.prefix();
        self.ui
            .print_line(&format!("{mark} {title} ({took}){detail}"));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.finish('✗', "");
        }
    }
}

fn format_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        more => format!("{} min {} s", more / 60, more % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(format_duration(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(format_duration(Duration::from_secs(61)), "1 min 1 s");
    }
}
