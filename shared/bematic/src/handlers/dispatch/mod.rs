//! `dispatcher`: dispatches agents' queues, handles timers, and closes connections that did not
//! authenticate.

mod claims;
mod timers;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AuthResponse, CloudMessage, SlackContext, Spelling, TaskSubmit},
    time::Timestamp,
};
use futures::future::{join, join_all};
use tracing::{info, warn};

use self::claims::Claims;
use super::{routing::TaskMover, transitions::Transitions};
use crate::{
    agent::{Agent, DispatchLease},
    breaker::BreakerEvent,
    error::{AuthError, BematicError, chain},
    ports::{
        AUTH_DEADLINE, Acquisition, BreakerChange, Delivery, DispatchMessage, Ports, Released,
        Written,
    },
    task::{Task, TaskEvent, TaskSpec},
};

/// The time after which another dispatcher may take over the lease: twice the function's timeout.
const DISPATCH_LEASE: Duration = Duration::from_secs(30);
/// The time for which one dispatcher goes on while further dispatches are requested: well within
/// the function's timeout of 15 s.
const DISPATCH_FOR: Duration = Duration::from_secs(8);
/// The time by which a message can arrive early: clocks differ.
const EARLY: Duration = Duration::from_secs(5);

/// Sends tasks to agents.
pub struct Dispatcher {
    ports: Arc<Ports>,
    transitions: Transitions,
    mover: TaskMover,
}

