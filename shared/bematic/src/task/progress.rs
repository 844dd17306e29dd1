//! What a running task reports: steps and output.

use bematic_protocol::{
    ids::{Attempt, MessageId, TaskId},
    messages::{StepKind, TaskProgress, TaskStream},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// One TASK_PROGRESS as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The message that brought it: twice is the same as once.
    pub message_id: MessageId,
    /// When it happened, by the agent's clock.
    pub at: Timestamp,
    /// Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What it was doing, one line each, oldest first.
    pub lines: Vec<String>,
    /// What kind of step.
    pub kind: StepKind,
}

impl Step {
    /// From a message and its envelope.
    pub fn new(message_id: MessageId, sent_at: Timestamp, progress: TaskProgress) -> Self {
        let steps = progress.steps.unwrap_or_default();
        let message = progress
            .message
            .filter(|message| steps.last() != Some(message));
        Self {
            message_id,
            at: progress.timestamp.unwrap_or(sent_at),
            percent: progress.progress,
            lines: steps.into_iter().chain(message).collect(),
            kind: progress.kind,
        }
    }
}

/// Where a chunk stands in an attempt's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChunkOrder {
    /// By number, as agents of today send it.
    Seq(u64),
    /// By the agent's clock.
    Time(Timestamp),
}

/// One TASK_STREAM as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// The message that brought it: twice is the same as once.
    pub message_id: MessageId,
    /// Its place.
    pub order: ChunkOrder,
    /// The output.
    pub text: String,
}

impl Chunk {
    /// Pieces that are kept of an attempt's output: the newest, up to 24 MB or so from an agent
    /// that gathers its output, as the reference agent does. A bound, so that no task can fill
    /// the table; the whole of a longer output stays with the agent.
    pub const KEPT: u64 = 1000;

    /// From a message, its envelope, and the attempt that it was found to speak of.
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
            order: stream.seq.map_or(ChunkOrder::Time(time), ChunkOrder::Seq),
            text: stream.delta,
        }
    }
}

/// What can be said of a running task in a few lines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Percent, the newest that was reported.
    pub percent: Option<f64>,
    /// The newest steps with their kind, oldest first.
    pub steps: Vec<(StepKind, String)>,
}

impl Progress {
    /// Steps that Slack shows.
    pub const STEPS: usize = 8;

    /// From the newest reports, newest first.
    pub fn from_newest(reports: &[Step]) -> Self {
        let percent = reports.iter().find_map(|step| step.percent);
        let mut steps: Vec<_> = reports
            .iter()
            .flat_map(|step| {
                step.lines
                    .iter()
                    .rev()
                    .map(|line| (step.kind, line.clone()))
            })
            .take(Self::STEPS)
            .collect();
        steps.reverse();
        Self { percent, steps }
    }
}
