//! `dispatcher`: works off an agent's queue, looks after timers, and ends connections that did not
//! authenticate.

mod gatekeeper;
mod timers;

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::{AgentId, ConnectionId, TaskId},
    messages::{AuthResponse, CloudMessage, SlackContext, Spelling, TaskSubmit},
    time::Timestamp,
};
use futures::future::{join, join_all};
use tracing::{info, warn};

use self::gatekeeper::Gatekeeper;
use super::{routing::Router, transitions::Transitions};
use crate::{
    agent::{Agent, DrainLease},
    breaker::BreakerEvent,
    error::{AuthError, BematicError, chain},
    ports::{AUTH_DEADLINE, Delivery, DispatchMessage, Drain, Ports, Released, Turn, Written},
    task::{Task, TaskEvent, TaskSpec},
};

/// How long a drain may take before another may take over: twice the function's timeout.
const DRAIN_LEASE: Duration = Duration::from_secs(30);
/// How long a drain goes on while others keep asking: well within the function's timeout of 15 s.
const DRAIN_FOR: Duration = Duration::from_secs(8);
/// By how much a message can come before its time: clocks differ.
const EARLY: Duration = Duration::from_secs(5);

/// Hands tasks to agents.
pub struct Dispatcher {
    ports: Arc<Ports>,
    transitions: Transitions,
    router: Router,
}

