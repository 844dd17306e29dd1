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
    operator::CommandOutcome,
};
use crate::{
    agent::{Project, Route},
    command::RunArguments,
    error::Result,
    ports::TaskCreation,
    slack::{CommandReply, text},
    task::{Origin, Task, TaskEvent, TaskPolicy, TaskSpec},
};

impl CommandExecutor {
    /// Stores a task, and enqueues its dispatch and the refresh of its card: a count of the queue, a
    /// transaction and a message; reads where there is a choice of agents. A repeated request only
    /// sends the message again.
    pub(super) async fn create_task(
        &self,
        arguments: RunArguments,
        project: Option<Project>,
        hourly_limit: Option<u32>,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<CommandOutcome> {
        let RunArguments {
            agent,
            priority,
            prompt,
        } = arguments;
        let refused = |code, text| Ok(CommandOutcome::refused(code, text));
        let Some(project) = project else {
            return refused("NO_PROJECT", text::no_project(&origin.channel_id));
        };
        let route = match agent {
            Some(agent) if !project.route.allows(&agent) => {
                if self.ports.agents.find(&agent).await?.is_none() {
                    return refused("NO_AGENT", self.unknown_agent_text(&agent).await?);
                }
                let text = text::agent_not_of_project(&agent, &project.route, &origin.channel_id);
                return refused("AGENT_NOT_OF_PROJECT", text);
            }
            Some(agent) => Route::One(agent),
            None => project.route.clone(),
        };
        let Some(chosen) = self.choose_agent(&route, now).await? else {
            return refused("NO_AGENT", text::no_route_agent_exists(&route));
        };
        if self.is_queue_full(&chosen, request).await? {
            let limit = self.ports.settings.limits.tasks_in_queue;
            let text = text::queue_full(&chosen, limit);
            return refused("AGENT_QUEUE_FULL", text);
        }
        let spec = project.spec(prompt);
        let id = self.ports.ids.task();
        let policy = &self.ports.settings.policy;
        let mut task = Task::new(id, chosen, &spec, origin, policy, now);
        task.priority = priority;
        task.route = Some(route).filter(Route::has_choice);
        if let Err(bytes) = check_message_size(&task, &spec, self.ports.ids.message(), now) {
            let text = text::prompt_too_large(bytes, MAX_MESSAGE_BYTES);
            return refused("PROMPT_TOO_LARGE", text);
        }
        let created = self.ports.tasks.create(&task, &spec, request, hourly_limit);
        let task = match created.await? {
            TaskCreation::Done => {
                info!(task = %task.id, agent = %task.agent_id, "task created");
                task
            }
            TaskCreation::Repeated(first) => {
                info!(task = %first, "request repeated");
                self.ports.tasks.find(first).await?.unwrap_or(task)
            }
            TaskCreation::NoAgent => {
                let text = self.unknown_agent_text(&task.agent_id).await?;
                return refused("NO_AGENT", text);
            }
            TaskCreation::HourlyLimitReached => {
                let limit = self.ports.settings.limits.tasks_per_user_and_hour;
                let text = text::hourly_limit_reached(limit, now);
                return refused("HOURLY_LIMIT", text);
            }
        };
        self.transitions.enqueue_follow_ups(&task, now).await?;
        let reply = CommandReply::ephemeral(text::run_accepted(&task));
        Ok(CommandOutcome::TaskCreated(task.id, reply))
    }

    /// Whether so many tasks wait for the agent that none may be added: one call. The task that the
    /// request has created before is not one more. Requests at the same time may add a few more.
    async fn is_queue_full(&self, agent: &AgentId, request: &str) -> Result<bool> {
        let limit = self.ports.settings.limits.tasks_in_queue;
        let waiting = self.ports.lists.count_in_queue(agent, limit).await?;
        Ok(waiting >= limit && self.ports.tasks.created_by(request).await?.is_none())
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
