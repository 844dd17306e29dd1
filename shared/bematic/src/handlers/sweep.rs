//! `sweeper`: the safety net, which runs once a minute. It finds the tasks for which no message is
//! left, and agents that are no longer there. It enqueues messages for the dispatcher, whose queue
//! repeats what fails; so two sweeps at once do nothing twice.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{
    ids::BatchId,
    messages::{CloudMessage, Heartbeat},
    time::Timestamp,
};
use futures::{StreamExt as _, stream};
use tracing::{error, info, warn};

use crate::{
    agent::{Agent, Binding, Liveness},
    batch::Batch,
    error::{BematicError, chain},
    ports::{CONNECTED_SHARDS, DispatchMessage, Gateway, Ports},
};

/// The number of tasks and connections that one run handles at most; the next run handles the rest.
const AT_ONCE: usize = 1000;
/// The number of concurrent calls.
const CONCURRENT: usize = 16;
/// The time after which a run ends by itself, well within the function's timeout of 50 s.
const RUN_FOR: Duration = Duration::from_secs(40);

/// The results of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// The number of tasks that the dispatcher was sent a message for.
    pub tasks: usize,
    /// The number of agents whose queue is to be dispatched.
    pub dispatched: usize,
    /// The number of agents that were sent a ping.
    pub pinged: usize,
    /// The number of agents that were marked offline.
    pub lost: usize,
    /// The number of connections that did not authenticate in time.
    pub unauthenticated: usize,
    /// The number of bulk operations that were stalled.
    pub batches: usize,
    /// The number of failures: the next run tries again.
    pub failed: usize,
    /// Whether the run ended before everything was handled.
    pub cut: bool,
}

/// The result of checking one agent.
enum Checked {
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

    /// Handles the schedule's event.
    ///
    /// # Errors
    /// The errors of [`Self::sweep`], after they were logged.
    pub async fn handle(&self) -> Result<(), BematicError> {
        let swept = self.sweep().await;
        swept.map(drop).inspect_err(|error| {
            error!(
                code = error.code(),
                error = chain(error),
                "sweep not finished"
            );
        })
    }

    /// Sweeps once. Single failures are counted and logged, and the sweep goes on.
    ///
    /// # Errors
    /// An index could not be read.
    pub async fn sweep(&self) -> Result<Swept, BematicError> {
        let start = self.ports.clock.now();
        let mut swept = Swept::default();
        self.due_tasks(start, &mut swept).await?;
        self.unauthenticated(start, &mut swept).await?;
        self.stalled(start, &mut swept).await?;
        // Each run begins with another shard, so that a run without enough time does not always
        // leave out the same one.
        let first = u32::try_from(start.as_secs() / 60 % u64::from(CONNECTED_SHARDS)).unwrap_or(0);
        for n in 0..CONNECTED_SHARDS {
            let shard = (first + n) % CONNECTED_SHARDS;
            self.connected(shard, start, &mut swept).await?;
        }
        info!(?swept, "swept");
        Ok(swept)
    }

    async fn due_tasks(&self, now: Timestamp, swept: &mut Swept) -> Result<(), BematicError> {
        let due = self.ports.deadlines.due(now, AT_ONCE).await?;
        let messages = due
            .into_iter()
            .map(|(task_id, agent_id)| DispatchMessage::Task { task_id, agent_id });
        let (sent, failed) = self.send_all(messages).await;
        swept.tasks = sent;
        swept.failed += failed;
        Ok(())
    }

    async fn unauthenticated(&self, now: Timestamp, swept: &mut Swept) -> Result<(), BematicError> {
        let unauthenticated = self.ports.presence.unauthenticated(now, AT_ONCE).await?;
        let messages = unauthenticated
            .into_iter()
            .map(|connection_id| DispatchMessage::AuthDeadline { connection_id });
        let (sent, failed) = self.send_all(messages).await;
        swept.unauthenticated = sent;
        swept.failed += failed;
        Ok(())
    }

    async fn stalled(&self, now: Timestamp, swept: &mut Swept) -> Result<(), BematicError> {
        for (batch, since) in self.ports.batches.stalled(now, AT_ONCE).await? {
            info!(%batch, "bulk operation was stalled");
            match self.resume_stalled(batch, since, now).await {
                Ok(()) => swept.batches += 1,
                Err(error) => {
                    warn!(%batch, error = chain(&error), "message not enqueued");
                    swept.failed += 1;
                }
            }
        }
        Ok(())
    }

    /// Enqueues a stalled bulk operation. The next check is after twice as long, so that bulk
    /// operations that fail each time do not pile up.
    async fn resume_stalled(
        &self,
        batch: BatchId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        self.ports.batch_queue.enqueue(batch).await?;
        let again = now + now.since(since).max(Batch::STALLED_AFTER);
        Ok(self.ports.batches.postpone(batch, again).await?)
    }

