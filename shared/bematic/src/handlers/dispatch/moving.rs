//! Moving waiting tasks to better agents.

use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::{StreamExt as _, stream};
use tracing::{info, warn};

use super::{
    super::{routing::AgentPool, transitions::TransitionOutcome},
    Dispatcher,
};
use crate::{
    agent::{Agent, Candidate},
    error::{BematicError, Result},
    task::{Task, TaskEvent, Unchanged},
};

/// The number of tasks at the head of a queue that one dispatch considers for a move.
const MOVE_SCAN_LIMIT: usize = 50;
/// The number of tasks that are moved concurrently.
const MAX_CONCURRENT_MOVES: usize = 8;

impl Dispatcher {
    /// Moves the tasks that wait for an agent that is sent no tasks now to better agents, as far as
    /// there are any, and returns their number. One call if nothing can be moved; tasks beyond the
    /// head of the queue are left to another dispatch.
    pub async fn move_waiting(&self, agent: &Agent, now: Timestamp) -> Result<usize> {
        let head = self
            .ports
            .lists
            .queued(&agent.id, now, MOVE_SCAN_LIMIT)
            .await?;
        let more = head.len() == MOVE_SCAN_LIMIT;
        let movable: Vec<_> = head.into_iter().filter(Task::may_move).collect();
        let moved = self.move_to_better_agents(agent, movable, now).await?;
        // Only after a move: tasks that cannot be moved would have the queue dispatched for ever.
        if more && moved > 0 {
            self.ports.request_dispatch(&agent.id).await?;
        }
        Ok(moved)
    }

    /// Moves this task, if there is a better agent for it, and returns whether it did. One call if
    /// its agent is sent tasks.
    pub(super) async fn try_move_task(&self, task: &Task, now: Timestamp) -> Result<bool> {
        let agent = self.ports.agents.find(&task.agent_id).await?;
        let agent = agent.unwrap_or_else(|| Agent::new(task.agent_id.clone(), now));
        if agent.connection_for_dispatch().is_some() && agent.gate.is_open(now) {
            return Ok(false);
        }
        Ok(self
            .move_to_better_agents(&agent, vec![task.clone()], now)
            .await?
            > 0)
    }

    /// Moves each task to the agent that is better for it after the moves before.
    async fn move_to_better_agents(
        &self,
        agent: &Agent,
        tasks: Vec<Task>,
        now: Timestamp,
    ) -> Result<usize> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let routes = tasks.iter().filter_map(|task| task.route.as_ref());
        let mut pool = AgentPool::read(&self.ports, routes, Some(&agent.id), now).await?;
        let from = Candidate::without_waiting_count(agent, now);
        let mut moves = Vec::new();
        for task in tasks {
            let Some(route) = &task.route else { continue };
            if let Some(to) = pool.find_better_agent(route, &from).await? {
                pool.add_waiting_task(&to);
                moves.push(self.move_to(task, to, now));
            }
        }
        let moves: Vec<Result<bool>> = stream::iter(moves)
            .buffer_unordered(MAX_CONCURRENT_MOVES)
            .collect()
            .await;
        let outcomes = moves.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(outcomes.into_iter().filter(|is_moved| *is_moved).count())
    }

    /// Moves a task, unless it was moved meanwhile. A task that cannot be moved does not keep the
    /// others from being moved.
    async fn move_to(&self, task: Task, to: AgentId, now: Timestamp) -> Result<bool> {
        let (id, from) = (task.id, task.agent_id.clone());
        let decide = |task: &Task| {
            if task.agent_id != from {
                return Err(Unchanged::AlreadyClaimed);
            }
            let event = TaskEvent::Moved(to.clone());
            Ok((task.after(event, &self.ports.settings.policy, now)?, None))
        };
        match self
            .transitions
            .change_task(task, decide, None, None, now)
            .await
        {
            Ok(TransitionOutcome::Changed(_)) => {
                info!(task = %id, %from, %to, "task moved to another agent");
                Ok(true)
            }
            Ok(TransitionOutcome::Unchanged(..)) => Ok(false),
            Err(BematicError::Task(error)) => {
                warn!(task = %id, %from, %to, %error, "task not moved");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
