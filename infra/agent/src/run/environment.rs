//! A task's fields as environment variables.

use std::{fs, io, path::Path};

use bematic_protocol::messages::TaskSubmit;
use serde_json::json;
use tempfile::TempDir;

/// The beginning of the variables' names. Such variables of the agent's own environment, its API
/// key first of all, are not passed on.
pub(super) const PREFIX: &str = "BEMATIC_";

/// Bytes of a value that are certain to fit: Linux takes 128 KB for name and value together
/// (`MAX_ARG_STRLEN`).
const MAX_VALUE: usize = 120 * 1024;

/// A run's variables, and the folder of those values that are too large for one.
pub(super) struct Environment {
    /// Names and values.
    pub(super) variables: Vec<(String, String)>,
    /// Deleted with its content when the run is over.
    _files: Option<TempDir>,
}

impl Environment {
    /// The variables of a task that works in `folder`. A value that is too large is written to a
    /// file, and named by the variable with `_FILE` appended.
    ///
    /// # Errors
    /// If that file cannot be written.
    pub(super) fn of(submit: &TaskSubmit, folder: &Path) -> io::Result<Self> {
        let mut files = None;
        let mut variables = fields(submit, folder);
        for (name, value) in &mut variables {
            if value.len() > MAX_VALUE {
                let folder = match &files {
                    Some(folder) => folder,
                    None => files.insert(TempDir::with_prefix("bematic-task-")?),
                };
                let path = folder.path().join(name.as_str());
                fs::write(&path, value.as_str())?;
                name.push_str("_FILE");
                *value = path.to_string_lossy().into_owned();
            } else if value.contains('\0') {
                *value = value.replace('\0', "\u{fffd}");
            }
        }
        Ok(Self {
            variables,
            _files: files,
        })
    }
}

/// The fields that a task has, by the name of their variable.
fn fields(submit: &TaskSubmit, folder: &Path) -> Vec<(String, String)> {
    let slack = &submit.slack_context;
    let thread = slack.thread_ts.as_ref();
    let attachments = submit.attachments.as_ref();
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
        ("ATTEMPT", submit.attempt.map(|n| n.to_string())),
        ("SLACK_THREAD", thread.map(ToString::to_string)),
        ("RESUME_SESSION_ID", submit.resume_session_id.clone()),
        (
            "MAX_CONTINUATIONS",
            submit.max_continuations.map(|n| n.to_string()),
        ),
        (
            "PARENT_TASK_ID",
            submit.parent_task_id.map(|id| id.to_string()),
        ),
        (
            "ATTACHMENTS",
            attachments.map(|list| json!(list).to_string()),
        ),
    ];
    let present = fields
        .into_iter()
        .filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?)));
    present.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::submit;

    fn get<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        let mut variables = environment.variables.iter();
        variables.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    #[test]
    fn every_field_has_its_variable_and_an_absent_one_has_none() {
        let environment = Environment::of(&submit("hi"), Path::new("/work")).unwrap();
        assert_eq!(get(&environment, "BEMATIC_ATTEMPT"), Some("1"));
        assert_eq!(get(&environment, "BEMATIC_LOCAL_PATH"), Some("/work"));
        assert_eq!(
            get(&environment, "BEMATIC_ALLOWED_TOOLS"),
            Some("Read,Edit")
        );
        assert_eq!(get(&environment, "BEMATIC_MAX_BUDGET"), Some("2.5"));
        assert_eq!(get(&environment, "BEMATIC_RESUME_SESSION_ID"), None);
    }

    #[test]
    fn a_value_too_large_for_a_variable_is_a_file() {
        let mut task = submit("hi");
        task.system_prompt = "ö".repeat(100_000);
        let environment = Environment::of(&task, Path::new("/work")).unwrap();
        let file = get(&environment, "BEMATIC_SYSTEM_PROMPT_FILE").unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), task.system_prompt);
        let file = file.to_owned();
        drop(environment);
        assert!(!Path::new(&file).exists());
    }

    #[test]
    fn no_value_holds_a_nul() {
        let mut task = submit("hi");
        task.system_prompt = "a\0b".to_owned();
        let environment = Environment::of(&task, Path::new("/work")).unwrap();
        assert_eq!(
            get(&environment, "BEMATIC_SYSTEM_PROMPT"),
            Some("a\u{fffd}b")
        );
    }
}
