//! Claiming tasks for an agent under its breaker: the breaker's permit is written in the
//! transaction that claims the task.

use bematic_protocol::ids::ConnectionId;
use tracing::info;

use super::super::transitions::{Transitions, pauses};
use crate::{
    agent::Agent,
    breaker::{Breaker, BreakerEvent, Verdict},
    error::BematicError,
    ports::{BreakerChange, Claim, DispatchPermit, Ports, Written},
    task::{Task, TaskEvent},
};

/// The number of version conflicts of a breaker in a row after which the task is left to the next
/// message.
const TRIES: usize = 8;

/// Claims tasks for one agent, to be sent over one connection.
pub(super) struct Claims<'a> {
    ports: &'a Ports,
    transitions: &'a Transitions,
    agent: &'a Agent,
    connection: &'a ConnectionId,
    /// The breaker as it was read or written last; not read while the gate permits all tasks.
    breaker: Option<Breaker>,
    denied: bool,
}

impl<'a> Claims<'a> {
    pub(super) const fn new(
        ports: &'a Ports,
        transitions: &'a Transitions,
        agent: &'a Agent,
        connection: &'a ConnectionId,
    ) -> Self {
        Self {
            ports,
            transitions,
            agent,
            connection,
            breaker: None,
            denied: false,
        }
    }

    /// Whether the breaker has denied a permit.
    pub(super) const fn is_denied(&self) -> bool {
        self.denied
    }

    /// Claims tasks one after another, since each claim writes the agent's record. The claimed
    /// tasks have to be sent even if a later claim fails.
    pub(super) async fn claim_all(
        &mut self,
        queued: &[Task],
    ) -> (Vec<Box<Task>>, Option<BematicError>) {
        let mut claimed = Vec::new();
        for task in queued {
            match self.claim(task).await {
                Ok(Claim::Taken(task)) => claimed.push(task),
                Ok(Claim::TaskChanged) => {}
                Ok(Claim::AgentUnavailable | Claim::BreakerChanged) => break,
                Err(error) => return (claimed, Some(error)),
            }
        }
        (claimed, None)
    }

    async fn claim(&mut self, task: &Task) -> Result<Claim, BematicError> {
        let now = self.ports.clock.now();
        let policy = self.transitions.policy();
        let Ok(claimed) = task.after(TaskEvent::Claimed, policy, now) else {
            return Ok(Claim::TaskChanged);
        };
        if self.breaker.is_none() && self.agent.gate.is_open(now) {
            let permit = self.permit(self.agent.gate.generation, None);
            return Ok(self.ports.tasks.claim(task, claimed, permit).await?);
        }
        for pause in pauses().take(TRIES) {
            let claim = self.claim_with_permit(task, claimed.clone()).await?;
            if claim != Claim::BreakerChanged {
                return Ok(claim);
            }
            self.breaker = None;
            tokio::time::sleep(pause).await;
        }
        Ok(Claim::BreakerChanged)
    }

    /// Claims a task with a permit of the breaker: a read for the first task, and the claim writes
    /// the permit.
    async fn claim_with_permit(
        &mut self,
        task: &Task,
        claimed: Task,
    ) -> Result<Claim, BematicError> {
        let Some(slot) = claimed.slot() else {
            return Ok(Claim::TaskChanged);
        };
        let (ports, transitions) = (self.ports, self.transitions);
        let now = ports.clock.now();
        let before = match self.breaker.take() {
            Some(breaker) => breaker,
            None => ports.breakers.breaker(&self.agent.id).await?,
        };
        // A probe may take as long as its task may be silent, and its permit is extended while it
        // is known to run.
        let policy = transitions.policy();
        let lease = (claimed.lease(policy) + policy.ack_deadline) * 2;
        let event = BreakerEvent::Allow(slot.to_string(), lease);
        let step = before.after(event, transitions.breaker(), now);
        let change = BreakerChange {
            before: &before,
            after: &step.next,
        };
        if let Verdict::Denied(_) = step.verdict {
            // Time alone may have changed the breaker: a probe may have been lost.
            if ports.breakers.change(&self.agent.id, change).await? == Written::Conflict {
                return Ok(Claim::BreakerChanged);
            }
            self.denied = true;
            transitions
                .announce_gate_change(&self.agent.id, change, now)
                .await?;
            return Ok(Claim::AgentUnavailable);
        }
        let generation = before.generation;
        let changes = (before != step.next).then_some(change);
        let claim = ports
            .tasks
            .claim(task, claimed, self.permit(generation, changes))
            .await?;
        if let Claim::Taken(task) = &claim {
            info!(task = %task.id, agent = %self.agent.id, state = step.next.state.name(), "task claimed with a permit of the breaker");
            self.breaker = Some(step.next);
        }
        Ok(claim)
    }

    fn permit<'p>(
        &'p self,
        generation: u64,
        change: Option<BreakerChange<'p>>,
    ) -> DispatchPermit<'p> {
        DispatchPermit {
            connection: self.connection,
            generation,
            change,
        }
    }
}
