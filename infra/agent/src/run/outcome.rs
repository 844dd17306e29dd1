//! How a command ended, in words.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use nix::sys::signal::Signal;

use crate::event::Outcome;

/// How a command ended, by its exit status; or that it was stopped.
pub(super) fn outcome(stopped: bool, status: Option<io::Result<ExitStatus>>) -> Outcome {
    match status {
        _ if stopped => Outcome::Stopped,
        Some(Ok(status)) if status.success() => Outcome::Succeeded,
        Some(Ok(status)) => Outcome::Failed(describe(status)),
        Some(Err(error)) => Outcome::Failed(format!(
            "the end of the command could not be observed: {error}"
        )),
        None => Outcome::Stopped,
    }
}

fn describe(status: ExitStatus) -> String {
    let signal = status
        .signal()
        .and_then(|number| Signal::try_from(number).ok());
    match (status.code(), signal) {
        (Some(127), _) => {
            "the command ended with exit code 127 (for a shell: command not found)".to_owned()
        }
        (Some(code), _) => format!("the command ended with exit code {code}"),
        (None, Some(Signal::SIGKILL)) => {
            "the command was ended by SIGKILL (perhaps the machine ran out of memory)".to_owned()
        }
        (None, Some(signal)) => format!("the command was ended by {signal}"),
        (None, None) => format!("the command ended with {status}"),
    }
}
