//! Claiming tasks for an agent under its breaker: the breaker's permit is written in the
//! transaction that claims the task.

use bematic_protocol::ids::ConnectionId;
use tracing::info;

use super::{super::transitions::conflict_backoff, Dispatcher};
use crate::{
    agent::Agent,
    breaker::{Breaker, BreakerEvent, Verdict},
    error::{BematicError, Result},
    ports::{BreakerChange, ClaimConditions, ClaimOutcome, Written},
    task::{Task, TaskEvent},
};

/// The number of tries of a claim whose breaker others keep changing; then the task is left to the
/// next message.
const MAX_CLAIM_TRIES: usize = 8;

/// The outcome of claiming tasks for an agent.
#[derive(Default)]
pub(super) struct ClaimAllOutcome {
    /// The claimed tasks, which have to be sent even if a later claim failed.
    pub(super) tasks: Vec<Task>,
    /// Whether the breaker has denied a permit.
    pub(super) is_denied: bool,
    /// The error of the last claim.
    pub(super) failure: Option<BematicError>,
}

impl Dispatcher {
    /// Claims tasks one after another, since each claim writes the agent's record.
    pub(super) async fn claim_all(
        &self,
        agent: &Agent,
        connection: &ConnectionId,
        queued: &[Task],
    ) -> ClaimAllOutcome {
        let mut claimed = ClaimAllOutcome::default();
        // The breaker as it was read or written last; not read while the gate permits all tasks.
        let mut breaker = None;
        for task in queued {
            match self.claim(agent, connection, task, &mut breaker).await {
                Ok(Some(ClaimOutcome::Taken(task))) => claimed.tasks.push(*task),
                Ok(Some(ClaimOutcome::TaskChanged)) => {}
                Ok(Some(ClaimOutcome::AgentUnavailable | ClaimOutcome::BreakerChanged)) => break,
                Ok(None) => {
                    claimed.is_denied = true;
                    break;
                }
                Err(error) => {
                    claimed.failure = Some(error);
                    break;
                }
            }
        }
        claimed
    }

    /// Claims a task. Returns `None` if the breaker denies a permit.
    async fn claim(
        &self,
        agent: &Agent,
        connection: &ConnectionId,
        task: &Task,
        breaker: &mut Option<Breaker>,
    ) -> Result<Option<ClaimOutcome>> {
        let now = self.ports.clock.now();
        let Ok(claimed) = task.after(TaskEvent::Claimed, &self.ports.settings.policy, now) else {
            return Ok(Some(ClaimOutcome::TaskChanged));
        };
        if breaker.is_none() && agent.gate.is_open(now) {
            let conditions = ClaimConditions {
                connection,
                generation: agent.gate.generation,
                change: None,
            };
            return Ok(Some(
                self.ports.tasks.claim(task, claimed, conditions).await?,
            ));
        }
        for pause in conflict_backoff().take(MAX_CLAIM_TRIES) {
            match self
                .claim_with_permit(connection, task, claimed.clone(), breaker)
                .await?
            {
                Some(ClaimOutcome::BreakerChanged) => tokio::time::sleep(pause).await,
                claim => return Ok(claim),
            }
        }
        Ok(Some(ClaimOutcome::BreakerChanged))
    }

    /// Claims a task with a permit of the breaker, which the claim writes: a read unless the
    /// breaker is given. Returns `None` if the breaker denies the permit.
    async fn claim_with_permit(
        &self,
        connection: &ConnectionId,
        task: &Task,
        claimed: Task,
        breaker: &mut Option<Breaker>,
    ) -> Result<Option<ClaimOutcome>> {
        let (ports, agent) = (&self.ports, &task.agent_id);
        let Some(slot) = claimed.slot() else {
            return Ok(Some(ClaimOutcome::TaskChanged));
        };
        let before = match breaker.take() {
            Some(breaker) => breaker,
            None => ports.breakers.breaker(agent).await?,
        };
        let now = ports.clock.now();
        // A probe may take as long as its task may be silent, and its permit is extended while it
        // is known to run.
        let policy = &ports.settings.policy;
        let lease = (claimed.lease_length(policy) + policy.ack_deadline) * 2;
        let event = BreakerEvent::Allow(slot.to_string(), lease);
        let step = before.after(event, &ports.settings.breaker, now);
        let change = BreakerChange {
            before: &before,
            after: &step.next,
        };
        if let Verdict::Denied(_) = step.verdict {
            // Time alone may have changed the breaker: a probe may have been lost.
            if ports.breakers.change(agent, change).await? == Written::Conflict {
                return Ok(Some(ClaimOutcome::BreakerChanged));
            }
            self.transitions
                .schedule_dispatch_after_shut(agent, change, now)
                .await?;
            return Ok(None);
        }
        let conditions = ClaimConditions {
            connection,
            generation: before.generation,
            change: (before != step.next).then_some(change),
        };
        let claim = ports.tasks.claim(task, claimed, conditions).await?;
        if let ClaimOutcome::Taken(task) = &claim {
            info!(task = %task.id, %agent, state = step.next.state.name(), "task claimed with a permit of the breaker");
            *breaker = Some(step.next);
        }
        Ok(Some(claim))
    }
}
