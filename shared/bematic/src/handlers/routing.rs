//! Choosing the agent for a task, and moving waiting tasks to better agents.

use std::{sync::Arc, time::Duration};

use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::{StreamExt as _, future::try_join_all, stream};
use tracing::{info, warn};

use super::transitions::{Outcome, Transitions};
use crate::{
    agent::{Agent, Candidate, Route, better_candidate, choose},
    error::{BematicError, StoreError},
    ports::{Agents, Ports, TaskLists},
    task::{Task, TaskEvent, Unchanged},
};

/// The number of tasks at the head of a queue that one dispatch considers for a move.
const HEAD: usize = 50;
/// The number of tasks that are moved, and of queues that are counted, concurrently.
const AT_ONCE: usize = 8;

/// Returns the agents that the route allows and that exist, in order of preference; by name where
/// any agent is allowed. One call for each agent that the route names, in parallel.
///
/// # Errors
/// The store's.
pub(super) async fn allowed_agents(
    agents: &dyn Agents,
    route: &Route,
) -> Result<Vec<Agent>, StoreError> {
    if *route == Route::Any {
        return agents.list().await;
    }
    let named = route.named();
    let found = try_join_all(named.iter().map(|agent| agents.find(agent))).await?;
    let known = named.iter().zip(found).filter_map(|(name, found)| {
        if found.is_none() {
            warn!(agent = %name, "the route names an agent that does not exist");
        }
        found
    });
    Ok(known.collect())
}

/// The agents to choose from. The tasks that wait for an agent are only counted when that can
/// matter: the load without them is a lower bound, so an agent whose lower bound is above the best
/// agent's load need not be counted.
pub(super) struct Pool {
    candidates: Vec<(Candidate, bool)>,
}

impl Pool {
    pub(super) fn new<'a>(agents: impl IntoIterator<Item = &'a Agent>, now: Timestamp) -> Self {
        let agents = agents.into_iter();
        let candidates = agents.map(|agent| (Candidate::of(agent, now), false));
        Self {
            candidates: candidates.collect(),
        }
    }

    /// Chooses the agent for a new task: one call for each candidate, if there is more than one.
    pub(super) async fn choose(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
    ) -> Result<Option<AgentId>, StoreError> {
        let could = self.allowed_by(route);
        let alone = could.iter().filter(|it| it.is_usable()).count() <= 1;
        if alone {
            return Ok(choose(&could).map(|it| it.id.clone()));
        }
        self.pick(lists, route, choose).await
    }

    /// Returns the agent that is better for a task that waits for `from`, if there is one.
    async fn better_for(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        from: &Candidate,
    ) -> Result<Option<AgentId>, StoreError> {
        self.pick(lists, route, |all| better_candidate(from, all))
            .await
    }

    /// Adds a waiting task to the agent's load.
    fn add_waiting(&mut self, agent: &AgentId) {
        let of_agent = self.candidates.iter_mut().find(|(it, _)| it.id == *agent);
        if let Some((candidate, _)) = of_agent {
            candidate.waiting += 1;
        }
    }

    /// Returns the candidates that the route allows, in the route's order.
    fn allowed_by(&self, route: &Route) -> Vec<&Candidate> {
        let all = || self.candidates.iter().map(|(candidate, _)| candidate);
        if *route == Route::Any {
            return all().collect();
        }
        let named = route.named().iter();
        named
            .filter_map(|name| all().find(|it| it.id == *name))
            .collect()
    }

    /// Returns the choice of `pick`, after counting the waiting tasks that can change it.
    async fn pick(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        pick: impl for<'a> Fn(&[&'a Candidate]) -> Option<&'a Candidate>,
    ) -> Result<Option<AgentId>, StoreError> {
        loop {
            let Some(picked) = pick(&self.allowed_by(route)).cloned() else {
                return Ok(None);
            };
            if !picked.is_usable() || self.is_counted(&picked.id) {
                return Ok(Some(picked.id));
            }
            self.count(lists, route, &picked.id).await?;
        }
    }

    fn is_counted(&self, agent: &AgentId) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|(it, counted)| it.id == *agent && *counted)
    }

    /// Counts the tasks that wait for this agent, and for the least loaded others.
    async fn count(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        first: &AgentId,
    ) -> Result<(), StoreError> {
        let mut next = self.allowed_by(route);
        next.retain(|it| it.is_usable() && !self.is_counted(&it.id));
        next.sort_by(|a, b| (a.id != *first).cmp(&(b.id != *first)).then(a.by_load(b)));
        let next: Vec<_> = next.into_iter().map(|it| it.id.clone()).collect();
        let some = &next[..next.len().min(AT_ONCE)];
        let waiting = try_join_all(some.iter().map(|agent| lists.waiting(agent))).await?;
        for (candidate, counted) in &mut self.candidates {
            if let Some(at) = some.iter().position(|agent| *agent == candidate.id) {
                candidate.waiting += waiting[at];
                *counted = true;
            }
        }
        Ok(())
    }
}