impl Dispatcher {
    /// Creates a dispatcher with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            mover: TaskMover::new(ports.clone()),
            ports,
        }
    }

    /// Handles one message of the dispatcher's queue.
    ///
    /// # Errors
    /// The message has to be handled again.
    pub async fn handle(&self, message: DispatchMessage) -> Result<(), BematicError> {
        match message {
            DispatchMessage::AgentQueue { agent_id, refresh } => {
                // The refresh does not depend on the outcome of the dispatch, nor on which
                // dispatcher holds the lease.
                let (refreshed, dispatched) =
                    join(self.refresh(refresh), self.dispatch_queue(&agent_id)).await;
                refreshed.and(dispatched)
            }
            DispatchMessage::Task { task_id, .. } => self.check_task(task_id, false).await,
            DispatchMessage::AckDeadline { task_id, .. } => self.check_task(task_id, true).await,
            DispatchMessage::AuthDeadline { connection_id } => {
                self.end_unauthenticated(&connection_id).await
            }
        }
    }

    /// Enqueues a refresh of the task's card, if there is one to refresh: a call. Twice in a flush
    /// interval is the same as once.
    async fn refresh(&self, task: Option<TaskId>) -> Result<(), BematicError> {
        match task {
            // Always: that a refresh is under way is believed of a changed task because of this one.
            Some(task) => {
                let now = self.ports.clock.now();
                Ok(self.ports.notifications.refresh(&[task], now).await?)
            }
            None => Ok(()),
        }
    }

    /// Dispatches an agent's queue under the agent's lease, so that tasks arrive in order: a second
    /// dispatcher only requests another dispatch from the first. Three calls and, for each task,
    /// three more.
    async fn dispatch_queue(&self, agent_id: &AgentId) -> Result<(), BematicError> {
        let now = self.ports.clock.now();
        let holder = self.ports.ids.message().to_string();
        let lease = DispatchLease {
            holder,
            until: now + DISPATCH_LEASE,
        };
        let mut agent = match self
            .ports
            .dispatch_leases
            .acquire(agent_id, &lease, now)
            .await?
        {
            Acquisition::Acquired(agent) => agent,
            Acquisition::Requested => return Ok(()),
            Acquisition::NoAgent => {
                warn!(agent = %agent_id, "there is no such agent");
                return Ok(());
            }
        };
        loop {
            let late = self.ports.clock.now().since(now) > DISPATCH_FOR;
            let dispatched = if late {
                self.ports
                    .request_dispatch(agent_id, Duration::ZERO)
                    .await
                    .map_err(BematicError::from)
            } else {
                self.dispatch_pending(&agent).await
            };
            // The lease is released after a failure too: the repeated message need not wait for the
            // lease to end.
            let released = self
                .ports
                .dispatch_leases
                .release(agent_id, &lease, agent.dispatch_requests)
                .await;
            dispatched?;
            match released? {
                Released::Done => return Ok(()),
                Released::RequestedAgain(again) => agent = again,
            }
        }
    }

    async fn dispatch_pending(&self, agent: &Agent) -> Result<(), BematicError> {
        let now = self.ports.clock.now();
        let updated = if agent.gate.order_has_expired(now) {
            Some(self.expire_order(agent, now).await?)
        } else {
            None
        };
        let agent = updated.as_ref().unwrap_or(agent);
        // Tasks do not wait for a notice: if it is not enqueued, the sweeper makes up for it.
        if let Err(error) = self.announce_breaker(agent).await {
            warn!(agent = %agent.id, code = error.code(), error = chain(&error), "notice for the operations channel not enqueued");
        }
        let shut = agent.gate.shut_until(now);
        let Some(binding) = agent.takes_work().filter(|_| shut.is_none()) else {
            // The message for the end of the wait may arrive a moment early: clocks differ.
            if let Some(wait) = shut.map(|until| until.since(now)).filter(|it| *it <= EARLY) {
                self.ports.request_dispatch(&agent.id, wait).await?;
            }
            self.mover.move_waiting(agent, now).await?;
            return Ok(());
        };
        // The connection may not be open before its first message, which has the queue dispatched.
        let Some(spelling) = binding.spelling else {
            return Ok(());
        };
        let connection = &binding.id;
        let limit = agent
            .free_slots()
            .min(self.transitions.policy().dispatch_limit);
        let queued = self.ports.lists.queued(&agent.id, now, limit).await?;
        if queued.is_empty() {
            return Ok(());
        }
        let full = queued.len() == limit;
        let mut claims = Claims::new(&self.ports, &self.transitions, agent, connection);
        let (claimed, failed) = claims.claim_all(&queued).await;
        let shut = claims.is_denied();
        let specs = join_all(claimed.iter().map(|task| self.spec(task))).await;
        // Tasks are sent one after another, so that they arrive in order; their deliveries are
        // recorded in parallel. A failure for one task does not leave out the others.
        let mut sent = Vec::new();
        for (task, spec) in claimed.iter().zip(specs) {
            sent.push((task, self.submit(task, spec, connection, spelling).await));
        }
        let recorded = sent
            .into_iter()
            .map(|(task, outcome)| self.record_delivery(task, connection, outcome));
        let recorded = join_all(recorded).await;
        recorded.into_iter().collect::<Result<(), _>>()?;
        failed.map_or(Ok(()), Err)?;
        if shut {
            self.mover.move_waiting(agent, now).await?;
        } else if full && agent.free_slots() > limit {
            self.ports
                .request_dispatch(&agent.id, Duration::ZERO)
                .await?;
        }
        Ok(())
    }

    /// Writes down that an operator's order about the agent's breaker has expired, so that every
    /// reader sees it. Returns the agent after that.
    async fn expire_order(&self, agent: &Agent, now: Timestamp) -> Result<Agent, BematicError> {
        let before = self.ports.breakers.breaker(&agent.id).await?;
        let step = before.after(BreakerEvent::Tick, self.transitions.breaker(), now);
        let change = BreakerChange {
            before: &before,
            after: &step.next,
        };
        let mut agent = agent.clone();
        // A faster dispatcher has the queue dispatched too.
        if self.ports.breakers.change(&agent.id, change).await? == Written::Done {
            self.transitions
                .announce_gate_change(&agent.id, change, now)
                .await?;
            agent.gate = step.next.gate();
        }
        Ok(agent)
    }

    /// Enqueues a notice for the operations channel, if the breaker has changed since the last one.
    async fn announce_breaker(&self, agent: &Agent) -> Result<(), BematicError> {
        let generation = agent.gate.generation;
        if generation > agent.announced {
            self.ports
                .notifications
                .breaker_changed(&agent.id, generation)
                .await?;
        }
        Ok(())
    }

    /// Records the outcome of sending one task: a task that could not be sent returns to the queue.
    async fn record_delivery(
        &self,
        claimed: &Task,
        connection: &ConnectionId,
        outcome: Result<Delivery, BematicError>,
    ) -> Result<(), BematicError> {
        let Some(attempt) = claimed.state.held() else {
            return Ok(());
        };
        let gone = TaskEvent::Undelivered(attempt);
        let event = match outcome {
            Ok(Delivery::Sent) => {
                info!(task = %claimed.id, agent = %claimed.agent_id, %connection, "task sent");
                return self
                    .transitions
                    .announce(claimed, self.ports.clock.now())
                    .await;
            }
            Ok(Delivery::Gone) => {
                self.return_to_queue(claimed, gone).await?;
                return self.mark_offline(&claimed.agent_id, connection).await;
            }
            // The message may be on its way all the same: the agent's report will show.
            Err(BematicError::Gateway(cause)) => {
                warn!(task = %claimed.id, code = cause.code(), error = chain(&cause), "task not delivered");
                TaskEvent::DeliveryFailed(attempt, cause.to_string())
            }
            Err(cause @ BematicError::Message { .. }) => {
                TaskEvent::DeliveryFailed(attempt, cause.to_string())
            }
            Err(cause) => {
                self.return_to_queue(claimed, gone).await?;
                return Err(cause);
            }
        };
        self.return_to_queue(claimed, event).await
    }

    /// Returns a task to the queue. This is done before any other call that may fail: the task must
    /// not wait for that.
    async fn return_to_queue(&self, claimed: &Task, event: TaskEvent) -> Result<(), BematicError> {
        let (agent, now) = (&claimed.agent_id, self.ports.clock.now());
        let applied = self.transitions.apply(agent, claimed.id, &event, None, now);
        applied.await.map(drop)
    }

    /// Marks an agent offline whose connection is reported gone, and closes the connection: if it
    /// is still open, its agent opens another.
    async fn mark_offline(
        &self,
        agent: &AgentId,
        connection: &ConnectionId,
    ) -> Result<(), BematicError> {
        info!(%agent, %connection, "connection is gone: agent marked offline");
        let now = self.ports.clock.now();
        self.ports
            .connections
            .unbind(agent, connection, now)
            .await?;
        Ok(self.ports.gateway.close(connection).await?)
    }

    async fn spec(&self, task: &Task) -> Result<TaskSpec, BematicError> {
        let spec = self.ports.tasks.spec(task.id).await?;
        spec.ok_or_else(|| BematicError::Message {
            reason: format!("task {} has no specification", task.id),
        })
    }

    async fn submit(
        &self,
        task: &Task,
        spec: Result<TaskSpec, BematicError>,
        connection: &ConnectionId,
        spelling: Spelling,
    ) -> Result<Delivery, BematicError> {
        let message = CloudMessage::TaskSubmit(Box::new(submission(task, spec?)));
        Ok(self
            .ports
            .gateway
            .send(connection, spelling, message)
            .await?)
    }

    async fn end_unauthenticated(&self, id: &ConnectionId) -> Result<(), BematicError> {
        let connection = self.ports.connections.connection(id).await?;
        let is_bound = connection.is_some_and(|connection| connection.agent_id.is_some());
        if is_bound || !self.ports.connections.remove_unbound(id).await? {
            return Ok(());
        }
        let error = AuthError::DeadlinePassed {
            seconds: AUTH_DEADLINE.as_secs(),
        };
        info!(connection = %id, code = error.code(), "connection did not authenticate in time");
        let refusal = CloudMessage::AuthResponse(AuthResponse {
            success: false,
            agent_id: None,
            error: Some(error.to_string()),
        });
        if self
            .ports
            .gateway
            .send(id, Spelling::default(), refusal)
            .await?
            == Delivery::Sent
        {
            self.ports.gateway.close(id).await?;
        }
        Ok(())
    }
}

/// Returns the message that the agent is sent. It is also used before a task is stored, to refuse
/// one that could not be sent.
pub fn submission(task: &Task, spec: TaskSpec) -> TaskSubmit {
    TaskSubmit {
        task_id: task.id,
        attempt: task.state.held(),
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
