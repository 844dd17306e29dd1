//! The command `/bm run`.

use bematic_protocol::{
    ids::{AgentId, MessageId},
    messages::{CloudMessage, Envelope, ProtocolError, TypeSpelling, limits::MAX_MESSAGE_BYTES},
    time::Timestamp,
};
use tracing::info;

use super::{
    super::{dispatch::task_submit_message, routing::AgentPool},
    CommandExecutor,
};
use crate::{
    agent::Route,
    error::Result,
    ports::TaskCreation,
    slack::text,
    task::{Origin, Priority, Task, TaskEvent, TaskPolicy, TaskSpec},
};

impl CommandExecutor {
    /// Stores a task, and enqueues its dispatch and the refresh of its card: a read, a transaction,
    /// a message; more reads where there is a choice of agents. A repeated request only sends the
    /// message again. Returns the confirmation, or the reason why no task was created.
    pub(super) async fn create_task(
        &self,
        agent: Option<AgentId>,
        priority: Priority,
        prompt: String,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<Result<String, String>> {
        let Some(project) = self.ports.projects.find(&origin.channel_id).await? else {
            return Ok(Err(text::no_project(&origin.channel_id)));
        };
        let route = agent.map_or_else(|| project.route.clone(), Route::One);
        let Some(chosen) = self.choose_agent(&route, now).await? else {
            return Ok(Err(text::no_route_agent_exists(&route)));
        };
        let spec = project.spec(prompt);
        let id = self.ports.ids.task();
        let policy = &self.ports.settings.policy;
        let mut task = Task::new(id, chosen, &spec, origin, policy, now);
        task.priority = priority;
        task.route = Some(route).filter(Route::has_choice);
        if let Err(bytes) = check_message_size(&task, &spec, self.ports.ids.message(), now) {
            return Ok(Err(text::prompt_too_large(bytes, MAX_MESSAGE_BYTES)));
        }
        let task = match self.ports.tasks.create(&task, &spec, request).await? {
            TaskCreation::Done => {
                info!(task = %task.id, agent = %task.agent_id, "task created");
                task
            }
            TaskCreation::Repeated(first) => {
                info!(task = %first, "request repeated");
                self.ports.tasks.find(first).await?.unwrap_or(task)
            }
            TaskCreation::NoAgent => {
                return Ok(Err(self.unknown_agent_text(&task.agent_id).await?));
            }
        };
        self.transitions.enqueue_follow_ups(&task, now).await?;
        Ok(Ok(text::run_accepted(&task)))
    }

    /// Chooses the agent for a new task. Makes no call where the route leaves no choice: whether
    /// the agent exists is checked when the task is stored.
    async fn choose_agent(&self, route: &Route, now: Timestamp) -> Result<Option<AgentId>> {
        if let Route::One(agent) = route {
            return Ok(Some(agent.clone()));
        }
        AgentPool::read(&self.ports, [route], None, now)
            .await?
            .choose(route)
            .await
    }
}

/// Checks that the task fits in one message to its agent; returns its size in bytes if it does not.
fn check_message_size(
    task: &Task,
    spec: &TaskSpec,
    id: MessageId,
    now: Timestamp,
) -> Result<(), usize> {
    let claimed = task.after(TaskEvent::Claimed, &TaskPolicy::default(), now);
    let claimed = claimed.as_ref().unwrap_or(task);
    let message = CloudMessage::TaskSubmit(Box::new(task_submit_message(claimed, spec.clone())));
    let timestamp = now;
    let envelope = Envelope {
        id,
        timestamp,
        message,
    };
    match envelope.encode(TypeSpelling::Colons) {
        Err(ProtocolError::TooLarge(_, bytes)) => Err(bytes),
        Err(_) => Err(spec.prompt.len()),
        Ok(_) => Ok(()),
    }
}