impl Dispatcher {
    /// A dispatcher to the agents of these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            router: Router::new(ports.clone()),
            ports,
        }
    }

    /// Does what the state calls for.
    ///
    /// # Errors
    /// The message is to be given again.
    pub async fn handle(&self, message: DispatchMessage) -> Result<(), BematicError> {
        match message {
            DispatchMessage::Drain { agent_id, refresh } => {
                // Whatever comes of the drain, and whoever else may be at it.
                let (refreshed, drained) = join(self.refresh(refresh), self.drain(&agent_id)).await;
                refreshed.and(drained)
            }
            DispatchMessage::Task { task_id, .. } => self.look_at(task_id, false).await,
            DispatchMessage::AckDeadline { task_id, .. } => self.look_at(task_id, true).await,
            DispatchMessage::AuthDeadline { connection_id } => {
                self.end_unauthenticated(&connection_id).await
            }
        }
    }

    /// A call, if there is a card to refresh. Twice in a flush interval is once.
    async fn refresh(&self, task: Option<TaskId>) -> Result<(), BematicError> {
        match task {
            Some(task) => self.transitions.refresh(task, self.ports.clock.now()).await,
            None => Ok(()),
        }
    }

    /// One drain of an agent at a time, so that tasks reach it in order: whoever comes second
    /// tells the first to look again. Three calls and, for each task, three more.
    async fn drain(&self, agent_id: &AgentId) -> Result<(), BematicError> {
        let now = self.ports.clock.now();
        let holder = self.ports.ids.message().to_string();
        let lease = DrainLease {
            holder,
            until: now + DRAIN_LEASE,
        };
        let mut agent = match self
            .ports
            .dispatch_leases
            .begin_drain(agent_id, &lease, now)
            .await?
        {
            Drain::Ours(agent) => agent,
            Drain::Asked => return Ok(()),
            Drain::NoAgent => {
                warn!(agent = %agent_id, "there is no such agent to drain the queue of");
                return Ok(());
            }
        };
        loop {
            let late = self.ports.clock.now().since(now) > DRAIN_FOR;
            let delivered = if late {
                self.ask_for_drain(agent_id, Duration::ZERO).await
            } else {
                self.deliver(&agent).await
            };
            // Given back after a failure too: the repeated message need not wait for the lease.
            let released = self
                .ports
                .dispatch_leases
                .end_drain(agent_id, &lease, agent.drain_requests)
                .await;
            delivered?;
            match released? {
                Released::Done => return Ok(()),
                Released::AskedAgain(again) => agent = again,
            }
        }
    }

    async fn ask_for_drain(&self, agent_id: &AgentId, delay: Duration) -> Result<(), BematicError> {
        let drain = DispatchMessage::drain(agent_id.clone());
        Ok(self.ports.dispatch.send(&drain, delay).await?)
    }

    async fn deliver(&self, agent: &Agent) -> Result<(), BematicError> {
        let now = self.ports.clock.now();
        let ended = if agent.gate.has_ended(now) {
            Some(self.end_override(agent, now).await?)
        } else {
            None
        };
        let agent = ended.as_ref().unwrap_or(agent);
        // The sweeper makes up for it: work does not wait for what is told.
        if let Err(error) = self.announce(agent).await {
            warn!(agent = %agent.id, code = error.code(), error = chain(&error), "operations not told");
        }
        let shut = agent.gate.is_shut_until(now);
        let Some(binding) = agent.takes_work().filter(|_| shut.is_none()) else {
            // What is to wake the queue may come a moment early: clocks differ.
            if let Some(wait) = shut.map(|until| until.since(now)).filter(|it| *it <= EARLY) {
                self.ask_for_drain(&agent.id, wait).await?;
            }
            self.router.move_waiting(agent, now).await?;
            return Ok(());
        };
        // Until its first message it may not be open yet: that message has the queue drained.
        let Some(spelling) = binding.spelling else {
            return Ok(());
        };
        let connection = &binding.id;
        let limit = agent
            .free_slots()
            .min(self.transitions.policy().drain_batch);
        let queued = self.ports.lists.queued(&agent.id, now, limit).await?;
        if queued.is_empty() {
            return Ok(());
        }
        let full = queued.len() == limit;
        let mut gate = Gatekeeper::new(&self.ports, &self.transitions, agent, connection);
        let (claimed, failed) = gate.claim_all(&queued).await;
        let shut = gate.is_shut();
        let specs = join_all(claimed.iter().map(|task| self.spec(task))).await;
        // One after another, so that they arrive in order; what comes of them, side by side. What
        // one comes to is no reason to leave out the others.
        let mut posted = Vec::new();
        for (task, spec) in claimed.iter().zip(specs) {
            posted.push((task, self.submit(task, spec, connection, spelling).await));
        }
        let settled = posted
            .into_iter()
            .map(|(task, outcome)| self.settle(task, connection, outcome));
        let settled = join_all(settled).await;
        settled.into_iter().collect::<Result<(), _>>()?;
        failed.map_or(Ok(()), Err)?;
        if shut {
            self.router.move_waiting(agent, now).await?;
        } else if full && agent.free_slots() > limit {
            self.ask_for_drain(&agent.id, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// An operator's word about the agent's breaker has ended by itself: written down, so that
    /// everybody sees it. The agent as it is then.
    async fn end_override(&self, agent: &Agent, now: Timestamp) -> Result<Agent, BematicError> {
        let before = self.ports.breakers.breaker(&agent.id).await?;
        let step = before.after(BreakerEvent::Tick, self.transitions.breaker(), now);
        let turn = Turn {
            before: &before,
            after: &step.next,
        };
        let mut agent = agent.clone();
        // Whoever was faster has the queue looked at too.
        if self.ports.breakers.turn(&agent.id, turn).await? == Written::Done {
            self.transitions.gate_moved(&agent.id, turn, now).await?;
            agent.gate = step.next.gate();
        }
        Ok(agent)
    }

    /// Has the operations channel told what it was not told of yet.
    async fn announce(&self, agent: &Agent) -> Result<(), BematicError> {
        let generation = agent.gate.generation;
        if generation > agent.announced {
            self.ports
                .notifications
                .breaker_changed(&agent.id, generation)
                .await?;
        }
        Ok(())
    }

    /// Each stands alone: what could not be sent goes back to the queue, the others go on.
    async fn settle(
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
                self.take_back(claimed, gone).await?;
                return self.give_up(&claimed.agent_id, connection).await;
            }
            // It may be on its way all the same: the agent will tell.
            Err(BematicError::Gateway(cause)) => {
                warn!(task = %claimed.id, code = cause.code(), error = chain(&cause), "not delivered");
                TaskEvent::DeliveryFailed(attempt, cause.to_string())
            }
            Err(cause @ BematicError::Message { .. }) => {
                TaskEvent::DeliveryFailed(attempt, cause.to_string())
            }
            Err(cause) => {
                self.take_back(claimed, gone).await?;
                return Err(cause);
            }
        };
        self.take_back(claimed, event).await
    }

    /// Before anything else that may fail: the task must not wait for it.
    async fn take_back(&self, claimed: &Task, event: TaskEvent) -> Result<(), BematicError> {
        let (agent, now) = (&claimed.agent_id, self.ports.clock.now());
        let applied = self.transitions.apply(agent, claimed.id, &event, None, now);
        applied.await.map(drop)
    }

    /// A connection that is said to be gone. Should it not be, closing it makes its agent open
    /// another.
    async fn give_up(
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
        if is_bound || !self.ports.connections.forget(id).await? {
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

/// What the agent is sent. Also used before a task is stored, to refuse what could not be sent.
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
