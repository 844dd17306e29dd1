//! Notices: what happens, for the agent's user or for a program.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{run::RunKey, text::shorten};

/// An event that is shown to the agent's user. A `title` is the beginning of a task's prompt, a
/// `message` a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[expect(missing_docs, reason = "names say it, where a field has no comment")]
pub enum Notice {
    Started {
        agent_id: String,
        url: String,
        /// The program that the agent runs.
        command: String,
        concurrency: u32,
    },
    /// A connection attempt begins.
    Connecting,
    Connected,
    /// The connection was replaced by a new one before its time was over.
    Renewed,
    Disconnected {
        reason: String,
        /// The time until the next attempt.
        #[serde(rename = "retryInMs", serialize_with = "serialize_millis")]
        retry_in: Duration,
    },
    TaskAccepted {
        #[serde(flatten)]
        run: RunKey,
        title: String,
        /// The number of tasks before it; none if it starts at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_position: Option<u64>,
    },
    /// A task was refused or handed back.
    TaskRefused {
        #[serde(flatten)]
        run: RunKey,
        reason: String,
        /// Whether the cloud may offer it again.
        retryable: bool,
    },
    TaskStarted {
        #[serde(flatten)]
        run: RunKey,
        title: String,
    },
    TaskProgress {
        #[serde(flatten)]
        run: RunKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<f64>,
        /// The newest step or message.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    TaskEnded {
        #[serde(flatten)]
        run: RunKey,
        title: String,
        status: TaskStatus,
        /// The reason, unless the task is completed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(rename = "durationMs", serialize_with = "serialize_millis")]
        duration: Duration,
    },
    /// The agent finishes its tasks and accepts no more.
    Draining {
        reason: String,
        /// The number of tasks that still run.
        running: usize,
        /// The time that they may take.
        #[serde(rename = "timeoutMs", serialize_with = "serialize_millis")]
        timeout: Duration,
    },
    /// A problem that does not stop the agent.
    Warning {
        message: String,
    },
    /// The agent cannot go on, or the cloud reported an error.
    Error {
        message: String,
    },
    Stopped,
}

/// The outcome of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// The task has a result.
    Completed,
    /// The task ended with an error.
    Failed,
    /// The task was stopped on request.
    Cancelled,
}

fn serialize_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Notice {
    /// Returns the notice's line for people, unless it is not worth one.
    pub(crate) fn line(&self) -> Option<String> {
        Some(match self {
            Self::Started {
                agent_id,
                url,
                command,
                concurrency,
            } => format!(
                "bematic-agent '{agent_id}' runs `{command}` for up to {concurrency} tasks at once, from {url}"
            ),
            Self::Connecting => return None,
            Self::Connected => "connected, waiting for tasks".to_owned(),
            Self::Renewed => "connection renewed".to_owned(),
            Self::Disconnected { reason, retry_in } => {
                let wait = format_seconds(*retry_in);
                format!("! not connected: {reason}; trying again in {wait}")
            }
            Self::TaskAccepted {
                run,
                title,
                queue_position,
            } => {
                let position = (*queue_position)?;
                format!("… {run} waits, {position} before it: {title}")
            }
            Self::TaskRefused { run, reason, .. } => format!("✖ {run} not taken: {reason}"),
            Self::TaskStarted { run, title } => format!("▶ {run} {title}"),
            Self::TaskProgress { run, percent, step } => {
                format!("  {run} {}", progress_text(*percent, step.as_deref()))
            }
            Self::TaskEnded {
                run,
                title,
                status,
                reason,
                duration,
            } => {
                let (mark, status) = match status {
                    TaskStatus::Completed => ('✔', "completed"),
                    TaskStatus::Failed => ('✖', "failed"),
                    TaskStatus::Cancelled => ('■', "cancelled"),
                };
                let time = format_seconds(*duration);
                let mut line = format!("{mark} {run} {time} {title} — {status}");
                if let Some(reason) = reason {
                    line += ": ";
                    line += &shorten(reason.lines().next().unwrap_or_default(), 300);
                }
                line
            }
            Self::Draining {
                reason,
                running,
                timeout,
            } => match (running, format_seconds(*timeout)) {
                (0, _) => format!("stopping: {reason}"),
                (n, time) => format!(
                    "stopping: {reason}; {n} running tasks may take up to {time} (stop once more to end them at once)"
                ),
            },
            Self::Warning { message } => format!("! {message}"),
            Self::Error { message } => format!("✖ {message}"),
            Self::Stopped => "stopped".to_owned(),
        })
    }
}

/// Returns percent and step in words.
pub(crate) fn progress_text(percent: Option<f64>, step: Option<&str>) -> String {
    let step = step.unwrap_or_default();
    match percent {
        Some(percent) => format!("{percent:>3.0} % {step}").trim_end().to_owned(),
        None => step.to_owned(),
    }
}

fn format_seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::submit;

    #[test]
    fn an_end_is_one_line() {
        let run = RunKey::of(&submit("hi"));
        let notice = Notice::TaskEnded {
            run,
            title: "Fix it".to_owned(),
            status: TaskStatus::Failed,
            reason: Some("it ended with exit code 3\nand more".to_owned()),
            duration: Duration::from_millis(12_345),
        };
        let expected = format!("✖ {run} 12.3 s Fix it — failed: it ended with exit code 3");
        assert_eq!(notice.line(), Some(expected));
    }
}
