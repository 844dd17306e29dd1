//! `/bm run`

use tracing::info;

use super::{
    super::{
        dispatch::submission,
        routing::{self, Pool},
    },
    Operator,
};
use crate::{
    agent::{Agent, Route},
    error::BematicError,
    ids::{AgentId, MessageId},
    ports::Created,
    protocol::{CloudMessage, Envelope, ProtocolError, Spelling, limits::MESSAGE_BYTES},
    slack::text,
    task::{Origin, Priority, Task, TaskEvent, TaskPolicy, TaskSpec},
    time::Timestamp,
};

impl Operator {
    /// Stores a task, and has it dispatched and shown: two reads, a transaction, a message; more
    /// reads where there is a choice of agents. A repeated request only sends the messages again.
    /// Says what came of it, or why nothing did.
    pub(super) async fn run(
        &self,
        agent: Option<AgentId>,
        priority: Priority,
        prompt: String,
        origin: Origin,
        request: &str,
        now: Timestamp,
    ) -> Result<Result<String, String>, BematicError> {
        let Some(project) = self.parts.projects.find(&origin.channel_id).await? else {
            return Ok(Err(text::no_project(&origin.channel_id)));
        };
        let chosen = match agent {
            Some(named) => self.choose(&Route::One(named), now).await?,
            None => self.choose(&project.route, now).await?,
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let spec = project.spec(prompt);
        let id = self.parts.ids.task();
        let policy = &self.parts.policy;
        let mut task = Task::new(id, chosen.id, &spec, origin, policy, now);
        task.priority = priority;
        task.route = chosen.route;
        if let Err(bytes) = fits(&task, &spec, self.parts.ids.message(), now) {
            return Ok(Err(text::prompt_too_large(bytes, MESSAGE_BYTES)));
        }
        let task = self.store(task, &spec, request).await?;
        self.transitions.tell(&task, now).await?;
        let mut agents = chosen.agents.iter();
        let online = agents.any(|agent| agent.id == task.agent_id && is_online(agent));
        Ok(Ok(text::run_accepted(&task, online)))
    }

    /// The agent for a new task, or why there is none. One read where there is no choice.
    async fn choose(
        &self,
        route: &Route,
        now: Timestamp,
    ) -> Result<Result<Chosen, String>, BematicError> {
        let (agents, tasks) = (&*self.parts.agents, &*self.parts.tasks);
        let known = routing::allowed(agents, route).await?;
        let mut pool = Pool::new(&known, now);
        if let Some(id) = pool.choose(tasks, route).await? {
            return Ok(Ok(Chosen {
                id,
                agents: known,
                route: route.has_choice().then(|| route.clone()),
            }));
        }
        let Route::One(wanted) = route else {
            return Ok(Err(text::no_agent(route)));
        };
        let others = agents.list().await?.into_iter();
        let others: Vec<_> = others.map(|agent| agent.id).collect();
        Ok(Err(text::unknown_agent(wanted, &others)))
    }

    /// The stored task: this one, or the one that the same request made before.
    async fn store(
        &self,
        task: Task,
        spec: &TaskSpec,
        request: &str,
    ) -> Result<Task, BematicError> {
        match self.parts.tasks.create(&task, spec, request).await? {
            Created::New => {
                info!(task = %task.id, agent = %task.agent_id, "task created");
                Ok(task)
            }
            Created::Existing(first) => {
                info!(task = %first, "the request was repeated");
                Ok(self.parts.tasks.find(first).await?.unwrap_or(task))
            }
        }
    }
}

/// The agent that gets a task.
struct Chosen {
    id: AgentId,
    /// All that it was chosen from.
    agents: Vec<Agent>,
    /// Where else the task may go, if anywhere.
    route: Option<Route>,
}

const fn is_online(agent: &Agent) -> bool {
    agent.connection.is_some()
}

/// Whether the task could be sent to its agent in one message; if not, how many bytes it has.
fn fits(task: &Task, spec: &TaskSpec, id: MessageId, now: Timestamp) -> Result<(), usize> {
    let claimed = task.after(TaskEvent::Claimed, &TaskPolicy::default(), now);
    let claimed = claimed.as_ref().unwrap_or(task);
    let message = CloudMessage::TaskSubmit(Box::new(submission(claimed, spec.clone())));
    match (Envelope {
        id,
        timestamp: now,
        message,
    })
    .encode(Spelling::Colons)
    {
        Err(ProtocolError::TooLarge { bytes, .. }) => Err(bytes),
        Err(_) => Err(spec.prompt.len()),
        Ok(_) => Ok(()),
    }
}
