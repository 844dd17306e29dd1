//! What a person sees of a long task: one line a step, live in a terminal and plain elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a live line moves.
const TICK: Duration = Duration::from_millis(100);
/// Columns that a step's note may take before it is cut.
const NOTE_COLUMNS: usize = 60;

/// The output of one task of `cargo xtask`.
#[derive(Debug, Clone)]
pub struct Ui {
    bars: MultiProgress,
    live: bool,
}

impl Ui {
    /// Live if the output is a terminal.
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            live,
        }
    }

    /// Begins a step; it ends with [`Step::done`] or, dropped, as not done.
    pub fn step(&self, title: &str) -> Step {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(TICK);
        if !self.live {
            println!("… {title}");
        }
        Step {
            ui: self.clone(),
            bar,
            title: title.to_owned(),
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        self.bars.suspend(|| println!("{text}"));
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

/// One step that is under way.
#[derive(Debug)]
pub struct Step {
    ui: Ui,
    bar: ProgressBar,
    title: String,
}

impl Step {
    /// What the step is at; only seen live.
    pub fn note(&self, text: &str) {
        let note: String = text.trim().chars().take(NOTE_COLUMNS).collect();
        self.bar.set_message(note);
    }

    /// A line that stays, above the step.
    pub fn line(&self, text: &str) {
        self.ui.line(text);
    }

    /// The step is done; `detail` says what came of it.
    pub fn done(self, detail: &str) {
        let took = seconds(self.bar.elapsed());
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(" · {detail}")
        };
        self.bar.finish_and_clear();
        self.ui.line(&format!("✓ {} ({took}){detail}", self.title));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
            self.ui.line(&format!(
                "✗ {} ({})",
                self.title,
                seconds(self.bar.elapsed())
            ));
        }
    }
}

fn seconds(duration: Duration) -> String {
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
        assert_eq!(seconds(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(seconds(Duration::from_secs(61)), "1 min 1 s");
    }
}
