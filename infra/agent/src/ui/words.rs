//! Notices in words, for people.

use std::time::Duration;

use super::notice::{Notice, Status};
use crate::text::shorten;

/// The line that says it, or none if it is not worth one.
pub(super) fn line(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Started {
            agent_id,
            url,
            command,
            concurrency,
        } => format!(
            "bematic-agent '{agent_id}' runs `{command}` for up to {concurrency} tasks at once, from {url}"
        ),
        Notice::Connecting => return None,
        Notice::Connected => "connected, waiting for tasks".to_owned(),
        Notice::Renewed => "connection renewed".to_owned(),
        Notice::Disconnected { reason, retry_in } => {
            format!(
                "! not connected: {reason}; trying again in {}",
                seconds(*retry_in)
            )
        }
        Notice::TaskAccepted {
            run,
            title,
            queue_position,
        } => {
            let position = (*queue_position)?;
            format!("… {run} waits, {position} before it: {title}")
        }
        Notice::TaskRefused { run, reason, .. } => format!("✖ {run} not taken: {reason}"),
        Notice::TaskStarted { run, title } => format!("▶ {run} {title}"),
        Notice::TaskProgress { run, percent, step } => {
            format!("  {run} {}", doing(*percent, step.as_deref()))
        }
        Notice::TaskEnded { .. } => ended(notice)?,
        Notice::Draining {
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
        Notice::Warning { message } => format!("! {message}"),
        Notice::Error { message } => format!("✖ {message}"),
        Notice::Stopped => "stopped".to_owned(),
    })
}

/// Percent and step.
pub(super) fn doing(percent: Option<f64>, step: Option<&str>) -> String {
    let step = step.unwrap_or_default();
    match percent {
        Some(percent) => format!("{percent:>3.0} % {step}").trim_end().to_owned(),
        None => step.to_owned(),
    }
}

fn ended(notice: &Notice) -> Option<String> {
    let Notice::TaskEnded {
        run,
        title,
        status,
        reason,
        duration,
    } = notice
    else {
        return None;
    };
    let (mark, word) = match status {
        Status::Completed => ('✔', "completed"),
        Status::Failed => ('✖', "failed"),
        Status::Cancelled => ('■', "cancelled"),
    };
    let reason = reason.as_ref().map_or_else(String::new, |reason| {
        let first = reason.lines().next().unwrap_or_default();
        format!(": {}", shorten(first, 300))
    });
    let time = seconds(*duration);
    Some(format!("{mark} {run} {time} {title} — {word}{reason}"))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run_key::RunKey, testing::submit};

    #[test]
    fn an_end_is_one_line() {
        let run = RunKey::of(&submit("hi"));
        let words = line(&Notice::TaskEnded {
            run,
            title: "Fix it".to_owned(),
            status: Status::Failed,
            reason: Some("it ended with exit code 3\nand more".to_owned()),
            duration: Duration::from_millis(12_345),
        });
        let expected = format!("✖ {run} 12.3 s Fix it — failed: it ended with exit code 3");
        assert_eq!(words, Some(expected));
    }
}
