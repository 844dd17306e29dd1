//! The events of a run. Output and progress are gathered into few of them, each small enough for one
//! frame.

use std::{collections::VecDeque, mem, time::Duration};

use bematic_protocol::messages::{StepKind, limits};

use super::process::Outcome;
use crate::{
    progress_line::{ProgressLine, ResultFields},
    text::{escaped_len, shorten, split_escaped},
};

/// Bytes of JSON that one message's text may take: three quarters of a frame, which leaves more
/// than its envelope needs.
const MESSAGE_BUDGET_BYTES: usize = limits::MAX_FRAME_BYTES / 4 * 3;

/// Characters of a step or a message; Slack shows one line of it.
const MAX_STEP_CHARS: usize = 1000;

/// An event of a run, in order; [`RunEvent::Ended`] is the last.
#[derive(Debug)]
pub(crate) enum RunEvent {
    Output(String),
    Progress(Progress),
    /// A warning to the agent's owner.
    Warning(String),
    /// The run has ended, and so has every process of it.
    Ended(Box<EndedRun>),
}

/// The content of the progress lines since the last progress report.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Progress {
    pub(crate) percent: Option<f64>,
    /// The present activity.
    pub(crate) message: Option<String>,
    /// The steps, all of one kind.
    pub(crate) steps: Vec<String>,
    pub(crate) kind: StepKind,
}

#[derive(Debug, Default)]
pub(crate) struct EndedRun {
    pub(crate) outcome: Outcome,
    /// The summary that its command declared.
    pub(crate) summary: ResultFields,
    pub(crate) output_tail: String,
    pub(crate) error_tail: String,
    pub(crate) duration: Duration,
}

/// Output and progress that are not reported yet. Memory is bounded by one read and one progress
/// line: a full message is ready at once.
#[derive(Debug, Default)]
pub(super) struct EventBuffer {
    /// The events that are ready to be sent.
    pub(super) ready: VecDeque<RunEvent>,
    text: String,
    /// Bytes of the text in JSON.
    text_len: usize,
    progress: Progress,
}

impl EventBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && !self.has_unflushed()
    }

    /// Whether something waits for [`Self::flush`].
    pub(super) fn has_unflushed(&self) -> bool {
        !self.text.is_empty() || self.progress != Progress::default()
    }

    pub(super) fn add_output(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (head, tail) = split_escaped(rest, MESSAGE_BUDGET_BYTES - self.text_len);
            self.text.push_str(head);
            self.text_len += escaped_len(head);
            rest = tail;
            if !rest.is_empty() {
                self.flush_output();
            }
        }
    }

    pub(super) fn add_progress(&mut self, line: &ProgressLine) {
        self.progress.percent = line.progress.or(self.progress.percent);
        if let Some(message) = &line.message {
            let message = shorten(message, MAX_STEP_CHARS);
            // Every line arrives: a message that another one follows at once becomes a step.
            if let Some(before) = self.progress.message.replace(message) {
                self.add_step(before, StepKind::Info);
            }
        }
        if let Some(step) = &line.step {
            self.add_step(shorten(step, MAX_STEP_CHARS), line.kind);
        }
    }

    /// Makes everything ready, output first.
    pub(super) fn flush(&mut self) {
        self.flush_output();
        self.flush_progress();
    }

    fn add_step(&mut self, step: String, kind: StepKind) {
        let steps = &self.progress.steps;
        let len = |step: &String| escaped_len(step) + 3;
        let size = steps.iter().map(len).sum::<usize>() + len(&step);
        let differs = !steps.is_empty() && self.progress.kind != kind;
        if differs || steps.len() == limits::MAX_STEPS || size > MESSAGE_BUDGET_BYTES / 2 {
            // The message is left for the steps that follow.
            let message = self.progress.message.take();
            self.flush_progress();
            self.progress.message = message;
        }
        self.progress.kind = kind;
        self.progress.steps.push(step);
    }

    fn flush_progress(&mut self) {
        let progress = mem::take(&mut self.progress);
        if progress != Progress::default() {
            self.ready.push_back(RunEvent::Progress(progress));
        }
    }

    fn flush_output(&mut self) {
        self.text_len = 0;
        if !self.text.is_empty() {
            let text = mem::take(&mut self.text);
            self.ready.push_back(RunEvent::Output(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut buffer: EventBuffer) -> Vec<RunEvent> {
        buffer.flush();
        buffer.ready.into()
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

    fn step(text: &str, kind: StepKind) -> ProgressLine {
        ProgressLine {
            step: Some(text.to_owned()),
            kind,
            ..ProgressLine::default()
        }
    }

    proptest! {
        #[test]
        fn deltas_are_small_and_together_the_output(
            pieces in prop::collection::vec(("[\u{1}\"\\\\a€😀\n]{1,20}", 1usize..3000), 1..6)
        ) {
            let pieces: Vec<String> = pieces.iter().map(|(text, n)| text.repeat(*n)).collect();
            let mut buffer = EventBuffer::default();
            for text in &pieces {
                buffer.add_output(text);
            }
            let events = all(buffer);
            prop_assert_eq!(texts(&events).concat(), pieces.concat());
            for text in texts(&events) {
                prop_assert!(escaped_len(text) <= MESSAGE_BUDGET_BYTES);
            }
        }
    }

    #[test]
    fn five_hundred_steps_arrive_in_order_in_few_messages() {
        let mut buffer = EventBuffer::default();
        let lines: Vec<String> = (0..500).map(|n| format!("step {n}")).collect();
        for line in &lines {
            buffer.add_progress(&step(line, StepKind::ToolUse));
        }
        let batches = steps(all(buffer));
        assert_eq!(batches.len(), 5);
        let all: Vec<String> = batches.into_iter().flat_map(|batch| batch.steps).collect();
        assert_eq!(all, lines);
    }

    #[test]
    fn long_steps_make_small_messages() {
        let mut buffer = EventBuffer::default();
        let long = "\"".repeat(5000);
        for _ in 0..50 {
            buffer.add_progress(&step(&long, StepKind::Info));
        }
        for batch in steps(all(buffer)) {
            assert!(
                serde_json::to_string(&batch.steps).unwrap().len() < limits::MAX_FRAME_BYTES / 2
            );
        }
    }

    #[test]
    fn kinds_are_not_mixed() {
        let mut buffer = EventBuffer::default();
        buffer.add_progress(&step("a", StepKind::ToolUse));
        buffer.add_progress(&step("b", StepKind::Thinking));
        let kinds: Vec<StepKind> = steps(all(buffer)).iter().map(|batch| batch.kind).collect();
        assert_eq!(kinds, [StepKind::ToolUse, StepKind::Thinking]);
    }

    #[test]
    fn a_burst_of_messages_is_not_lost() {
        let mut buffer = EventBuffer::default();
        for n in 0..3 {
            let declared = ProgressLine {
                progress: Some(f64::from(n)),
                message: Some(format!("m{n}")),
                ..ProgressLine::default()
            };
            buffer.add_progress(&declared);
            assert!(buffer.ready.is_empty());
        }
        let batch = steps(all(buffer)).remove(0);
        assert_eq!(batch.steps, ["m0", "m1"]);
        assert_eq!(batch.message.as_deref(), Some("m2"));
        assert_eq!(batch.percent, Some(2.0));
    }
}
