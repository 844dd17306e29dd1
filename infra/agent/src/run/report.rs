//! Gathers the output and progress of a run into few messages, each small enough for one frame.

use std::collections::VecDeque;

use bematic_protocol::messages::{StepKind, limits};

use crate::{
    event::{Progress, RunEvent},
    progress_line::Declaration,
    text::{escaped_len, shorten, split_escaped},
};

/// Bytes of JSON that one message's text may take: three quarters of a frame, which leaves more
/// than its envelope needs.
const MESSAGE_BUDGET: usize = limits::FRAME_BYTES / 4 * 3;

/// Characters of a step or a message; Slack shows one line of it.
const LINE_CHARS: usize = 1000;

/// Output and progress that are not reported yet. Memory is bounded by one read and one progress
/// line: a full message is ready at once.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The messages that are ready to be sent.
    pub(super) ready: VecDeque<RunEvent>,
    text: String,
    text_len: usize,
    progress: Progress,
    steps_len: usize,
}

impl Report {
    /// Whether nothing waits for [`Self::flush`].
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.progress == Progress::default()
    }

    /// Adds output.
    pub(super) fn output(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (head, tail) = split_escaped(rest, MESSAGE_BUDGET - self.text_len);
            self.text.push_str(head);
            self.text_len += escaped_len(head);
            rest = tail;
            if !rest.is_empty() {
                self.flush_output();
            }
        }
    }

    /// Adds a progress line.
    pub(super) fn declare(&mut self, declared: &Declaration) {
        self.progress.percent = declared.progress.or(self.progress.percent);
        if let Some(message) = &declared.message {
            let message = shorten(message, LINE_CHARS);
            // Every line arrives: a message that another one follows at once becomes a step.
            if let Some(before) = self.progress.message.replace(message) {
                self.step(before, StepKind::Info);
            }
        }
        if let Some(step) = &declared.step {
            self.step(shorten(step, LINE_CHARS), declared.kind);
        }
    }

    /// Makes everything ready, output first.
    pub(super) fn flush(&mut self) {
        self.flush_output();
        self.flush_progress();
    }

    fn step(&mut self, step: String, kind: StepKind) {
        let len = escaped_len(&step) + 3;
        let steps = &self.progress.steps;
        let differs = !steps.is_empty() && self.progress.kind != kind;
        let full = steps.len() == limits::STEPS || self.steps_len + len > MESSAGE_BUDGET / 2;
        if differs || full {
            // The message is left for the steps that follow.
            let message = self.progress.message.take();
            self.flush_progress();
            self.progress.message = message;
        }
        self.progress.kind = kind;
        self.progress.steps.push(step);
        self.steps_len += len;
    }

    fn flush_progress(&mut self) {
        self.steps_len = 0;
        let progress = std::mem::take(&mut self.progress);
        if progress != Progress::default() {
            self.ready.push_back(RunEvent::Progress(progress));
        }
    }

    fn flush_output(&mut self) {
        self.text_len = 0;
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.ready.push_back(RunEvent::Output(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut report: Report) -> Vec<RunEvent> {
        report.flush();
        report.ready.into()
    }

    fn texts(events: &[RunEvent]) -> Vec<&str> {
        events
            .iter()
            .filter_map(|event| match event {
                RunEvent::Output(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    fn steps(events: Vec<RunEvent>) -> Vec<Progress> {
        events
            .into_iter()
            .filter_map(|event| match event {
                RunEvent::Progress(progress) => Some(progress),
                _ => None,
            })
            .collect()
    }

    fn step(text: &str, kind: StepKind) -> Declaration {
        Declaration {
            step: Some(text.to_owned()),
            kind,
            ..Declaration::default()
        }
    }

    proptest! {
        #[test]
        fn deltas_are_small_and_together_the_output(
            pieces in prop::collection::vec(("[\u{1}\"\\\\a€😀\n]{1,20}", 1usize..3000), 1..6)
        ) {
            let pieces: Vec<String> = pieces.iter().map(|(text, n)| text.repeat(*n)).collect();
            let mut report = Report::default();
            for text in &pieces {
                report.output(text);
            }
            let events = all(report);
            prop_assert_eq!(texts(&events).concat(), pieces.concat());
            for text in texts(&events) {
                prop_assert!(escaped_len(text) <= MESSAGE_BUDGET);
            }
        }
    }

    #[test]
    fn five_hundred_steps_arrive_in_order_in_few_messages() {
        let mut report = Report::default();
        let lines: Vec<String> = (0..500).map(|n| format!("step {n}")).collect();
        for line in &lines {
            report.declare(&step(line, StepKind::ToolUse));
        }
        let batches = steps(all(report));
        assert_eq!(batches.len(), 5);
        let all: Vec<String> = batches.into_iter().flat_map(|batch| batch.steps).collect();
        assert_eq!(all, lines);
    }

    #[test]
    fn long_steps_make_small_messages() {
        let mut report = Report::default();
        let long = "\"".repeat(5000);
        for _ in 0..50 {
            report.declare(&step(&long, StepKind::Info));
        }
        for batch in steps(all(report)) {
            assert!(serde_json::to_string(&batch.steps).unwrap().len() < limits::FRAME_BYTES / 2);
        }
    }

    #[test]
    fn kinds_are_not_mixed() {
        let mut report = Report::default();
        report.declare(&step("a", StepKind::ToolUse));
        report.declare(&step("b", StepKind::Thinking));
        let kinds: Vec<StepKind> = steps(all(report)).iter().map(|batch| batch.kind).collect();
        assert_eq!(kinds, [StepKind::ToolUse, StepKind::Thinking]);
    }

    #[test]
    fn a_burst_of_messages_is_not_lost() {
        let mut report = Report::default();
        for n in 0..3 {
            let declared = Declaration {
                progress: Some(f64::from(n)),
                message: Some(format!("m{n}")),
                ..Declaration::default()
            };
            report.declare(&declared);
            assert!(report.ready.is_empty());
        }
        let batch = steps(all(report)).remove(0);
        assert_eq!(batch.steps, ["m0", "m1"]);
        assert_eq!(batch.message.as_deref(), Some("m2"));
        assert_eq!(batch.percent, Some(2.0));
    }
}
