//! The process of a task's command: starting it, ending it with all that it started, and its
//! outcome.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use bematic_protocol::messages::TaskSubmit;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    task::JoinSet,
};

use super::{environment, user::RunAs};

/// The command that every task runs, chosen by the agent's owner; no part of it comes from the
/// cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    pub(crate) program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    /// Splits a command as a shell would. No shell runs it: for pipes and variables, use
    /// `sh -c '…'`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let words = shell_words::split(text).map_err(|error| {
            anyhow::anyhow!(
                "--exec: {error}; quote it as for a shell, such as --exec 'claude -p \"$(cat)\"'"
            )
        })?;
        let mut words = words.into_iter();
        let program = words
            .next()
            .context("--exec is empty; name the program that does the tasks")?;
        Ok(Self {
            program,
            arguments: words.collect(),
        })
    }
}

pub(super) struct Process {
    pub(super) child: Child,
    pub(super) group: ProcessGroup,
    /// Writes the prompt; ends with the run.
    _prompt_writer: JoinSet<()>,
    /// The files of the command's variables; deleted when the run is over.
    _files: Option<TempDir>,
}

impl Process {
    /// Starts the command for a task, in a process group of its own. An error says what to do.
    pub(super) fn start(
        command: &CommandLine,
        run_as: Option<&RunAs>,
        submit: &TaskSubmit,
        folder: &Path,
        line_prefix: &str,
    ) -> Result<Self, String> {
        let CommandLine { program, arguments } = command;
        let mut prepared = if let Some(user) = run_as {
            user.command(program, folder)
        } else {
            let mut command = Command::new(program);
            command.current_dir(folder);
            command
        };
        prepared
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if run_as.is_none() {
            // A launcher leads a session of its own, and so a group.
            prepared.process_group(0);
        }
        let variables = environment::task_variables(submit, folder, line_prefix);
        let files = environment::set_variables(&mut prepared, variables, run_as)
            .map_err(|error| format!("the task's data could not be written to a temporary file: {error}; free some space on the agent's machine"))?;
        let mut child = prepared
            .spawn()
            .map_err(|error| explain_spawn_error(program, &error))?;
        let group = ProcessGroup::of(&child);
        let mut prompt_writer = JoinSet::new();
        if let Some(mut stdin) = child.stdin.take() {
            let prompt = submit.prompt.clone();
            prompt_writer.spawn(async move {
                // A command need not read its prompt.
                let _closed_early = stdin.write_all(prompt.as_bytes()).await;
            });
        }
        Ok(Self {
            group,
            child,
            _prompt_writer: prompt_writer,
            _files: files,
        })
    }
}

/// Explains why a program could not be executed, and says what to do.
pub(super) fn explain_spawn_error(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "the command '{program}' was not found on the agent's machine; \
             install it there, or start the agent with --exec naming it by its full path"
        ),
        // Of a name, this is also the answer if a folder of PATH is closed to the user.
        io::ErrorKind::PermissionDenied => format!(
            "the command '{program}' was not found, or may not be run by its user, on the agent's machine; \
             make it executable (chmod +x), and start the agent with --exec naming it by its full path"
        ),
        _ => format!("the command '{program}' could not be started: {error}"),
    }
}

/// A process group. It is killed when dropped, so that a run leaves nothing behind.
pub(super) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        // 0 would mean the agent's own group.
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.filter(|pid| *pid > 0).map(Pid::from_raw))
    }

    /// Sends a signal to every process of the group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // The only possible error is that the group is already gone.
            let _gone = killpg(pid, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The outcome of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// Another exit code, or a signal that the agent did not send; in words.
    Failed(String),
    /// A failure to start; the sentence says what to do.
    NotStarted(String),
    /// An end that the session asked for.
    #[default]
    Stopped,
}

/// Returns the outcome of a command, by its exit status unless it was stopped.
pub(super) fn outcome(stopped: bool, status: Option<io::Result<ExitStatus>>) -> Outcome {
    let status = match status {
        Some(Ok(status)) if !stopped => status,
        Some(Err(error)) if !stopped => {
            return Outcome::Failed(format!(
                "the end of the command could not be observed: {error}"
            ));
        }
        _ => return Outcome::Stopped,
    };
    let signal = status.signal().and_then(|it| Signal::try_from(it).ok());
    Outcome::Failed(match (status.code(), signal) {
        (Some(0), _) => return Outcome::Succeeded,
        (Some(127), _) => {
            "the command ended with exit code 127 (for a shell: command not found)".to_owned()
        }
        (Some(code), _) => format!("the command ended with exit code {code}"),
        (None, Some(Signal::SIGKILL)) => {
            "the command was ended by SIGKILL (perhaps the machine ran out of memory)".to_owned()
        }
        (None, Some(signal)) => format!("the command was ended by {signal}"),
        (None, None) => format!("the command ended with {status}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_by_a_shell() {
        let command = CommandLine::parse("claude -p 'two words' --flag").unwrap();
        assert_eq!(command.program, "claude");
        assert_eq!(command.arguments, ["-p", "two words", "--flag"]);
    }

    #[test]
    fn a_bad_command_is_explained() {
        let explain = |text| CommandLine::parse(text).unwrap_err().to_string();
        assert!(explain("  ").contains("--exec is empty"));
        assert!(explain("a 'b").contains("quote"));
    }
}