/// Moves waiting tasks to better agents.
pub struct TaskMover {
    ports: Arc<Ports>,
    transitions: Transitions,
}

impl TaskMover {
    /// Creates a mover with these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Moves the tasks that wait for an agent that is sent no tasks now to better agents, as far as
    /// there are any, and returns their number. One call if nothing can be moved; tasks beyond the
    /// head of the queue are left to another dispatch.
    ///
    /// # Errors
    /// The store's and the queues': the tasks that were moved stay moved, and the rest may be tried
    /// again.
    pub async fn move_waiting(&self, agent: &Agent, now: Timestamp) -> Result<usize, BematicError> {
        let head = self.ports.lists.queued(&agent.id, now, HEAD).await?;
        let more = head.len() == HEAD;
        let movable: Vec<_> = head.into_iter().filter(Task::may_move).collect();
        let moved = self.move_all(agent, movable, now).await?;
        // Only after a move: tasks that cannot be moved would have the queue dispatched for ever.
        if more && moved > 0 {
            self.ports
                .request_dispatch(&agent.id, Duration::ZERO)
                .await?;
        }
        Ok(moved)
    }

    /// Moves this task, if there is a better agent for it, and returns whether it did. One call if
    /// its agent is sent tasks.
    ///
    /// # Errors
    /// The errors of [`Self::move_waiting`].
    pub async fn move_one(&self, task: &Task, now: Timestamp) -> Result<bool, BematicError> {
        let agent = self.ports.agents.find(&task.agent_id).await?;
        let agent = agent.unwrap_or_else(|| Agent::new(task.agent_id.clone(), now));
        if agent.takes_work().is_some() && agent.gate.is_open(now) {
            return Ok(false);
        }
        Ok(self.move_all(&agent, vec![task.clone()], now).await? > 0)
    }

    /// Moves each task to the agent that is better for it after the moves before.
    async fn move_all(
        &self,
        agent: &Agent,
        tasks: Vec<Task>,
        now: Timestamp,
    ) -> Result<usize, BematicError> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let routes = tasks.iter().filter_map(|task| task.route.as_ref());
        let agents = self.candidates(agent, routes).await?;
        let mut pool = Pool::new(&agents, now);
        let from = Candidate::of(agent, now);
        let mut moves = Vec::new();
        for task in tasks {
            let Some(route) = &task.route else { continue };
            if let Some(to) = pool.better_for(&*self.ports.lists, route, &from).await? {
                pool.add_waiting(&to);
                moves.push(self.move_to(task, to, now));
            }
        }
        let moves = stream::iter(moves).buffer_unordered(AT_ONCE);
        let outcomes: Vec<Result<bool, BematicError>> = moves.collect().await;
        let outcomes: Vec<bool> = outcomes.into_iter().collect::<Result<_, _>>()?;
        Ok(outcomes.into_iter().filter(|is_moved| *is_moved).count())
    }

    /// Reads all agents that any of the routes allows, once.
    async fn candidates<'a>(
        &self,
        agent: &Agent,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Result<Vec<Agent>, BematicError> {
        let mut named = Vec::new();
        for route in routes {
            if *route == Route::Any {
                return Ok(self.ports.agents.list().await?);
            }
            for name in route.named() {
                if *name != agent.id && !named.contains(&name) {
                    named.push(name);
                }
            }
        }
        let found =
            try_join_all(named.into_iter().map(|name| self.ports.agents.find(name))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Moves a task, unless it was moved meanwhile. A task that cannot be moved does not keep the
    /// others from being moved.
    async fn move_to(&self, task: Task, to: AgentId, now: Timestamp) -> Result<bool, BematicError> {
        let (id, from) = (task.id, task.agent_id.clone());
        let decide = |task: &Task| {
            if task.agent_id != from {
                return Err(Unchanged::AlreadyClaimed);
            }
            let event = TaskEvent::Moved(to.clone());
            Ok((task.after(event, self.transitions.policy(), now)?, None))
        };
        match self.transitions.change(task, decide, None, now).await {
            Ok(Outcome::Changed(_)) => {
                info!(task = %id, %from, %to, "task moved to another agent");
                Ok(true)
            }
            Ok(Outcome::Unchanged(..)) => Ok(false),
            Err(BematicError::Task(error)) => {
                warn!(task = %id, %from, %to, %error, "task not moved");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
