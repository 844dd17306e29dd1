//! `sweeper`: the safety net, which runs once a minute. It finds the tasks for which no message is
//! left, and agents that are no longer there. It enqueues messages for the dispatcher, whose queue
//! repeats what fails; so two sweeps at once do nothing twice.

use std::{sync::Arc, time::Duration};

use bematic_protocol::time::Timestamp;
use futures::{StreamExt as _, stream};
use tracing::{error, info, warn};

use crate::{
    agent::{Agent, Liveness},
    batch::Batch,
    error::{BematicError, Result, chain},
    ports::{CONNECTED_SHARDS, DispatchMessage, Ports},
};

/// The number of tasks and connections that one run handles at most; the next run handles the rest.
const MAX_PER_RUN: usize = 1000;
/// The number of concurrent calls.
const MAX_CONCURRENT_CALLS: usize = 16;
/// The time after which a run ends by itself, well within the function's timeout of 50 s.
const SWEEP_TIME_BUDGET: Duration = Duration::from_secs(40);

/// The results of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepSummary {
    /// The number of messages that the dispatcher was sent: for tasks whose timer has ended, and
    /// for connections that did not authenticate in time.
    pub due: usize,
    /// The number of agents whose queue is to be dispatched.
    pub dispatched: usize,
    /// The number of agents that were sent a ping.
    pub pinged: usize,
    /// The number of agents that were marked offline.
    pub lost: usize,
    /// The number of bulk operations that were stalled.
    pub batches: usize,
    /// The number of failures: the next run tries again.
    pub failed: usize,
    /// Whether the run ended before everything was handled.
    pub cut: bool,
}

/// The result of checking one agent.
enum AgentCheckOutcome {
    Dispatched,
    Pinged,
    Lost,
    Healthy,
}

/// Sweeps: finds tasks and agents that no message is left for.
pub struct Sweeper {
    ports: Arc<Ports>,
}

impl Sweeper {
    /// Creates a sweeper with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Sweeps once. Single failures are counted and logged, and the sweep goes on. It fails, and
    /// logs so, if an index could not be read.
    pub async fn sweep(&self) -> Result<SweepSummary> {
        let mut swept = SweepSummary::default();
        let result = self.sweep_all(&mut swept).await;
        result.inspect_err(|error| {
            error!(code = error.code(), error = %chain(error), ?swept, "sweep not finished");
        })?;
        info!(?swept, "swept");
        Ok(swept)
    }

    async fn sweep_all(&self, swept: &mut SweepSummary) -> Result<()> {
        let start = self.ports.clock.now();
        let due = self
            .ports
            .deadlines
            .due(start, MAX_PER_RUN)
            .await?
            .into_iter();
        let check = |(task_id, agent_id)| DispatchMessage::task(task_id, agent_id);
        self.send_to_dispatcher(due.map(check), swept).await;
        let presence = &self.ports.presence;
        let due = presence
            .overdue_unauthenticated_connections(start, MAX_PER_RUN)
            .await?
            .into_iter();
        let end = |connection_id| DispatchMessage::AuthDeadline { connection_id };
        self.send_to_dispatcher(due.map(end), swept).await;
        self.resume_stalled_batches(start, swept).await?;
        // Each run begins with another shard, so that a run without enough time does not always
        // leave out the same one.
        let first = u32::try_from(start.as_secs() / 60 % u64::from(CONNECTED_SHARDS)).unwrap_or(0);
        for n in 0..CONNECTED_SHARDS {
            self.check_connected((first + n) % CONNECTED_SHARDS, start, swept)
                .await?;
        }
        Ok(())
    }

    /// Sends messages to the dispatcher, ten a call.
    async fn send_to_dispatcher(
        &self,
        messages: impl Iterator<Item = DispatchMessage>,
        swept: &mut SweepSummary,
    ) {
        let messages: Vec<_> = messages.map(|message| (message, Duration::ZERO)).collect();
        let sends = messages
            .chunks(10)
            .map(async |some| (some, self.ports.dispatch.send(some).await));
        let mut sends = stream::iter(sends).buffer_unordered(MAX_CONCURRENT_CALLS);
        while let Some((some, sent)) = sends.next().await {
            match sent {
                Ok(()) => swept.due += some.len(),
                Err(error) => {
                    warn!(error = %chain(&error), ?some, "messages not enqueued");
                    swept.failed += some.len();
                }
            }
        }
    }

