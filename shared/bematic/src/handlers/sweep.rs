//! `sweeper`: the safety net, once a minute. Finds the work that no message is left for, and agents
//! that are not there any more. It tells the dispatcher what to look at, whose queue repeats what
//! fails; so two sweeps at once do nothing twice.

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

/// Tasks and connections of a shard that one run looks at; the next one takes what is left.
const AT_ONCE: usize = 1000;
/// Calls under way at a time.
const CONCURRENT: usize = 16;
/// A run ends by itself well within the function's timeout of 50 s.
const RUN_FOR: Duration = Duration::from_secs(40);

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Tasks that the dispatcher was told to look at.
    pub tasks: usize,
    /// Agents whose queue the dispatcher was told to drain.
    pub drained: usize,
    /// Agents that were sent a ping.
    pub pinged: usize,
    /// Agents that are offline now.
    pub lost: usize,
    /// Connections that did not authenticate.
    pub strangers: usize,
    /// Bulk work that had come to a halt.
    pub batches: usize,
    /// Things that did not work: the next run tries again.
    pub failed: usize,
    /// Whether there was more to do than time.
    pub cut: bool,
}

/// What was done about one agent.
enum Visited {
    Drained,
    Pinged,
    Lost,
    Well,
}

/// Sweeps.
pub struct Sweeper {
    ports: Arc<Ports>,
}