    /// Sends messages, ten a call. Returns how many were sent, and how many were not.
    async fn send_all(&self, messages: impl Iterator<Item = DispatchMessage>) -> (usize, usize) {
        let messages: Vec<_> = messages.map(|message| (message, Duration::ZERO)).collect();
        let sends = messages.chunks(10).map(|some| async move {
            match self.ports.dispatch.send_all(some).await {
                Ok(()) => (some.len(), 0),
                Err(error) => {
                    warn!(error = chain(&error), ?some, "messages not enqueued");
                    (0, some.len())
                }
            }
        });
        let sends = stream::iter(sends).buffer_unordered(CONCURRENT);
        sends
            .fold((0, 0), async |(sent, failed), more| {
                (sent + more.0, failed + more.1)
            })
            .await
    }

    async fn connected(
        &self,
        shard: u32,
        start: Timestamp,
        swept: &mut Swept,
    ) -> Result<(), BematicError> {
        let mut cursor = None;
        loop {
            if self.ports.clock.now().since(start) >= RUN_FOR {
                swept.cut = true;
                return Ok(());
            }
            let page = self
                .ports
                .presence
                .connected(shard, cursor.as_deref())
                .await?;
            let checks = page.items.iter().map(|agent| self.check(agent));
            let mut checks = stream::iter(checks).buffer_unordered(CONCURRENT);
            while let Some(checked) = checks.next().await {
                match checked {
                    Ok(Checked::Dispatched) => swept.dispatched += 1,
                    Ok(Checked::Pinged) => swept.pinged += 1,
                    Ok(Checked::Lost) => swept.lost += 1,
                    Ok(Checked::Healthy) => {}
                    Err(error) => {
                        warn!(
                            code = error.code(),
                            error = chain(&error),
                            "agent not checked"
                        );
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

    async fn check(&self, agent: &Agent) -> Result<Checked, BematicError> {
        let Some(binding) = &agent.connection else {
            return Ok(Checked::Healthy);
        };
        let now = self.ports.clock.now();
        match Liveness::of(agent, binding, now) {
            Liveness::Silent | Liveness::Deaf => self.check_again(agent, now).await,
            Liveness::Ping { first } => {
                // The ping is recorded before it is sent, or its echo could arrive first.
                if first {
                    self.ports
                        .presence
                        .record_ping(&agent.id, &binding.id, now)
                        .await?;
                }
                ping(&*self.ports.gateway, binding, now).await?;
                self.dispatch_queue(agent, now).await?;
                Ok(Checked::Pinged)
            }
            Liveness::Well => self.dispatch_queue(agent, now).await,
        }
    }

    /// Checks an agent again as it is stored now: it may have sent something since the index was
    /// written.
    async fn check_again(&self, agent: &Agent, now: Timestamp) -> Result<Checked, BematicError> {
        let Some(agent) = self.ports.agents.find(&agent.id).await? else {
            return Ok(Checked::Healthy);
        };
        let Some(binding) = &agent.connection else {
            return Ok(Checked::Healthy);
        };
        match Liveness::of(&agent, binding, now) {
            Liveness::Silent => self.mark_offline(&agent, binding, "silent", now).await,
            Liveness::Deaf => self.mark_offline(&agent, binding, "deaf", now).await,
            Liveness::Ping { .. } | Liveness::Well => Ok(Checked::Healthy),
        }
    }

    /// Marks an agent offline. Its connection is closed first, so that an agent that is still there
    /// opens another: once it is marked, no sweep finds it. Its tasks keep their leases.
    async fn mark_offline(
        &self,
        agent: &Agent,
        binding: &Binding,
        why: &'static str,
        now: Timestamp,
    ) -> Result<Checked, BematicError> {
        info!(agent = %agent.id, connection = %binding.id, why, "agent marked offline");
        self.ports.gateway.close(&binding.id).await?;
        self.ports
            .connections
            .unbind(&agent.id, &binding.id, now)
            .await?;
        Ok(Checked::Lost)
    }

    async fn dispatch_queue(&self, agent: &Agent, now: Timestamp) -> Result<Checked, BematicError> {
        let unannounced =
            agent.gate.generation > agent.announced || agent.gate.order_has_expired(now);
        let takes = agent.takes_work().is_some() && agent.gate.shut_until(now).is_none();
        if !unannounced && (!takes || self.ports.lists.queued(&agent.id, now, 1).await?.is_empty())
        {
            return Ok(Checked::Healthy);
        }
        info!(agent = %agent.id, "tasks are waiting: the queue is to be dispatched");
        self.ports
            .request_dispatch(&agent.id, Duration::ZERO)
            .await?;
        Ok(Checked::Dispatched)
    }
}

/// Sends a ping, which the agent has to echo. It also keeps API Gateway from closing the connection
/// as idle, after 10 min.
pub(super) async fn ping(
    gateway: &dyn Gateway,
    binding: &Binding,
    now: Timestamp,
) -> Result<(), BematicError> {
    let spelling = binding.spelling.unwrap_or_default();
    let ping = CloudMessage::HeartbeatPing(Heartbeat {
        server_time: Some(now),
    });
    // A connection that is gone becomes silent, and a later sweep finds it.
    let _ = gateway.send(&binding.id, spelling, ping).await?;
    Ok(())
}