    /// Enqueues stalled bulk operations. The next check is after twice as long, so that bulk
    /// operations that fail each time do not pile up.
    async fn resume_stalled_batches(&self, now: Timestamp, swept: &mut SweepSummary) -> Result<()> {
        for (batch, since) in self.ports.batches.stalled(now, MAX_PER_RUN).await? {
            info!(%batch, "bulk operation was stalled");
            let resume = async {
                self.ports.batch_queue.enqueue(batch).await?;
                let again = now + now.since(since).max(Batch::STALLED_AFTER);
                Ok::<_, BematicError>(self.ports.batches.postpone(batch, again).await?)
            };
            match resume.await {
                Ok(()) => swept.batches += 1,
                Err(error) => {
                    warn!(%batch, error = %chain(&error), "message not enqueued");
                    swept.failed += 1;
                }
            }
        }
        Ok(())
    }

    async fn check_connected(
        &self,
        shard: u32,
        start: Timestamp,
        swept: &mut SweepSummary,
    ) -> Result<()> {
        let mut cursor = None;
        loop {
            if self.ports.clock.now().since(start) >= SWEEP_TIME_BUDGET {
                swept.cut = true;
                return Ok(());
            }
            let page = self
                .ports
                .presence
                .connected_agents(shard, cursor.as_deref())
                .await?;
            let checks = page.items.iter().map(|agent| self.check_agent(agent));
            let mut checks = stream::iter(checks).buffer_unordered(MAX_CONCURRENT_CALLS);
            while let Some(checked) = checks.next().await {
                match checked {
                    Ok(AgentCheckOutcome::Dispatched) => swept.dispatched += 1,
                    Ok(AgentCheckOutcome::Pinged) => swept.pinged += 1,
                    Ok(AgentCheckOutcome::Lost) => swept.lost += 1,
                    Ok(AgentCheckOutcome::Healthy) => {}
                    Err(error) => {
                        warn!(code = error.code(), error = %chain(&error), "agent not checked");
                        swept.failed += 1;
                    }
                }
            }
            drop(checks);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Checks a connected agent by its liveness: pings it, marks it offline, or has its queue
    /// dispatched.
    async fn check_agent(&self, agent: &Agent) -> Result<AgentCheckOutcome> {
        let Some(binding) = &agent.connection else {
            return Ok(AgentCheckOutcome::Healthy);
        };
        let now = self.ports.clock.now();
        match Liveness::of(agent, binding, now) {
            Liveness::Silent | Liveness::Deaf => self.recheck_and_mark_offline(agent, now).await,
            Liveness::Ping { first } => {
                // The ping is recorded before it is sent, or its echo could arrive first.
                if first {
                    self.ports
                        .presence
                        .record_liveness_ping(&agent.id, &binding.id, now)
                        .await?;
                }
                self.ports.ping_agent(binding, now).await?;
                self.request_dispatch_if_needed(agent, now).await?;
                Ok(AgentCheckOutcome::Pinged)
            }
            Liveness::Well => self.request_dispatch_if_needed(agent, now).await,
        }
    }

    /// Checks an agent again as it is stored now, since it may have sent something since the index
    /// was written, and marks it offline if it is silent or deaf. Its connection is closed first,
    /// so that an agent that is still there opens another: once it is marked, no sweep finds it.
    /// Its tasks keep their leases.
    async fn recheck_and_mark_offline(
        &self,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<AgentCheckOutcome> {
        let agent = self.ports.agents.find(&agent.id).await?;
        let Some((agent, binding)) = agent
            .as_ref()
            .and_then(|it| Some((it, it.connection.as_ref()?)))
        else {
            return Ok(AgentCheckOutcome::Healthy);
        };
        let liveness = Liveness::of(agent, binding, now);
        if !matches!(liveness, Liveness::Silent | Liveness::Deaf) {
            return Ok(AgentCheckOutcome::Healthy);
        }
        info!(agent = %agent.id, connection = %binding.id, why = <&str>::from(liveness), "agent marked offline");
        self.ports.gateway.close(&binding.id).await?;
        self.ports
            .connections
            .unbind(&agent.id, &binding.id, now)
            .await?;
        Ok(AgentCheckOutcome::Lost)
    }

    /// Requests a dispatch of the agent's queue if a task waits in it that the agent may be sent,
    /// or if a change of its breaker has yet to be announced.
    async fn request_dispatch_if_needed(
        &self,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<AgentCheckOutcome> {
        let unannounced =
            agent.gate.generation > agent.announced || agent.gate.override_has_expired(now);
        let takes =
            agent.connection_for_dispatch().is_some() && agent.gate.shut_until(now).is_none();
        if !unannounced && (!takes || self.ports.lists.queued(&agent.id, now, 1).await?.is_empty())
        {
            return Ok(AgentCheckOutcome::Healthy);
        }
        info!(agent = %agent.id, "tasks are waiting: the queue is to be dispatched");
        self.ports.request_dispatch(&agent.id).await?;
        Ok(AgentCheckOutcome::Dispatched)
    }
}