impl Sweeper {
    /// A sweeper of all there is.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self { ports }
    }

    /// Handles the schedule's event.
    ///
    /// # Errors
    /// As [`Self::sweep`], after it was logged.
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

    /// Sweeps once. What fails is counted and logged; the rest goes on.
    ///
    /// # Errors
    /// An index could not be read.
    pub async fn sweep(&self) -> Result<Swept, BematicError> {
        let start = self.ports.clock.now();
        let mut swept = Swept::default();
        self.due_tasks(start, &mut swept).await?;
        self.strangers(start, &mut swept).await?;
        self.stalled(start, &mut swept).await?;
        // Begun elsewhere each time, so that what a long run leaves is not always the same.
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

    async fn strangers(&self, now: Timestamp, swept: &mut Swept) -> Result<(), BematicError> {
        let strangers = self.ports.presence.unauthenticated(now, AT_ONCE).await?;
        let messages = strangers
            .into_iter()
            .map(|connection_id| DispatchMessage::AuthDeadline { connection_id });
        let (sent, failed) = self.send_all(messages).await;
        swept.strangers = sent;
        swept.failed += failed;
        Ok(())
    }

    async fn stalled(&self, now: Timestamp, swept: &mut Swept) -> Result<(), BematicError> {
        for (batch, since) in self.ports.batches.stalled(now, AT_ONCE).await? {
            info!(%batch, "bulk work had come to a halt");
            match self.go_on(batch, since, now).await {
                Ok(()) => swept.batches += 1,
                Err(error) => {
                    warn!(%batch, error = chain(&error), "not told");
                    swept.failed += 1;
                }
            }
        }
        Ok(())
    }

    /// Next time after twice as long, so that work that fails each time does not pile up.
    async fn go_on(
        &self,
        batch: BatchId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), BematicError> {
        self.ports.batch_queue.work(batch).await?;
        let again = now + now.since(since).max(Batch::STALLED_AFTER);
        Ok(self.ports.batches.look_again(batch, again).await?)
    }

    /// Ten a call. How many were sent, and how many were not.
    async fn send_all(&self, messages: impl Iterator<Item = DispatchMessage>) -> (usize, usize) {
        let messages: Vec<_> = messages.map(|message| (message, Duration::ZERO)).collect();
        let sends = messages.chunks(10).map(|some| async move {
            match self.ports.dispatch.send_all(some).await {
                Ok(()) => (some.len(), 0),
                Err(error) => {
                    warn!(error = chain(&error), ?some, "not told");
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
            let visits = page.items.iter().map(|agent| self.visit(agent));
            let mut visits = stream::iter(visits).buffer_unordered(CONCURRENT);
            while let Some(visited) = visits.next().await {
                match visited {
                    Ok(Visited::Drained) => swept.drained += 1,
                    Ok(Visited::Pinged) => swept.pinged += 1,
                    Ok(Visited::Lost) => swept.lost += 1,
                    Ok(Visited::Well) => {}
                    Err(error) => {
                        warn!(
                            code = error.code(),
                            error = chain(&error),
                            "agent not looked after"
                        );
                        swept.failed += 1;
                    }
                }
            }
            drop(visits);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn visit(&self, agent: &Agent) -> Result<Visited, BematicError> {
        let Some(binding) = &agent.connection else {
            return Ok(Visited::Well);
        };
        let now = self.ports.clock.now();
        match Liveness::of(agent, binding, now) {
            Liveness::Silent | Liveness::Deaf => self.look_again(agent, now).await,
            Liveness::Ping { first } => {
                // Noted before it is sent, or its echo could come first.
                if first {
                    self.ports
                        .presence
                        .pinged(&agent.id, &binding.id, now)
                        .await?;
                }
                ping(&*self.ports.gateway, binding, now).await?;
                self.drain(agent, now).await?;
                Ok(Visited::Pinged)
            }
            Liveness::Well => self.drain(agent, now).await,
        }
    }

    /// It may have spoken since: what counts is the agent as it is.
    async fn look_again(&self, agent: &Agent, now: Timestamp) -> Result<Visited, BematicError> {
        let Some(agent) = self.ports.agents.find(&agent.id).await? else {
            return Ok(Visited::Well);
        };
        let Some(binding) = &agent.connection else {
            return Ok(Visited::Well);
        };
        match Liveness::of(&agent, binding, now) {
            Liveness::Silent => self.lose(&agent, binding, "silent", now).await,
            Liveness::Deaf => self.lose(&agent, binding, "deaf", now).await,
            Liveness::Ping { .. } | Liveness::Well => Ok(Visited::Well),
        }
    }

    /// Its connection is closed, so that an agent that is there all the same opens another: first,
    /// or nobody would look for it any more. Its tasks keep their leases.
    async fn lose(
        &self,
        agent: &Agent,
        binding: &Binding,
        why: &'static str,
        now: Timestamp,
    ) -> Result<Visited, BematicError> {
        info!(agent = %agent.id, connection = %binding.id, why, "agent marked offline");
        self.ports.gateway.close(&binding.id).await?;
        self.ports
            .connections
            .unbind(&agent.id, &binding.id, now)
            .await?;
        Ok(Visited::Lost)
    }

    async fn drain(&self, agent: &Agent, now: Timestamp) -> Result<Visited, BematicError> {
        let untold = agent.gate.generation > agent.announced || agent.gate.has_ended(now);
        let takes = agent.takes_work().is_some() && agent.gate.is_shut_until(now).is_none();
        if !untold && (!takes || self.ports.lists.queued(&agent.id, now, 1).await?.is_empty()) {
            return Ok(Visited::Well);
        }
        info!(agent = %agent.id, "work was left waiting");
        let drain = DispatchMessage::drain(agent.id.clone());
        self.ports.dispatch.send(&drain, Duration::ZERO).await?;
        Ok(Visited::Drained)
    }
}

/// Asks for a sign that the agent hears: the ping is to be echoed. Also keeps API Gateway from
/// ending the connection as idle, after 10 min.
pub(super) async fn ping(
    gateway: &dyn Gateway,
    binding: &Binding,
    now: Timestamp,
) -> Result<(), BematicError> {
    let spelling = binding.spelling.unwrap_or_default();
    let ping = CloudMessage::HeartbeatPing(Heartbeat {
        server_time: Some(now),
    });
    // A connection that is gone is silent, and found to be so.
    let _ = gateway.send(&binding.id, spelling, ping).await?;
    Ok(())
}
