//! What is worth showing, and what shows it.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::run_key::RunKey;

/// Something that happened, worth knowing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Notice {
    /// The agent begins.
    Started {
        /// Who it is.
        agent_id: String,
        /// Where it connects to.
        url: String,
        /// What it runs.
        command: String,
        /// How many tasks at once.
        concurrency: u32,
    },
    /// A connection attempt begins.
    Connecting,
    /// Connected.
    Connected,
    /// The connection was replaced by a new one before its time was over.
    Renewed,
    /// The connection is gone.
    Disconnected {
        /// Why.
        reason: String,
        /// Until the next attempt.
        #[serde(rename = "retryInMs", serialize_with = "millis")]
        retry_in: Duration,
    },
    /// A task was taken.
    TaskAccepted {
        /// Which.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
        /// How many are before it; none if it starts at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_position: Option<u64>,
    },
    /// A task was not taken, or was handed back.
    TaskRefused {
        /// Which.
        #[serde(flatten)]
        run: RunKey,
        /// Why.
        reason: String,
        /// Whether the cloud may offer it again.
        retryable: bool,
    },
    /// A task's command was started.
    TaskStarted {
        /// Which.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
    },
    /// A task tells how it is doing.
    TaskProgress {
        /// Which.
        #[serde(flatten)]
        run: RunKey,
        /// Percent.
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<f64>,
        /// Its newest step or message.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    /// A task has ended.
    TaskEnded {
        /// Which.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
        /// How.
        status: Status,
        /// Why, unless it is completed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// How long it ran.
        #[serde(rename = "durationMs", serialize_with = "millis")]
        duration: Duration,
    },
    /// The agent finishes what it has and takes no more.
    Draining {
        /// Why.
        reason: String,
        /// How many tasks still run.
        running: usize,
        /// How long they may take.
        #[serde(rename = "timeoutMs", serialize_with = "millis")]
        timeout: Duration,
    },
    /// Something is not as it should be; work goes on.
    Warning {
        /// A sentence that says what to do.
        message: String,
    },
    /// The agent cannot go on, or the cloud reported an error.
    Error {
        /// A sentence that says what to do.
        message: String,
    },
    /// The agent has ended.
    Stopped,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// With a result.
    Completed,
    /// With an error.
    Failed,
    /// On request.
    Cancelled,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Shows notices.
pub trait Ui: Send {
    /// Shows one.
    fn tell(&mut self, notice: &Notice);
}
