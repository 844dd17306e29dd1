//! What a task's state calls for when time passes: a deadline, a lease's end, the word to stop.

use bematic_protocol::{
    ids::{AgentId, TaskId},
    messages::{CloudMessage, TaskCancel},
    time::Timestamp,
};
use tracing::{info, warn};

use super::{
    super::{sweep::ping, transitions::Outcome},
    Dispatcher, EARLY,
};
use crate::{
    error::{BematicError, chain},
    ports::Delivery,
    task::{Task, TaskEvent, TaskState, Unchanged},
};

impl Dispatcher {
    /// One call, and what is called for: a timer that ended, an agent to be told to stop, a task
    /// that waits where another agent would be better, a change that was never announced. After the
    /// time to acknowledge it `is_first`: a lease that began meanwhile is looked after from now on.
    pub(super) async fn look_at(&self, id: TaskId, is_first: bool) -> Result<(), BematicError> {
        let Some(task) = self.ports.tasks.find(id).await? else {
            warn!(task = %id, "there is no such task to look at");
            return Ok(());
        };
        let now = self.ports.clock.now();
        match task.timer {
            Some(timer) if timer <= now => return self.timer_ended(task, now).await,
            Some(_) if task.state.cancel_request().is_some() => {
                self.ask_to_stop(&task).await?;
                self.transitions.wait_for_timer(&task, now).await?;
            }
            // Who changes a task sends a message for its timer, but for a first lease: else only one that
            // came early is sent again.
            Some(timer) if timer.since(now) <= EARLY || is_first && task.has_first_lease() => {
                self.transitions.wait_for_timer(&task, now).await?;
            }
            _ => {}
        }
        if task.reroute_at().is_some_and(|at| at <= now) && self.router.move_one(&task, now).await?
        {
            return Ok(());
        }
        self.transitions.announce_again(&task, now).await
    }

    async fn timer_ended(&self, task: Task, now: Timestamp) -> Result<(), BematicError> {
        let heard_at = self.heard_at(&task, now).await?;
        let sent_at = match task.state {
            TaskState::Dispatched { dispatched_at, .. } => Some(dispatched_at),
            _ => None,
        };
        let event = TaskEvent::Tick { heard_at };
        match (
            self.transitions.apply_to(task, &event, None, now).await?,
            sent_at,
        ) {
            (Outcome::Changed(task), Some(sent_at)) if task.slot().is_none() => {
                self.doubt(&task.agent_id, sent_at, now).await
            }
            // Acknowledged at the last moment.
            (Outcome::Unchanged(task, Unchanged::NotDue), _) if task.has_first_lease() => {
                Ok(self.transitions.wait_for_timer(&task, now).await?)
            }
            _ => Ok(()),
        }
    }

    /// An agent that does not acknowledge a task may not hear us: it gets no more work until it
    /// has echoed a ping. Unless it is on another connection by now.
    async fn doubt(
        &self,
        id: &AgentId,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        let agent = self.ports.agents.find(id).await?;
        let connection = agent.and_then(|agent| agent.connection);
        let Some(connection) = connection.filter(|it| it.bound_at <= sent_at) else {
            return Ok(());
        };
        info!(agent = %id, connection = %connection.id, "does the agent hear us?");
        self.ports.presence.doubted(id, &connection.id, now).await?;
        ping(&*self.ports.gateway, &connection, now).await
    }

    /// The last sign of life of an attempt at the agent: three calls, once a lease.
    async fn heard_at(
        &self,
        task: &Task,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, BematicError> {
        let Some(attempt) = task.state.held() else {
            return Ok(None);
        };
        let (report, agent) = futures::try_join!(
            self.ports.reports.last_report(task.id, attempt),
            self.ports.agents.find(&task.agent_id),
        )?;
        let named = agent.and_then(|agent| match task.state {
            TaskState::Processing { started_at, .. } => agent.named_at(task.id, started_at, now),
            // What it said before it was sent this attempt is of an earlier one.
            _ => agent.said_at(task.id),
        });
        Ok(report.max(named))
    }

    /// Best effort: after the deadline it is cancelled anyway.
    async fn ask_to_stop(&self, task: &Task) -> Result<(), BematicError> {
        let Some(request) = task.state.cancel_request() else {
            return Ok(());
        };
        let agent = self.ports.agents.find(&task.agent_id).await?;
        let Some(binding) = agent.and_then(|agent| agent.connection) else {
            info!(task = %task.id, agent = %task.agent_id, "nobody is there to be told to stop");
            return Ok(());
        };
        let spelling = binding.spelling.unwrap_or_default();
        let message = CloudMessage::TaskCancel(TaskCancel {
            task_id: task.id,
            reason: format!("cancelled by {}", request.by),
        });
        match self
            .ports
            .gateway
            .send(&binding.id, spelling, message)
            .await
        {
            Ok(Delivery::Sent) => info!(task = %task.id, "the agent was told to stop"),
            Ok(Delivery::Gone) => self.give_up(&task.agent_id, &binding.id).await?,
            Err(error) => {
                warn!(task = %task.id, code = error.code(), error = chain(&error), "the agent was not told to stop");
            }
        }
        Ok(())
    }
}
