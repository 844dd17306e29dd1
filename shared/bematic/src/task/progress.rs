//! The progress reports of a running task: steps and output.

use bematic_protocol::{
    ids::{Attempt, MessageId, TaskId},
    messages::{StepKind, TaskProgress, TaskStream},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// A TASK_PROGRESS message as it is stored: the percentage, and several steps of one kind.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressReport {
    /// The id of the message: storing it twice is the same as once.
    pub message_id: MessageId,
    /// The time of the report, by the agent's clock.
    pub at: Timestamp,
    /// The progress in percent.
    pub percent: Option<f64>,
    /// The steps, one line each, oldest first.
    pub lines: Vec<String>,
    /// The kind of the steps.
    pub kind: StepKind,
}

impl ProgressReport {
    /// The number of reports that are kept of an attempt, the newest: Slack shows the last
    /// [`Progress::MAX_STEPS_SHOWN`] steps.
    pub const MAX_KEPT_PER_ATTEMPT: u64 = 250;

    /// Creates a report from a message and its envelope.
    pub fn new(message_id: MessageId, sent_at: Timestamp, progress: TaskProgress) -> Self {
        let steps = progress.steps.unwrap_or_default();
        let message = progress.message.filter(|it| steps.last() != Some(it));
        Self {
            message_id,
            at: progress.timestamp.unwrap_or(sent_at),
            percent: progress.progress,
            lines: steps.into_iter().chain(message).collect(),
            kind: progress.kind,
        }
    }
}

/// The position of a chunk in an attempt's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChunkPosition {
    /// The sequence number, as current agents send it.
    Seq(u64),
    /// The time of the chunk, by the agent's clock.
    Time(Timestamp),
}

/// A TASK_STREAM message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that wrote the output.
    pub attempt: Attempt,
    /// The id of the message: storing it twice is the same as once.
    pub message_id: MessageId,
    /// The position in the attempt's output.
    pub position: ChunkPosition,
    /// The output.
    pub text: String,
}

impl OutputChunk {
    /// The number of chunks that are kept of an attempt's output, the newest: up to about 24 MB.
    pub const MAX_KEPT_PER_ATTEMPT: u64 = 1000;

    /// Creates a chunk from a message, its envelope, and the attempt that it belongs to.
    pub fn new(
        message_id: MessageId,
        sent_at: Timestamp,
        attempt: Attempt,
        stream: TaskStream,
    ) -> Self {
        let time = stream.timestamp.unwrap_or(sent_at);
        Self {
            task_id: stream.task_id,
            attempt,
            message_id,
            position: stream
                .seq
                .map_or(ChunkPosition::Time(time), ChunkPosition::Seq),
            text: stream.delta,
        }
    }
}

/// The newest output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputTail {
    /// The text, oldest first.
    pub text: String,
    /// Whether there is more output before the text.
    pub cut: bool,
}

/// The progress of a running task, as Slack shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// The newest percentage that was reported.
    pub percent: Option<f64>,
    /// The newest steps with their kind, oldest first.
    pub steps: Vec<(StepKind, String)>,
}

impl Progress {
    /// The number of steps that Slack shows.
    pub const MAX_STEPS_SHOWN: usize = 8;

    /// Summarizes the newest reports, which are sorted newest first.
    pub(crate) fn from_newest(reports: &[ProgressReport]) -> Self {
        let percent = reports.iter().find_map(|report| report.percent);
        let mut steps: Vec<_> = reports
            .iter()
            .flat_map(|report| {
                report
                    .lines
                    .iter()
                    .rev()
                    .map(|line| (report.kind, line.clone()))
            })
            .take(Self::MAX_STEPS_SHOWN)
            .collect();
        steps.reverse();
        Self { percent, steps }
    }
}
