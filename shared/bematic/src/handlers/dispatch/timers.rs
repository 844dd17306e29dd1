//! The timers of a task: deadlines, the end of a lease, and the request to cancel.

use bematic_protocol::{
    ids::{AgentId, TaskId},
    messages::{CloudMessage, TaskCancel},
    time::Timestamp,
};
use tracing::{info, warn};

use super::{super::transitions::TransitionOutcome, Dispatcher, EARLY};
use crate::{
    agent::Agent,
    error::{BematicError, Result, chain},
    ports::SendOutcome,
    task::{Task, TaskEvent, TaskState, Unchanged},
};

impl Dispatcher {
    /// Checks a task: one call, and the steps that are due. They are a timer that ended, a request
    /// to cancel that the agent has to be sent, a move to a better agent, and messages for a change
    /// that were never sent. With `is_ack_deadline`, also a timer for a lease that began meanwhile.
    /// `renewals` is how many timers of renewed leases have led to this check.
    pub(super) async fn check_task(
        &self,
        id: TaskId,
        is_ack_deadline: bool,
        renewals: u8,
    ) -> Result<()> {
        let Some(task) = self.ports.tasks.find(id).await? else {
            warn!(task = %id, "there is no such task");
            return Ok(());
        };
        let now = self.ports.clock.now();
        match task.timer {
            Some(timer) if timer <= now => {
                return self.handle_ended_timer(task, renewals, now).await;
            }
            Some(_) if task.state.cancel_request().is_some() => {
                self.send_task_cancel(&task).await?;
                self.transitions.enqueue_timer(&task, now).await?;
            }
            // Each change of a task sends a message for its timer, except for a first lease:
            // otherwise only a message that came early is sent again.
            Some(timer)
                if timer.since(now) <= EARLY || is_ack_deadline && task.has_first_lease() =>
            {
                self.transitions.enqueue_timer(&task, now).await?;
            }
            _ => {}
        }
        if task.first_move_check_at().is_some_and(|at| at <= now)
            && self.try_move_task(&task, now).await?
        {
            return Ok(());
        }
        self.transitions.resend_lost_messages(&task, now).await
    }

    /// Applies the end of a task's timer to the task. Pings the agent if it has not acknowledged
    /// the task.
    async fn handle_ended_timer(&self, task: Task, renewals: u8, now: Timestamp) -> Result<()> {
        let heard_at = self.last_sign_of_life(&task, now).await?;
        let sent_at = match task.state {
            TaskState::Dispatched { dispatched_at, .. } => Some(dispatched_at),
            _ => None,
        };
        let event = TaskEvent::Tick { heard_at };
        match (
            self.transitions
                .apply_to_loaded_task(task, &event, now)
                .await?,
            sent_at,
        ) {
            (TransitionOutcome::Changed(task), Some(sent_at)) if task.slot().is_none() => {
                self.doubt_and_ping_agent(&task.agent_id, sent_at, now)
                    .await
            }
            (TransitionOutcome::Changed(task), _)
                if matches!(task.state, TaskState::Processing { .. }) =>
            {
                self.transitions
                    .enqueue_renewed_timer(&task, renewals, now)
                    .await
            }
            // The task was acknowledged at the last moment.
            (TransitionOutcome::Unchanged(task, Unchanged::NotDue), _)
                if task.has_first_lease() =>
            {
                self.transitions.enqueue_timer(&task, now).await
            }
            _ => Ok(()),
        }
    }

    /// Pings an agent that did not acknowledge a task, since it may not receive messages: no more
    /// tasks are dispatched to it until it has echoed the ping. Does nothing if the agent is on
    /// another connection by now.
    async fn doubt_and_ping_agent(
        &self,
        id: &AgentId,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let agent = self.ports.agents.find(id).await?;
        let connection = agent.and_then(|agent| agent.connection);
        let Some(connection) = connection.filter(|it| it.bound_at <= sent_at) else {
            return Ok(());
        };
        info!(agent = %id, connection = %connection.id, "agent does not acknowledge: pinged");
        self.ports
            .presence
            .record_doubt(id, &connection.id, now)
            .await?;
        Ok(self.ports.ping_agent(&connection, now).await?)
    }

    /// Returns the last sign of life of an attempt that the agent holds: three calls, once for each
    /// lease.
    async fn last_sign_of_life(&self, task: &Task, now: Timestamp) -> Result<Option<Timestamp>> {
        let Some(attempt) = task.state.held_attempt() else {
            return Ok(None);
        };
        let (report, agent) = futures::try_join!(
            self.ports.reports.last_report_at(task.id, attempt),
            self.ports.agents.find(&task.agent_id),
        )?;
        // A revoked agent whose connection could not be closed does not keep its tasks by it.
        let cut_off_at = agent.as_ref().and_then(Agent::cut_off_at);
        let report = report.map(|at| cut_off_at.map_or(at, |cut_off_at| at.min(cut_off_at)));
        let named = agent.and_then(|agent| match task.state {
            TaskState::Processing { started_at, .. } => {
                agent.task_presumed_listed_at(task.id, started_at, now)
            }
            // A list of tasks that was recorded before this attempt was sent is about an earlier
            // attempt.
            _ => agent.task_last_listed_at(task.id),
        });
        Ok(report.max(named))
    }

    /// Sends TASK_CANCEL to the agent, as best effort: after the deadline the task is cancelled
    /// anyway.
    async fn send_task_cancel(&self, task: &Task) -> Result<()> {
        let Some(request) = task.state.cancel_request() else {
            return Ok(());
        };
        let agent = self.ports.agents.find(&task.agent_id).await?;
        let Some(binding) = agent.and_then(|agent| agent.connection) else {
            info!(task = %task.id, agent = %task.agent_id, "agent offline: not asked to stop the task");
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
            Ok(SendOutcome::Sent) => info!(task = %task.id, "agent asked to stop the task"),
            Ok(SendOutcome::Gone) => {
                self.mark_offline_and_close(&task.agent_id, &binding.id)
                    .await?;
            }
            Err(error) => {
                let error = BematicError::from(error);
                let code = error.code();
                warn!(task = %task.id, code, error = %chain(&error), "agent not asked to stop the task");
            }
        }
        Ok(())
    }
}
