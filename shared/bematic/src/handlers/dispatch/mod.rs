//! `dispatcher`: dispatches agents' queues, handles timers, and closes connections that did not
//! authenticate or could not be closed before.

mod claims;
mod moving;
mod timers;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ConnectionId},
    messages::{CloudMessage, SlackContext, TaskSubmit, TypeSpelling},
};
use futures::future::{join, join_all};
use tracing::{info, warn};

use super::{connect::auth_response_message, transitions::Transitions};
use crate::{
    agent::{Agent, DispatchLease},
    breaker::BreakerEvent,
    error::{AuthError, BematicError, Result, chain},
    ports::{
        AUTH_DEADLINE, BreakerChange, DispatchMessage, LeaseAcquisition, LeaseRelease, Ports,
        SendOutcome,
    },
    task::{Task, TaskEvent, TaskSpec},
};

/// The time after which another dispatcher may take over the lease: twice the function's timeout.
const DISPATCH_LEASE_DURATION: Duration = Duration::from_secs(30);
/// The time for which one dispatcher goes on while further dispatches are requested: well within
/// the function's timeout of 15 s.
const DISPATCH_TIME_BUDGET: Duration = Duration::from_secs(8);
/// The time by which a message can arrive early: clocks differ.
const EARLY: Duration = Duration::from_secs(5);

/// Sends tasks to agents.
pub struct Dispatcher {
    ports: Arc<Ports>,
    transitions: Transitions,
}

impl Dispatcher {
    /// Creates a dispatcher with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Handles one message of the dispatcher's queue. After an error the message has to be handled
    /// again.
    pub async fn handle(&self, message: DispatchMessage) -> Result<()> {
        match message {
            DispatchMessage::AgentQueue { agent_id, refresh } => {
                // The refresh is always enqueued: that one is under way is believed of a changed task
                // because of this message. Twice in a flush interval is the same as once.
                let now = self.ports.clock.now();
                let refresh = self
                    .ports
                    .notifications
                    .enqueue_refreshes(refresh.as_slice(), now);
                let (refreshed, dispatched) = join(refresh, self.dispatch_queue(&agent_id)).await;
                refreshed?;
                dispatched
            }
            DispatchMessage::Task {
                task_id, renewals, ..
            } => self.check_task(task_id, false, renewals).await,
            DispatchMessage::AckDeadline { task_id, .. } => self.check_task(task_id, true, 0).await,
            DispatchMessage::CloseConnection {
                connection_id,
                agent_id,
            } => {
                self.ports.gateway.close(&connection_id).await?;
                info!(connection = %connection_id, agent = %agent_id, "connection closed");
                Ok(())
            }
            DispatchMessage::Unknown => Err(BematicError::UnknownMessageKind),
            DispatchMessage::AuthDeadline { connection_id } => {
                self.end_unauthenticated(&connection_id).await
            }
        }
    }

    /// Dispatches an agent's queue under the agent's lease, so that tasks arrive in order: a second
    /// dispatcher only requests another dispatch from the first. Three calls and, for each task,
    /// three more and its messages.
    async fn dispatch_queue(&self, agent_id: &AgentId) -> Result<()> {
        let (ports, leases) = (&self.ports, &self.ports.dispatch_leases);
        let now = ports.clock.now();
        let lease = DispatchLease {
            holder: ports.ids.message().to_string(),
            until: now + DISPATCH_LEASE_DURATION,
        };
        let mut agent = match leases.acquire(agent_id, &lease, now).await? {
            LeaseAcquisition::Acquired(agent) => agent,
            LeaseAcquisition::Requested => return Ok(()),
            LeaseAcquisition::NoAgent => {
                warn!(agent = %agent_id, "there is no such agent");
                return Ok(());
            }
        };
        loop {
            let is_late = ports.clock.now().since(now) > DISPATCH_TIME_BUDGET;
            let dispatched = if is_late {
                ports.request_dispatch(agent_id).await.map_err(Into::into)
            } else {
                self.dispatch_pending(&mut agent).await
            };
            // The lease is released after a failure too: the repeated message need not wait for the
            // lease to end.
            let released = leases
                .release(agent_id, &lease, agent.dispatch_requests)
                .await;
            dispatched?;
            match released? {
                LeaseRelease::Done => return Ok(()),
                LeaseRelease::RequestedAgain(again) => agent = again,
            }
        }
    }

