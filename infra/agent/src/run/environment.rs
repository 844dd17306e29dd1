//! A task's fields as environment variables.

use std::{
    env,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use bematic_protocol::messages::TaskSubmit;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::user::RunAs;
use crate::key::CREDENTIALS_VARIABLE;

/// The beginning of the variables' names. Such variables of the agent's own environment, its API
/// key first of all, are not passed on, nor what else leads to the key.
const PREFIX: &str = "BEMATIC_";

/// Bytes of a value that are certain to fit: Linux takes 128 KB for name and value together
/// (`MAX_ARG_STRLEN`).
const MAX_VALUE_BYTES: usize = 120 * 1024;

/// Sets a command's variables. A value that is too large is written to a file of the returned
/// folder, which belongs to the user that the command runs as, and named by the variable with
/// `_FILE` appended.
pub(super) fn set_variables(
    command: &mut Command,
    variables: impl Iterator<Item = (String, String)>,
    run_as: Option<&RunAs>,
) -> io::Result<Option<TempDir>> {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with(PREFIX) || name == CREDENTIALS_VARIABLE {
            command.env_remove(name);
        }
    }
    let mut files = None;
    for (name, value) in variables {
        if value.len() > MAX_VALUE_BYTES {
            let folder = match &files {
                Some(folder) => folder,
                None => files.insert(private_folder()?),
            };
            let path = folder.path().join(&name);
            fs::write(&path, value)?;
            if let Some(user) = run_as {
                user.give(&path)?;
            }
            command.env(format!("{name}_FILE"), path);
        } else {
            command.env(name, value.replace('\0', "\u{fffd}"));
        }
    }
    // The folder is given last: in a folder of its own, the user could put links in the files' place.
    if let (Some(user), Some(folder)) = (run_as, &files) {
        user.give(folder.path())?;
    }
    Ok(files)
}

/// Makes a folder that no other user can read.
fn private_folder() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("bematic-task-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

/// Returns the fields of a task that works in `folder`, by the name of their variable.
pub(super) fn task_variables(
    submit: &TaskSubmit,
    folder: &Path,
    line_prefix: &str,
) -> impl Iterator<Item = (String, String)> {
    let slack = &submit.slack_context;
    let attempt = submit.attempt.map(|n| n.to_string());
    let thread = slack.thread_ts.as_ref().map(ToString::to_string);
    let continuations = submit.max_continuations.map(|n| n.to_string());
    let parent = submit.parent_task_id.map(|id| id.to_string());
    let attachments = submit.attachments.as_ref().map(|it| json!(it).to_string());
    let fields = [
        ("TASK_ID", Some(submit.task_id.to_string())),
        ("PROJECT_ID", Some(submit.project_id.clone())),
        ("BOT_NAME", Some(submit.bot_name.clone())),
        ("COMMAND", Some(submit.command.clone())),
        ("MODEL", Some(submit.model.clone())),
        ("MAX_BUDGET", Some(submit.max_budget.to_string())),
        ("ALLOWED_TOOLS", Some(submit.allowed_tools.join(","))),
        ("SYSTEM_PROMPT", Some(submit.system_prompt.clone())),
        ("LOCAL_PATH", Some(folder.to_string_lossy().into_owned())),
        ("SLACK_CHANNEL", Some(slack.channel_id.to_string())),
        ("SLACK_USER", Some(slack.user_id.to_string())),
        ("LINE_PREFIX", Some(line_prefix.to_owned())),
        ("ATTEMPT", attempt),
        ("SLACK_THREAD", thread),
        ("RESUME_SESSION_ID", submit.resume_session_id.clone()),
        ("MAX_CONTINUATIONS", continuations),
        ("PARENT_TASK_ID", parent),
        ("ATTACHMENTS", attachments),
    ];
    let fields = fields.into_iter();
    fields.filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::submit;

    /// A command with the variables of a task, and the folder of its files.
    fn command(submit: &TaskSubmit) -> (Command, Option<TempDir>) {
        let mut command = Command::new("true");
        let variables = task_variables(submit, Path::new("/work"), "p");
        let files = set_variables(&mut command, variables, None).unwrap();
        (command, files)
    }

    fn get<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
        let mut variables = command.as_std().get_envs();
        let (_, value) = variables.find(|(key, _)| *key == name)?;
        value?.to_str()
    }

    #[test]
    fn every_field_has_its_variable_and_an_absent_one_has_none() {
        let (command, _) = command(&submit("hi"));
        assert_eq!(get(&command, "BEMATIC_ATTEMPT"), Some("1"));
        assert_eq!(get(&command, "BEMATIC_LOCAL_PATH"), Some("/work"));
        assert_eq!(get(&command, "BEMATIC_LINE_PREFIX"), Some("p"));
        assert_eq!(get(&command, "BEMATIC_ALLOWED_TOOLS"), Some("Read,Edit"));
        assert_eq!(get(&command, "BEMATIC_MAX_BUDGET"), Some("2.5"));
        assert_eq!(get(&command, "BEMATIC_RESUME_SESSION_ID"), None);
    }

    #[test]
    fn a_value_too_large_for_a_variable_is_a_file() {
        let mut task = submit("hi");
        task.system_prompt = "ö".repeat(100_000);
        let (command, files) = command(&task);
        let file = get(&command, "BEMATIC_SYSTEM_PROMPT_FILE").unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), task.system_prompt);
        let folder = Path::new(file).parent().unwrap();
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(files);
        assert!(!Path::new(file).exists());
    }

    #[test]
    fn no_value_holds_a_nul() {
        let mut task = submit("hi");
        task.system_prompt = "a\0b".to_owned();
        let (command, _) = command(&task);
        assert_eq!(get(&command, "BEMATIC_SYSTEM_PROMPT"), Some("a\u{fffd}b"));
    }
}
