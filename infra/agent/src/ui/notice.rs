//! Notices, and their lines for people.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{run_key::RunKey, text::shorten};

/// An event that is shown to the agent's user.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Notice {
    /// The agent starts.
    Started {
        /// The agent's id.
        agent_id: String,
        /// The address that the agent connects to.
        url: String,
        /// The program that the agent runs.
        command: String,
        /// The number of tasks at once.
        concurrency: u32,
    },
    /// A connection attempt begins.
    Connecting,
    /// The agent is connected.
    Connected,
    /// The connection was replaced by a new one before its time was over.
    Renewed,
    /// The connection is gone.
    Disconnected {
        /// The reason.
        reason: String,
        /// The time until the next attempt.
        #[serde(rename = "retryInMs", serialize_with = "millis")]
        retry_in: Duration,
    },
    /// A task was accepted.
    TaskAccepted {
        /// The run.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
        /// The number of tasks before it; none if it starts at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_position: Option<u64>,
    },
    /// A task was refused or handed back.
    TaskRefused {
        /// The run.
        #[serde(flatten)]
        run: RunKey,
        /// The reason.
        reason: String,
        /// Whether the cloud may offer it again.
        retryable: bool,
    },
    /// A task's command was started.
    TaskStarted {
        /// The run.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
    },
    /// A task's command reported progress.
    TaskProgress {
        /// The run.
        #[serde(flatten)]
        run: RunKey,
        /// Percent.
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<f64>,
        /// The newest step or message.
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    /// A task has ended.
    TaskEnded {
        /// The run.
        #[serde(flatten)]
        run: RunKey,
        /// The beginning of its prompt.
        title: String,
        /// The outcome.
        status: Status,
        /// The reason, unless the task is completed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The duration of the run.
        #[serde(rename = "durationMs", serialize_with = "millis")]
        duration: Duration,
    },
    /// The agent finishes its tasks and accepts no more.
    Draining {
        /// The reason.
        reason: String,
        /// The number of tasks that still run.
        running: usize,
        /// The time that they may take.
        #[serde(rename = "timeoutMs", serialize_with = "millis")]
        timeout: Duration,
    },
    /// A problem that does not stop the agent.
    Warning {
        /// A sentence that says what to do.
        message: String,
    },
    /// The agent cannot go on, or the cloud reported an error.
    Error {
        /// A sentence that says what to do.
        message: String,
    },
    /// The agent has stopped.
    Stopped,
}

/// The outcome of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The task has a result.
    Completed,
    /// The task ended with an error.
    Failed,
    /// The task was stopped on request.
    Cancelled,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Notice {
    /// Returns the notice's line for people, unless it is not worth one.
    pub(super) fn line(&self) -> Option<String> {
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
                format!(
                    "! not connected: {reason}; trying again in {}",
                    seconds(*retry_in)
                )
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
                format!("  {run} {}", activity(*percent, step.as_deref()))
            }
            Self::TaskEnded {
                run,
                title,
                status,
                reason,
                duration,
            } => {
                let (mark, status) = match status {
                    Status::Completed => ('✔', "completed"),
                    Status::Failed => ('✖', "failed"),
                    Status::Cancelled => ('■', "cancelled"),
                };
                let reason = reason.as_ref().map_or_else(String::new, |reason| {
                    let first = reason.lines().next().unwrap_or_default();
                    format!(": {}", shorten(first, 300))
                });
                let time = seconds(*duration);
                format!("{mark} {run} {time} {title} — {status}{reason}")
            }
            Self::Draining {
                reason,
                running,
                timeout,
            } => match running {
                0 => format!("stopping: {reason}"),
                n => format!(
                    "stopping: {reason}; {n} running tasks may take up to {} (stop once more to end them at once)",
                    seconds(*timeout)
                ),
            },
            Self::Warning { message } => format!("! {message}"),
            Self::Error { message } => format!("✖ {message}"),
            Self::Stopped => "stopped".to_owned(),
        })
    }
}

/// Returns percent and step in words.
pub(super) fn activity(percent: Option<f64>, step: Option<&str>) -> String {
    let step = step.unwrap_or_default();
    match percent {
        Some(percent) => format!("{percent:>3.0} % {step}").trim_end().to_owned(),
        None => step.to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
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
            status: Status::Failed,
            reason: Some("it ended with exit code 3\nand more".to_owned()),
            duration: Duration::from_millis(12_345),
        };
        let expected = format!("✖ {run} 12.3 s Fix it — failed: it ended with exit code 3");
        assert_eq!(notice.line(), Some(expected));
    }
}