    async fn dispatch_pending(&self, agent: &mut Agent) -> Result<()> {
        let now = self.ports.clock.now();
        // An operator's order about the agent's breaker that has expired is written down, so that
        // every reader sees it.
        if agent.gate.override_has_expired(now)
            && let Some((before, after)) = self
                .transitions
                .change_breaker(&agent.id, &BreakerEvent::Tick, now)
                .await?
        {
            let change = BreakerChange {
                before: &before,
                after: &after,
            };
            self.transitions
                .schedule_dispatch_after_shut(&agent.id, change, now)
                .await?;
            agent.gate = after.gate();
        }
        let agent = &*agent;
        // Tasks do not wait for a notice: if it is not enqueued, the sweeper makes up for it.
        let generation = agent.gate.generation;
        if generation > agent.announced
            && let Err(error) = self
                .ports
                .notifications
                .enqueue_breaker_notice(&agent.id, generation)
                .await
        {
            let error = BematicError::from(error);
            let code = error.code();
            warn!(agent = %agent.id, code, error = %chain(&error), "notice for the operations channel not enqueued");
        }
        let shut = agent.gate.shut_until(now);
        let Some(binding) = agent.connection_for_dispatch().filter(|_| shut.is_none()) else {
            // The message for the end of the wait may arrive a moment early: clocks differ.
            if let Some(wait) = shut.map(|until| until.since(now)).filter(|it| *it <= EARLY) {
                self.ports.request_dispatch_after(&agent.id, wait).await?;
            }
            return self.move_waiting(agent, now).await.map(drop);
        };
        // The connection may not be open before its first message, which has the queue dispatched.
        let Some(spelling) = binding.spelling else {
            return Ok(());
        };
        let connection = &binding.id;
        let limit = agent
            .free_slots()
            .min(self.ports.settings.policy.dispatch_limit);
        let queued = self.ports.lists.queued(&agent.id, now, limit).await?;
        let claimed = self.claim_all(agent, connection, &queued).await;
        let specs = join_all(claimed.tasks.iter().map(|task| self.spec(task))).await;
        // Tasks are sent one after another, so that they arrive in order; their deliveries are
        // recorded in parallel. A failure for one task does not leave out the others.
        let mut sent = Vec::new();
        for (task, spec) in claimed.tasks.iter().zip(specs) {
            sent.push((task, self.send_task(task, spec, connection, spelling).await));
        }
        let recorded = sent
            .into_iter()
            .map(|(task, outcome)| self.handle_send_outcome(task, connection, outcome));
        join_all(recorded)
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        claimed.failure.map_or(Ok(()), Err)?;
        if claimed.is_denied {
            self.move_waiting(agent, now).await?;
        } else if queued.len() == limit && agent.free_slots() > limit {
            self.ports.request_dispatch(&agent.id).await?;
        }
        Ok(())
    }

    /// Records the outcome of sending one task: a task that could not be sent returns to the queue.
    async fn handle_send_outcome(
        &self,
        claimed: &Task,
        connection: &ConnectionId,
        outcome: Result<SendOutcome>,
    ) -> Result<()> {
        let Some(attempt) = claimed.state.held_attempt() else {
            return Ok(());
        };
        let agent = &claimed.agent_id;
        let event = match &outcome {
            Ok(SendOutcome::Sent) => {
                info!(task = %claimed.id, %agent, %connection, "task sent");
                return self
                    .transitions
                    .enqueue_follow_ups(claimed, self.ports.clock.now())
                    .await;
            }
            // The message may be on its way all the same: the agent's report will show.
            Err(error @ (BematicError::Gateway(_) | BematicError::Message(_))) => {
                warn!(task = %claimed.id, code = error.code(), error = %chain(error), "task not delivered");
                TaskEvent::DeliveryFailed(attempt, error.to_string())
            }
            Ok(SendOutcome::Gone) | Err(_) => TaskEvent::Undelivered(attempt),
        };
        // The task returns to the queue before any other call that may fail.
        let now = self.ports.clock.now();
        self.transitions
            .apply_for_agent(agent, None, claimed.id, &event, None, now)
            .await?;
        match outcome {
            Ok(_) => self.mark_offline_and_close(agent, connection).await,
            Err(BematicError::Gateway(_) | BematicError::Message(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Marks an agent offline whose connection is reported gone, and closes the connection: if it
    /// is still open, its agent opens another.
    async fn mark_offline_and_close(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Result<()> {
        info!(%agent, %connection, "connection is gone: agent marked offline");
        let now = self.ports.clock.now();
        self.ports
            .connections
            .unbind(agent, connection, now)
            .await?;
        Ok(self.ports.gateway.close(connection).await?)
    }

    async fn spec(&self, task: &Task) -> Result<TaskSpec> {
        let spec = self.ports.tasks.spec(task.id).await?;
        let missing = || BematicError::Message(format!("task {} has no specification", task.id));
        spec.ok_or_else(missing)
    }

    /// Sends TASK_SUBMIT to the agent.
    async fn send_task(
        &self,
        task: &Task,
        spec: Result<TaskSpec>,
        connection: &ConnectionId,
        spelling: TypeSpelling,
    ) -> Result<SendOutcome> {
        let message = CloudMessage::TaskSubmit(Box::new(task_submit_message(task, spec?)));
        Ok(self
            .ports
            .gateway
            .send(connection, spelling, message)
            .await?)
    }

    /// Closes a connection that has not authenticated by its deadline, after telling it why.
    async fn end_unauthenticated(&self, id: &ConnectionId) -> Result<()> {
        let (connections, gateway) = (&self.ports.connections, &self.ports.gateway);
        let record = connections.find_in_band(id).await?;
        let is_bound = record.is_some_and(|record| record.agent_id.is_some());
        if is_bound || !connections.remove_unbound(id).await? {
            return Ok(());
        }
        let error: BematicError = AuthError::AuthDeadline(AUTH_DEADLINE.as_secs()).into();
        info!(connection = %id, code = error.code(), %error, "connection did not authenticate in time");
        let refusal = auth_response_message(Err(&error));
        if gateway.send(id, TypeSpelling::default(), refusal).await? == SendOutcome::Sent {
            gateway.close(id).await?;
        }
        Ok(())
    }
}

/// Returns the message that the agent is sent. It is also used before a task is stored, to refuse
/// one that could not be sent.
pub(super) fn task_submit_message(task: &Task, spec: TaskSpec) -> TaskSubmit {
    TaskSubmit {
        task_id: task.id,
        attempt: task.state.held_attempt(),
        project_id: spec.project_id,
        bot_name: spec.bot_name,
        command: spec.command,
        prompt: spec.prompt,
        system_prompt: spec.system_prompt,
        local_path: spec.local_path,
        model: spec.model,
        max_budget: spec.max_budget,
        allowed_tools: spec.allowed_tools,
        resume_session_id: None,
        max_continuations: None,
        parent_task_id: None,
        attachments: None,
        slack_context: SlackContext {
            channel_id: task.origin.channel_id.clone(),
            thread_ts: task.origin.thread_ts.clone(),
            user_id: task.origin.user_id.clone(),
        },
    }
}
