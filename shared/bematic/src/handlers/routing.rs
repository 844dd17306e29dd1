//! Which agent gets a task, and moving what waits to one that is better off with it.

use std::sync::Arc;

use bematic_protocol::{ids::AgentId, time::Timestamp};
use futures::{StreamExt as _, future::try_join_all, stream};
use tracing::{info, warn};

use super::transitions::{Outcome, Transitions};
use crate::{
    agent::{Agent, Candidate, Route, better, choose},
    error::{BematicError, StoreError},
    ports::{Agents, DispatchMessage, Ports, TaskLists},
    task::{Task, TaskEvent, Unchanged},
};

/// Tasks at the head of a queue that one pass looks at.
const HEAD: usize = 50;
/// Tasks that are moved, and queues that are counted, at a time.
const AT_ONCE: usize = 8;

/// The agents that the route allows and that exist, in order of preference; by name where any will
/// do. A call for each that it names, side by side.
///
/// # Errors
/// The store's.
pub(super) async fn allowed(agents: &dyn Agents, route: &Route) -> Result<Vec<Agent>, StoreError> {
    if *route == Route::Any {
        return agents.list().await;
    }
    let named = route.named();
    let found = try_join_all(named.iter().map(|agent| agents.find(agent))).await?;
    let known = named.iter().zip(found).filter_map(|(name, found)| {
        if found.is_none() {
            warn!(agent = %name, "there is no such agent to choose");
        }
        found
    });
    Ok(known.collect())
}

/// Agents to choose from. How many tasks wait for one is counted when it matters: never fewer than
/// it holds, so that one that is fuller than the best without those that wait need not be counted.
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

    /// The agent for a new task: a call for each that could have it, if that is more than one.
    pub(super) async fn choose(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
    ) -> Result<Option<AgentId>, StoreError> {
        let could = self.of(route);
        let alone = could.iter().filter(|it| it.is_usable()).count() <= 1;
        if alone {
            return Ok(choose(&could).map(|it| it.id.clone()));
        }
        self.pick(lists, route, choose).await
    }

    /// The agent that is better for a task that waits for `from`, if there is one.
    async fn better(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        from: &Candidate,
    ) -> Result<Option<AgentId>, StoreError> {
        self.pick(lists, route, |all| better(from, all)).await
    }

    /// One more waits for the agent.
    fn give(&mut self, agent: &AgentId) {
        let of_agent = self.candidates.iter_mut().find(|(it, _)| it.id == *agent);
        if let Some((candidate, _)) = of_agent {
            candidate.waiting += 1;
        }
    }

    /// Those that the route allows, in its order.
    fn of(&self, route: &Route) -> Vec<&Candidate> {
        let all = || self.candidates.iter().map(|(candidate, _)| candidate);
        if *route == Route::Any {
            return all().collect();
        }
        let named = route.named().iter();
        named
            .filter_map(|name| all().find(|it| it.id == *name))
            .collect()
    }

    /// What `pick` picks when it knows how many tasks wait for whom.
    async fn pick(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        pick: impl for<'a> Fn(&[&'a Candidate]) -> Option<&'a Candidate>,
    ) -> Result<Option<AgentId>, StoreError> {
        loop {
            let Some(picked) = pick(&self.of(route)).cloned() else {
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

    /// Counts what waits for this one, and for the least loaded others.
    async fn count(
        &mut self,
        lists: &dyn TaskLists,
        route: &Route,
        first: &AgentId,
    ) -> Result<(), StoreError> {
        let mut next = self.of(route);
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

/// Moves what waits.
pub struct Router {
    ports: Arc<Ports>,
    transitions: Transitions,
}

impl Router {
    /// A router among the agents of these ports.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            transitions: Transitions::new(ports.clone()),
            ports,
        }
    }

    /// Moves what waits for an agent that takes no work now, as far as there are better agents for
    /// it, and says how much that was. A call if nothing can be moved; what is left is left to
    /// another drain.
    ///
    /// # Errors
    /// The store's and the queues': what is moved is moved, the rest may be tried again.
    pub async fn move_waiting(&self, agent: &Agent, now: Timestamp) -> Result<usize, BematicError> {
        let head = self.ports.lists.queued(&agent.id, now, HEAD).await?;
        let more = head.len() == HEAD;
        let movable: Vec<_> = head.into_iter().filter(Task::may_move).collect();
        let moved = self.spread(agent, movable, now).await?;
        // Not for those that cannot be moved: it would never end.
        if more && moved > 0 {
            let drain = DispatchMessage::drain(agent.id.clone());
            self.ports
                .dispatch
                .send(&drain, std::time::Duration::ZERO)
                .await?;
        }
        Ok(moved)
    }

    /// Moves this task, if there is a better agent for it, and says whether. A call if its agent
    /// takes work.
    ///
    /// # Errors
    /// As [`Self::move_waiting`].
    pub async fn move_one(&self, task: &Task, now: Timestamp) -> Result<bool, BematicError> {
        let agent = self.ports.agents.find(&task.agent_id).await?;
        let agent = agent.unwrap_or_else(|| Agent::new(task.agent_id.clone(), now));
        if agent.takes_work().is_some() && agent.gate.is_open(now) {
            return Ok(false);
        }
        Ok(self.spread(&agent, vec![task.clone()], now).await? > 0)
    }

    /// Each to the agent that is better for it then.
    async fn spread(
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
            if let Some(to) = pool.better(&*self.ports.lists, route, &from).await? {
                pool.give(&to);
                moves.push(self.move_to(task, to, now));
            }
        }
        let moves = stream::iter(moves).buffer_unordered(AT_ONCE);
        let outcomes: Vec<Result<bool, BematicError>> = moves.collect().await;
        let outcomes: Vec<bool> = outcomes.into_iter().collect::<Result<_, _>>()?;
        Ok(outcomes.into_iter().filter(|is_moved| *is_moved).count())
    }

    /// All that any of the routes allows, read once.
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

    /// Unless it is somewhere else by now. Each stands alone: one that cannot be moved is no reason
    /// to leave the others.
    async fn move_to(&self, task: Task, to: AgentId, now: Timestamp) -> Result<bool, BematicError> {
        let (id, from) = (task.id, task.agent_id.clone());
        let decide = |task: &Task| {
            if task.agent_id != from {
                return Err(Unchanged::AlreadyClaimed);
            }
            let event = TaskEvent::Rerouted(to.clone());
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
