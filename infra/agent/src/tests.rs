//! Tasks for tests.

use bematic_protocol::{
    ids::{Attempt, TaskId},
    messages::{SlackContext, TaskSubmit},
};

/// A task that works in `.`, the first allowed folder.
pub(crate) fn submit(prompt: &str) -> TaskSubmit {
    numbered(1, prompt)
}

/// A task with an id of its own.
pub(crate) fn numbered(number: u128, prompt: &str) -> TaskSubmit {
    TaskSubmit {
        task_id: TaskId::new(uuid::Uuid::from_u128(number)),
        attempt: Some(Attempt::FIRST),
        project_id: "project".to_owned(),
        bot_name: "bot".to_owned(),
        command: "run".to_owned(),
        prompt: prompt.to_owned(),
        system_prompt: String::new(),
        local_path: ".".to_owned(),
        model: "model".to_owned(),
        max_budget: 2.5,
        allowed_tools: vec!["Read".to_owned(), "Edit".to_owned()],
        resume_session_id: None,
        max_continuations: None,
        parent_task_id: None,
        attachments: None,
        slack_context: SlackContext {
            channel_id: "C1".parse().unwrap(),
            thread_ts: None,
            user_id: "U1".parse().unwrap(),
        },
    }
}
