//! Runs a program to its end, shows its progress, and keeps the output that explains a failure.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use crate::ui::Step;

/// The number of lines of a failed program's output that are shown.
const TAIL_LINES: usize = 60;

/// Returns a command without input, whose process ends when its handle is dropped.
pub fn kill_on_drop_command(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs `command` to its end and returns its standard output; each line of its standard error
/// becomes the step's note. An exit status other than 0 is an error with the end of the output.
pub async fn run_command(step: &Step, name: &str, command: impl Into<Command>) -> Result<String> {
    let mut child = command
        .into()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let stderr = child.stderr.take().context("its errors are piped")?;
    let (output, errors) = tokio::join!(
        child.wait_with_output(),
        show_and_collect_lines(step, stderr)
    );
    let output = output.with_context(|| format!("{name} could not be waited for"))?;
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), errors?);
    if !output.status.success() {
        bail!(
            "{name} failed ({}):\n{}{}",
            output.status,
            last_lines(&out, TAIL_LINES),
            last_lines(&errors, TAIL_LINES)
        );
    }
    Ok(out.into_owned())
}

/// Returns the last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Shows each line as the step's note, and returns them all.
async fn show_and_collect_lines(step: &Step, stream: impl AsyncRead + Unpin) -> Result<String> {
    let mut text = String::new();
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line);
        step.show_note(&line);
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Ui;

    fn shell(script: &str) -> Command {
        let mut command = kill_on_drop_command("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_failure_shows_the_end_of_both_outputs() {
        let step = Ui::new().begin_step("test");
        let error = run_command(&step, "demo", shell("echo to-out; echo to-err >&2; exit 3")).await;
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("demo failed"), "{text}");
        assert!(text.contains("to-out") && text.contains("to-err"), "{text}");
    }

    #[tokio::test]
    async fn output_that_is_not_text_is_no_failure() {
        let step = Ui::new().begin_step("test");
        let out = run_command(&step, "demo", shell(r"printf 'a\377b'; printf '\377' >&2"))
            .await
            .unwrap();
        assert_eq!(out, "a\u{fffd}b");
    }
}
